"""The galaxies that may be asked about, read once, partition by partition."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.progress import progress
from galaxymill.rounds.champion import Champion
from galaxymill.rounds.rules import RULES, SMOOTH
from galaxymill.rounds.settings import ChooseSettings
from galaxymill.splits import SplitSettings, assign_splits
from galaxymill.storage.parquet import read_columns
from galaxymill.tasks.task import Floats

Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Galaxies:
    """Some galaxies in order.

    Attributes
    ----------
    ids : list of str
    scores : ndarray, shape (n, rules + 2)
        By all rules, then ra and dec. A score is NaN where a rule has no use for a galaxy, a
        position where labels have none.
    """

    ids: list[str]
    scores: Floats

    def first(self, count: int, without: set[str]) -> "Galaxies":
        """Take the first that are not taken yet."""
        return self.take([row for row, name in enumerate(self.ids) if name not in without][:count])

    def take(self, rows: npt.ArrayLike) -> "Galaxies":
        """Take some of them."""
        chosen = np.asarray(rows, np.intp)
        return Galaxies([self.ids[row] for row in chosen], self.scores[chosen])


@dataclass
class Stratum:
    """The best so far, by a key of which the smallest are kept; as many as can be needed.

    Attributes
    ----------
    most, width : int
        How many are kept, and columns of their scores.
    count : int
        Galaxies that come into question.
    end : float
        Those with a larger key need not be added.
    """

    most: int
    width: int
    ids: list[Names] = field(default_factory=list)
    keys: list[Floats] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)
    count: int = 0
    end: float = np.inf

    def add(self, ids: Names, keys: Floats, scores: Floats) -> None:
        """Take more galaxies; scores as in `Galaxies`."""
        self.ids.append(ids)
        self.keys.append(keys)
        self.scores.append(scores)
        if sum(map(len, self.ids)) > 2 * self.most:
            self.best()

    def best(self) -> Galaxies:
        """Keep the smallest keys, in their order; names decide between equal ones."""
        if not self.ids:
            return Galaxies([], np.empty((0, self.width)))
        ids, keys = np.concatenate(self.ids), np.concatenate(self.keys)
        if len(keys) > self.most:
            self.end = float(np.partition(keys, self.most - 1)[self.most - 1])
        near = np.flatnonzero(keys <= self.end)
        order = near[np.lexsort((ids[near], keys[near]))][: self.most]
        self.ids, self.keys = [ids[order]], [keys[order]]
        self.scores = [np.concatenate(self.scores)[order]]
        return Galaxies(ids[order].tolist(), self.scores[0])


class Pool:
    """Strata of the galaxies that may be asked about.

    Parameters
    ----------
    champion : Champion
    settings : ChooseSettings
    number : int
        Of the round.
    known : set of str
        Galaxies that have votes or were asked about before.
    splits : SplitSettings
    tiles : Path or None
        Folder of the survey's tiles, where labels are split by positions; else by names.
    each : int
        Galaxies that a rule may propose for each that it may have.
    """

    def __init__(
        self,
        champion: Champion,
        settings: ChooseSettings,
        number: int,
        known: set[str],
        splits: SplitSettings,
        tiles: Path | None,
        each: int,
    ) -> None:
        self._task, self._files, self._settings = champion.task, champion.files, settings
        self._known, self._splits, self._tiles = pa.array(known, pa.string()), splits, tiles
        self._key = f"{settings.seed}:{number}"
        self.rules = [RULES[name] for name in settings.choose]
        width = len(self.rules) + 2
        self.random = Stratum(max(round(settings.budget * settings.random), 1), width)
        # What is drawn at random, or by another rule, is no longer there for a rule.
        self.strata = [Stratum(settings.budget * (1 + each), width) for _ in self.rules]
        self.smooth: int | None = 0 if SMOOTH in settings.choose else None

    def read(self) -> None:
        """Read all partitions."""
        with progress("choose", len(self._files)) as advance:
            for path in self._files:
                self._read(path)
                advance(1)

    def draws(self, what: str, ids: Sequence[str] | Names) -> Floats:
        """Draw a number in [0, 1) for each galaxy, by its name."""
        from pandas.util import hash_array

        key = hashlib.sha256(f"{what}:{self._key}".encode()).hexdigest()[:16]
        drawn = hash_array(np.array(ids, dtype=object), hash_key=key, categorize=False)
        return np.asarray((drawn >> np.uint64(11)) * 2.0**-53, np.float64)

    def _read(self, path: Path) -> None:
        rows = self._rows(path)
        if not rows.num_rows:
            return
        ids = rows["object_id"].to_numpy(zero_copy_only=False)
        draws = self.draws("round", ids)
        wanted, keys = self._wanted(rows, draws)
        self.random.count += len(ids)
        counted = wanted[:, [not rule.best_first for rule in self.rules]].any(axis=1)
        # All else takes time: it is looked up for those that are counted or may be chosen.
        some = np.flatnonzero(counted | self._stays(wanted, keys, draws))
        positions = self._positions(path, ids[some])
        splits = assign_splits(ids[some].tolist(), positions, self._splits)
        # No rule chooses among those that are kept for testing.
        wanted[some[[split == "test" for split in splits]]] = False
        for place, stratum in enumerate(self.strata):
            stratum.count += int(wanted[some, place].sum())
        stays = self._stays(wanted, keys, draws)[some]
        at = some[stays]
        if len(at):
            scores = np.column_stack([*self._scores(rows.take(at), wanted[at]), positions[stays]])
            self._add(ids[at], draws[at], wanted[at], keys[at], scores)

    def _rows(self, path: Path) -> pa.Table:
        """Predictions of galaxies that may be asked about."""
        names = {name for rule in self.rules for name in rule.columns(self._task, self._settings)}
        rows = read_columns(path, ["object_id", *sorted(names | {self._task.sample_column})])
        fit = pc.and_(
            rows[self._task.sample_column].is_valid(),
            pc.invert(pc.is_in(rows["object_id"], value_set=self._known)),
        )
        return rows.filter(fit).combine_chunks()

    def _wanted(self, rows: pa.Table, draws: Floats) -> tuple[Flags, Floats]:
        """Whether each rule would choose a galaxy, and its key: the smallest are chosen."""
        wanted = np.ones((rows.num_rows, len(self.rules)), np.bool_)
        keys = np.empty(wanted.shape)
        for place, (name, rule) in enumerate(zip(self._settings.choose, self.rules, strict=True)):
            least, most = rule.least(self._settings), 1 - self._settings.probability
            low, high = rule.bounds(rows, self._task, self._settings)
            unsure = (low < least) & (high >= least)
            if name == SMOOTH:
                unsure |= (low <= most) & (high > most)
            if unsure.any():
                score = rule.score(rows.filter(pa.array(unsure)), self._task, self._settings)
                low[unsure] = high[unsure] = score
            if self.smooth is not None and name == SMOOTH:
                self.smooth += int((high <= most).sum())
            wanted[:, place] = low >= least
            keys[:, place] = -low if rule.best_first else draws
        return wanted, keys

    def _stays(self, wanted: Flags, keys: Floats, draws: Floats) -> Flags:
        """Whether a galaxy may still be among those that are chosen."""
        near = keys <= np.array([stratum.end for stratum in self.strata])
        return np.asarray((draws <= self.random.end) | (wanted & near).any(axis=1))

    def _scores(self, rows: pa.Table, wanted: Flags) -> list[Floats]:
        every = (rule.score(rows, self._task, self._settings) for rule in self.rules)
        return [np.where(own, score, np.nan) for own, score in zip(wanted.T, every, strict=True)]

    def _add(self, ids: Names, draws: Floats, wanted: Flags, keys: Floats, scores: Floats) -> None:
        near = draws <= self.random.end
        self.random.add(ids[near], draws[near], scores[near])
        for place, stratum in enumerate(self.strata):
            near = wanted[:, place] & (keys[:, place] <= stratum.end)
            stratum.add(ids[near], keys[near, place], scores[near])

    def _positions(self, path: Path, ids: Names) -> Floats:
        """Ra and dec of galaxies of a partition, as the tile has them."""
        if not self._tiles:
            return np.full((len(ids), 2), np.nan)
        tile = read_columns(self._tiles / path.name, ["object_id", "ra", "dec"])
        rows = pc.index_in(pa.array(ids, pa.string()), tile["object_id"].combine_chunks())
        places = [tile[name].to_numpy() for name in ("ra", "dec")]
        return np.asarray(np.column_stack(places)[rows.to_numpy(zero_copy_only=False)])

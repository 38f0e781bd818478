"""Stage ``choose``: the galaxies that volunteers are asked about next, with their probabilities.

Some are drawn at random, from all. The others are chosen by rules, and never among those that the
hash keeps for testing: as they are hard ones, they would be no fair test.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.labels.table import read_votes
from galaxymill.probes.features import Features, find_features
from galaxymill.progress import progress
from galaxymill.rounds.champion import Champion, read_champion
from galaxymill.rounds.rules import RULES, SMOOTH
from galaxymill.rounds.settings import ChooseSettings
from galaxymill.rounds.spread import EACH, Spread, spread
from galaxymill.spaces.space import read_space
from galaxymill.splits import SplitSettings, assign_splits, uniform
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import read_columns, write_product

logger = logging.getLogger("galaxymill")

CHOICE = "choice.json"
RANDOM = "random"
"""The stratum that is drawn from all galaxies that may be asked about."""


@dataclass(frozen=True)
class ChooseRequest:
    """What subjects are chosen from.

    Attributes
    ----------
    number : int
        Of the round, from 1.
    partitions : Path
        ``partitions.csv``; the tiles are beside it.
    predictions : Path
        Folder with ``{part}.parquet`` of the champion's predictions.
    model : Path
        ``model.yaml`` of the champion.
    votes : Path
        Labels so far: who has votes is not asked about again.
    before : tuple of Path
        ``subjects.parquet`` of all rounds before.
    splits : SplitSettings
        Of these labels.
    space : (Path, Path), optional
        ``space.yaml`` and ``features.csv``: what a rule chooses is spread over this space.
    """

    number: int
    partitions: Path
    predictions: Path
    model: Path
    votes: Path
    before: tuple[Path, ...]
    settings: ChooseSettings
    splits: SplitSettings
    space: tuple[Path, Path] | None = None


@dataclass
class _Stratum:
    """The best so far, by a key of which the smallest are kept; as many as can be needed."""

    most: int
    ids: list[npt.NDArray[np.object_]] = field(default_factory=list)
    keys: list[npt.NDArray[np.float64]] = field(default_factory=list)
    scores: list[npt.NDArray[np.float64]] = field(default_factory=list)
    count: int = 0

    def add(
        self,
        ids: npt.NDArray[np.object_],
        keys: npt.NDArray[np.float64],
        scores: npt.NDArray[np.float64],
    ) -> None:
        """Take more galaxies, with what is known of them, see `_Chosen`."""
        self.count += len(ids)
        self.ids.append(ids)
        self.keys.append(keys)
        self.scores.append(scores)
        if sum(map(len, self.ids)) > 4 * self.most:
            self.best()

    def best(self) -> "_Chosen":
        """Keep the smallest keys, in their order; names decide between equal ones."""
        if not self.ids:
            return _Chosen([], np.empty((0, 2)))
        ids, keys = np.concatenate(self.ids), np.concatenate(self.keys)
        order = np.lexsort((ids, keys))[: self.most]
        self.ids, self.keys = [ids[order]], [keys[order]]
        self.scores = [np.concatenate(self.scores)[order]]
        return _Chosen(ids[order].tolist(), self.scores[0])


@dataclass(frozen=True)
class _Chosen:
    """Galaxies in order, with their scores by all rules and then ra and dec, shape (n, rules + 2).

    A score is NaN where the rule has no use for a galaxy, a position where labels have none.
    """

    ids: list[str]
    scores: npt.NDArray[np.float64]

    def first(self, count: int, without: set[str]) -> "_Chosen":
        """Take the first that are not taken yet."""
        return self.take([row for row, name in enumerate(self.ids) if name not in without][:count])

    def take(self, rows: npt.ArrayLike) -> "_Chosen":
        """Take some of them."""
        chosen = np.asarray(rows, np.intp)
        return _Chosen([self.ids[row] for row in chosen], self.scores[chosen])


def choose_subjects(request: ChooseRequest, out: Path) -> None:
    """Choose the galaxies of one round: ``subjects.parquet``, and beside it `CHOICE`.

    The probability of each to be chosen is that of the whole design: at random, or by any rule.
    Horvitz and Thompson (1952) estimate the galaxies that might have been asked about by it.

    Raises
    ------
    UserError
        When predictions are not the champion's, or rules ask for answers that it does not give.
    """
    champion = read_champion(
        request.model, request.partitions, request.predictions, request.settings.featured
    )
    origin = _origin(request, champion)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        pool = _Pool(request, champion)
        table = pool.choose()
        choice = _describe(pool, table)
        with atomic_file(out.with_name(CHOICE)) as temporary:
            temporary.write_text(json.dumps(choice, indent=1) + "\n", encoding="utf-8")
        write_product(out, table, origin, products.SUBJECTS)
    told = ", ".join(f"{n} {stratum}" for stratum, n in choice["subjects"].items())
    logger.info("choose: %s of %d galaxies that may be asked about", told or "none", pool.size)
    if choice["finished"]:
        logger.warning("choose: finished: no rule finds a galaxy that is worth asking about")


def _describe(pool: "_Pool", table: pa.Table) -> dict[str, Any]:
    """Tell what there was to choose from, for the page of all rounds."""
    subjects = _counts(table)
    return {
        "round": pool.request.number,
        "pool": pool.size,
        "confidently_smooth": pool.smooth,
        "subjects": dict(subjects),
        "finished": not any(stratum.count for stratum in pool.strata),
    }


def _counts(table: pa.Table) -> Mapping[str, int]:
    return {one["values"]: one["counts"] for one in table["stratum"].value_counts().to_pylist()}


def _origin(request: ChooseRequest, champion: Champion) -> Origin:
    inputs = {
        **champion.inputs,
        "votes": read_record(request.votes, "labels").digest,
        **{f"round_{n}": read_record(one).digest for n, one in enumerate(request.before, 1)},
    }
    if request.space:
        inputs["space"] = read_space(request.space[0])[1]
    settings = request.settings.product_settings() | {"round": request.number}
    return Origin("choose", settings | {"split": request.splits.product_settings()}, inputs)


@dataclass(frozen=True)
class _Chance:
    """The chance of a galaxy to be chosen by one rule.

    Attributes
    ----------
    place : int
        Of the rule.
    end, share : float
        Galaxies whose score is at least ``end`` are chosen with the probability ``share``.
    each : dict of str to float
        Those of single galaxies, where a batch is spread over a space.
    """

    place: int
    end: float
    share: float
    each: Mapping[str, float] = field(default_factory=dict)

    def of(self, galaxies: _Chosen) -> npt.NDArray[np.float64]:
        """Chances of galaxies, whichever stratum they are of."""
        shares = np.array([self.each.get(name, self.share) for name in galaxies.ids])
        return np.asarray(shares * (galaxies.scores[:, self.place] >= self.end))


class _Pool:
    """The galaxies that may be asked about, read once, partition by partition."""

    def __init__(self, request: ChooseRequest, champion: Champion) -> None:
        self.request, settings = request, request.settings
        self.task, self.files = champion.task, champion.files
        self.rules = [RULES[name] for name in settings.choose]
        self.random = _Stratum(max(round(settings.budget * settings.random), 1))
        # What is drawn at random, or by another rule, is no longer there for a rule.
        most = settings.budget * (1 + (EACH if request.space else 1))
        self.strata = [_Stratum(most) for _ in self.rules]
        self.smooth: int | None = 0 if SMOOTH in settings.choose else None
        asked = [name for path in request.before for name in _names(path)]
        votes = read_votes(request.votes)
        self.known = pa.array({*asked, *votes.object_ids}, pa.string())
        # As labels are split: by positions, or where these have none by names.
        self.has_positions = bool(np.isfinite(votes.positions).any())

    @property
    def size(self) -> int:
        """Galaxies that may be asked about."""
        return self.random.count

    def choose(self) -> pa.Table:
        """Read all partitions, draw at random, then by each rule."""
        with progress("choose", len(self.files)) as advance:
            for path in self.files:
                self._read(path)
                advance(1)
        settings = self.request.settings
        drawn = self.random.best()
        chosen, taken = [(RANDOM, drawn)], set(drawn.ids)
        chances, left = [], settings.budget - len(drawn.ids)
        for place, name in enumerate(settings.choose):
            own, chance = self._choose_by(place, left // (len(self.rules) - place), chosen)
            chances.append(chance)
            chosen.append((name, own))
            taken |= set(own.ids)
            left -= len(own.ids)
        return self._table(chosen, chances)

    def _choose_by(
        self, place: int, count: int, chosen: Sequence[tuple[str, _Chosen]]
    ) -> tuple[_Chosen, _Chance]:
        """Choose by one rule among those that are not chosen yet."""
        stratum, space, before = self.strata[place], self.request.space, [one for _, one in chosen]
        # Of those that come into question for this rule, some are taken already.
        gone = [one.take(np.flatnonzero(np.isfinite(one.scores[:, place]))) for one in before]
        left = stratum.count - sum(len(one.ids) for one in gone)
        each = EACH if space and left > count else 1
        own = stratum.best().first(each * count, {name for one in before for name in one.ids})
        if not own.ids:
            return own, _Chance(place, np.inf, 0.0)
        end = own.scores[:, place].min() if self.rules[place].best_first else -np.inf
        among = len(own.ids) if self.rules[place].best_first else left
        proposed = len(own.ids) / among
        if not space or each == 1:
            return own, _Chance(place, end, proposed)
        others = [name for one in gone for name in one.ids]
        found = self._spread(own.ids, others, count, *space)
        chances = dict(zip(own.ids, proposed * found.chances, strict=True))
        chances |= zip(others, proposed * found.others, strict=True)
        share = len(found.rows) / among
        return own.take(found.rows), _Chance(place, end, share, chances)

    def _spread(
        self, ids: Sequence[str], others: Sequence[str], count: int, space: Path, listed: Path
    ) -> Spread:
        """Draw galaxies that are unlike each other; those without features are all alike."""
        found = find_features(listed, read_space(space)[1], [*ids, *others])
        features, beside = (_features(found, names) for names in (ids, others))
        return spread(features, beside, self._draws("spread", ids), min(count, len(ids)))

    def _draws(self, what: str, ids: Sequence[str]) -> npt.NDArray[np.float64]:
        """Draw a number in [0, 1) for each galaxy, by its name."""
        key = f"{what}:{self.settings.seed}:{self.request.number}"
        return np.array([uniform(f"{key}:{name}") for name in ids])

    def _table(
        self,
        chosen: Sequence[tuple[str, _Chosen]],
        chances: Sequence[_Chance],
    ) -> pa.Table:
        at_random = self.random.most / max(self.size, self.random.most)
        columns: dict[str, list[object]] = {name: [] for name in products.SUBJECTS.names}
        for stratum, own in chosen:
            if not own.ids:
                continue
            missed = np.full(len(own.ids), 1 - at_random)
            for chance in chances:
                missed = missed * (1 - chance.of(own))
            scores: list[float | None] = [None] * len(own.ids)
            if stratum != RANDOM:
                scores = own.scores[:, self.settings.choose.index(stratum)].tolist()
            columns["object_id"] += own.ids
            columns["stratum"] += [stratum] * len(own.ids)
            columns["score"] += scores
            columns["selection_probability"] += (1 - missed).tolist()
            columns["round"] += [self.request.number] * len(own.ids)
            for name, values in zip(("ra", "dec"), own.scores[:, -2:].T, strict=True):
                columns[name] += [value if np.isfinite(value) else None for value in values]
        return pa.table(columns, schema=products.SUBJECTS).sort_by("object_id")

    def _read(self, path: Path) -> None:
        wanted = {name for rule in self.rules for name in rule.columns(self.task, self.settings)}
        rows = read_columns(path, ["object_id", *sorted(wanted | {self.task.sample_column})])
        fit = pc.and_(
            rows[self.task.sample_column].is_valid(),
            pc.invert(pc.is_in(rows["object_id"], value_set=self.known)),
        )
        rows = rows.filter(fit).combine_chunks()
        ids = rows["object_id"].to_numpy(zero_copy_only=False)
        draws = self._draws("round", ids.tolist())
        scores = [rule.score(rows, self.task, self.settings) for rule in self.rules]
        if self.smooth is not None:
            chances = scores[self.settings.choose.index(SMOOTH)]
            self.smooth += int((chances <= 1 - self.settings.probability).sum())
        table = np.array(scores).reshape(len(self.rules), len(ids)).T
        table[table < np.array([rule.least(self.settings) for rule in self.rules])] = np.nan
        positions = self._positions(path, ids)
        splits = assign_splits(ids.tolist(), positions, self.request.splits)
        # No rule chooses among those that are kept for testing.
        table[[split == "test" for split in splits]] = np.nan
        table = np.column_stack([table, positions])
        self.random.add(ids, draws, table)
        for place, rule in enumerate(self.rules):
            good = np.isfinite(table[:, place])
            keys = -table[good, place] if rule.best_first else draws[good]
            self.strata[place].add(ids[good], keys, table[good])

    @property
    def settings(self) -> ChooseSettings:
        """How they are chosen."""
        return self.request.settings

    def _positions(self, path: Path, ids: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
        """Ra and dec of galaxies of a partition, as the tile has them."""
        if not self.has_positions:
            return np.full((len(ids), 2), np.nan)
        tile = read_columns(
            self.request.partitions.parent / "tiles" / path.name, ["object_id", "ra", "dec"]
        )
        places = dict(zip(tile["object_id"].to_pylist(), range(tile.num_rows), strict=True))
        rows = [places[name] for name in ids.tolist()]
        return np.column_stack([tile["ra"].to_numpy(), tile["dec"].to_numpy()])[rows]


def _features(found: Features, names: Sequence[str]) -> npt.NDArray[np.float64]:
    width = found.values.shape[1]
    none = np.zeros(width, found.values.dtype)
    rows = [found.values[found.rows[name]] if name in found.rows else none for name in names]
    return np.array(rows, np.float64).reshape(-1, width)


def _names(path: Path) -> Iterator[str]:
    read_record(path, "choose")
    yield from read_columns(path, ["object_id"])["object_id"].to_pylist()

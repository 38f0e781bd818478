"""Stage ``choose``: the galaxies that volunteers are asked about next, with their probabilities.

Some are drawn at random, from all. The others are chosen by rules, and never among those that the
hash keeps for testing: as they are hard ones, they would be no fair test.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.catalog.names import part_names
from galaxymill.errors import UserError
from galaxymill.labels.table import read_votes
from galaxymill.probes.store import read_any_card
from galaxymill.progress import progress
from galaxymill.rounds.rules import RULES, check_rules
from galaxymill.rounds.settings import ChooseSettings
from galaxymill.splits import SplitSettings, assign_splits, uniform
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import read_columns, write_product
from galaxymill.tasks.votes.task import VoteTask

logger = logging.getLogger("galaxymill")

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
        ``model.yaml`` of the champion, a network or a probe.
    votes : Path
        Labels so far: who has votes is not asked about again.
    before : tuple of Path
        ``subjects.parquet`` of all rounds before.
    splits : SplitSettings
        Of these labels.
    """

    number: int
    partitions: Path
    predictions: Path
    model: Path
    votes: Path
    before: tuple[Path, ...]
    settings: ChooseSettings
    splits: SplitSettings


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
        """Take more galaxies, with their scores by all rules, shape (n, rules)."""
        self.count += len(ids)
        self.ids.append(ids)
        self.keys.append(keys)
        self.scores.append(scores)
        if sum(map(len, self.ids)) > 4 * self.most:
            self.best()

    def best(self) -> "_Chosen":
        """Keep the smallest keys, in their order; names decide between equal ones."""
        if not self.ids:
            return _Chosen([], np.empty((0, 1)))
        ids, keys = np.concatenate(self.ids), np.concatenate(self.keys)
        order = np.lexsort((ids, keys))[: self.most]
        self.ids, self.keys = [ids[order]], [keys[order]]
        self.scores = [np.concatenate(self.scores)[order]]
        return _Chosen(ids[order].tolist(), self.scores[0])


@dataclass(frozen=True)
class _Chosen:
    """Galaxies in order, with their scores by all rules, shape (n, rules)."""

    ids: list[str]
    scores: npt.NDArray[np.float64]

    def first(self, count: int, without: set[str]) -> "_Chosen":
        """Take the first that are not taken yet."""
        rows = [row for row, name in enumerate(self.ids) if name not in without][:count]
        return _Chosen([self.ids[row] for row in rows], self.scores[rows])


def choose_subjects(request: ChooseRequest, out: Path) -> None:
    """Choose the galaxies of one round: ``subjects.parquet``.

    The probability of each to be chosen is that of the whole design: at random, or by any rule.
    Horvitz and Thompson (1952) estimate the galaxies that might have been asked about by it.

    Raises
    ------
    UserError
        When predictions are not the champion's, or rules ask for answers that it does not give.
    """
    card = read_any_card(request.model)
    task = check_rules(card.task, request.settings, str(request.model))
    origin = _origin(request, card.digest)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        pool = _Pool(request, task)
        table = pool.choose()
        write_product(out, table, origin, products.SUBJECTS)
    told = ", ".join(f"{n} {stratum}" for stratum, n in _counts(table).items())
    logger.info("choose: %s of %d galaxies that may be asked about", told or "none", pool.size)


def _counts(table: pa.Table) -> Mapping[str, int]:
    return {one["values"]: one["counts"] for one in table["stratum"].value_counts().to_pylist()}


def _origin(request: ChooseRequest, model: str) -> Origin:
    digests = []
    for path in _files(request):
        record = read_record(path)
        if record.origin["inputs"].get("model") != model:
            raise UserError(f"{path}: of another model than {request.model}; run predict again")
        digests.append(record.digest)
    inputs = {
        "model": model,
        "predictions": sha256_json(digests),
        "votes": read_record(request.votes, "labels").digest,
        **{f"round_{n}": read_record(one).digest for n, one in enumerate(request.before, 1)},
    }
    settings = request.settings.product_settings() | {"round": request.number}
    return Origin("choose", settings | {"split": request.splits.product_settings()}, inputs)


def _files(request: ChooseRequest) -> list[Path]:
    return [request.predictions / f"{part}.parquet" for part in part_names(request.partitions)]


class _Pool:
    """The galaxies that may be asked about, read once, partition by partition."""

    def __init__(self, request: ChooseRequest, task: VoteTask) -> None:
        self.request, self.task, settings = request, task, request.settings
        self.rules = [RULES[name] for name in settings.choose]
        self.random = _Stratum(max(round(settings.budget * settings.random), 1))
        # What is drawn at random, or by another rule, is no longer there for a rule.
        self.strata = [_Stratum(2 * settings.budget) for _ in self.rules]
        asked = [name for path in request.before for name in _names(path)]
        self.known = pa.array({*asked, *read_votes(request.votes).object_ids}, pa.string())

    @property
    def size(self) -> int:
        """Galaxies that may be asked about."""
        return self.random.count

    def choose(self) -> pa.Table:
        """Read all partitions, draw at random, then by each rule."""
        files = _files(self.request)
        with progress("choose", len(files)) as advance:
            for path in files:
                self._read(path)
                advance(1)
        settings = self.request.settings
        drawn = self.random.best()
        chosen, taken = [(RANDOM, drawn)], set(drawn.ids)
        chances, left = [], settings.budget - len(drawn.ids)
        for place, (name, rule) in enumerate(zip(settings.choose, self.rules, strict=True)):
            stratum = self.strata[place]
            own = stratum.best().first(left // (len(self.rules) - place), taken)
            # Of those that come into question for this rule, some are taken already.
            gone = sum(np.isfinite(one.scores[:, place]).sum() for _, one in chosen if one.ids)
            others = stratum.count - gone
            end = own.scores[-1, place] if len(own.ids) else np.inf
            share = len(own.ids) / max(others, 1)
            chances.append((place, rule.best_first, end, share))
            chosen.append((name, own))
            taken |= set(own.ids)
            left -= len(own.ids)
        return self._table(chosen, chances)

    def _table(
        self,
        chosen: Sequence[tuple[str, _Chosen]],
        chances: Sequence[tuple[int, bool, float, float]],
    ) -> pa.Table:
        at_random = self.random.most / max(self.size, self.random.most)
        columns: dict[str, list[object]] = {name: [] for name in products.SUBJECTS.names}
        for stratum, own in chosen:
            missed = np.full(len(own.ids), 1 - at_random)
            for place, best_first, end, share in chances:
                score = own.scores[:, place]
                by_rule = score >= end if best_first else share * np.isfinite(score)
                missed = missed * (1 - by_rule)
            scores: list[float | None] = [None] * len(own.ids)
            if stratum != RANDOM:
                scores = own.scores[:, self.settings.choose.index(stratum)].tolist()
            columns["object_id"] += own.ids
            columns["stratum"] += [stratum] * len(own.ids)
            columns["score"] += scores
            columns["selection_probability"] += (1 - missed).tolist()
            columns["round"] += [self.request.number] * len(own.ids)
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
        key = f"round:{self.settings.seed}:{self.request.number}"
        draws = np.array([uniform(f"{key}:{name}") for name in ids.tolist()])
        scores = [rule.score(rows, self.task, self.settings) for rule in self.rules]
        # None of these is in a split that is kept for testing: there no rule chooses.
        tested = self._tested(path, ids)
        table = np.where(tested[:, None], np.nan, np.column_stack(scores or [draws]))
        self.random.add(ids, draws, table)
        for place, rule in enumerate(self.rules):
            good = np.isfinite(table[:, place])
            keys = -table[good, place] if rule.best_first else draws[good]
            self.strata[place].add(ids[good], keys, table[good])

    @property
    def settings(self) -> ChooseSettings:
        """How they are chosen."""
        return self.request.settings

    def _tested(self, path: Path, ids: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        """Tell which galaxies the splits of the labels keep for testing."""
        tile = read_columns(
            self.request.partitions.parent / "tiles" / path.name, ["object_id", "ra", "dec"]
        )
        places = dict(zip(tile["object_id"].to_pylist(), range(tile.num_rows), strict=True))
        rows = [places[name] for name in ids.tolist()]
        positions = None
        if not tile["ra"].null_count:
            positions = np.column_stack([tile["ra"].to_numpy(), tile["dec"].to_numpy()])[rows]
        splits = assign_splits(ids.tolist(), positions, self.request.splits)
        return np.array([split == "test" for split in splits], dtype=np.bool_)


def _names(path: Path) -> Iterator[str]:
    read_record(path, "choose")
    yield from read_columns(path, ["object_id"])["object_id"].to_pylist()

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
import pyarrow as pa

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.labels.table import read_votes
from galaxymill.probes.features import Features, find_features
from galaxymill.rounds.champion import Champion, read_champion
from galaxymill.rounds.pool import Galaxies, Pool
from galaxymill.rounds.settings import ChooseSettings
from galaxymill.rounds.spread import EACH, Spread, spread
from galaxymill.rounds.upload import RECEIPTS
from galaxymill.spaces.space import read_space
from galaxymill.splits import SplitSettings
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import read_columns, write_product
from galaxymill.tasks.task import Floats

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


def choose_subjects(request: ChooseRequest, out: Path) -> None:
    """Choose the galaxies of one round: ``subjects.parquet``, and beside it `CHOICE`.

    The probability of each to be chosen is that of the whole design: at random, or by any rule.
    Horvitz and Thompson (1952) estimate the galaxies that might have been asked about by it.

    Raises
    ------
    UserError
        When predictions are not the champion's, or rules ask for answers that it does not give, or
        the subjects of this round were uploaded.
    """
    champion = read_champion(
        request.model, request.partitions, request.predictions, request.settings.featured
    )
    origin = _origin(request, champion)
    receipts = out.parent / "upload" / RECEIPTS
    if out.is_file() and receipts.is_file():
        # By other predictions, too, since the champion may have become another.
        if read_record(out, "choose").origin["parameters"] == origin.to_dict()["parameters"]:
            logger.info("choose: %s stays, as it was uploaded", out)
            return
        raise UserError(
            f"{out}: these subjects were uploaded ({receipts}), and others are asked for now; set "
            "the config back, or wait for their answers. To forget the upload, delete the receipts"
        )
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        pool = _pool(request, champion)
        pool.read()
        table = _Design(request, pool).table()
        choice = _describe(request.number, pool, table)
        with atomic_file(out.with_name(CHOICE)) as temporary:
            temporary.write_text(json.dumps(choice, indent=1) + "\n", encoding="utf-8")
        write_product(out, table, origin, products.SUBJECTS)
    told = ", ".join(f"{n} {stratum}" for stratum, n in choice["subjects"].items())
    logger.info("choose: %s of %d galaxies that may be asked about", told or "none", choice["pool"])
    if choice["finished"]:
        logger.warning("choose: finished: no rule finds a galaxy that is worth asking about")


def _pool(request: ChooseRequest, champion: Champion) -> Pool:
    votes = read_votes(request.votes)
    asked = {name for path in request.before for name in _names(path)}
    # As labels are split: by positions, or where these have none by names.
    placed = bool(np.isfinite(votes.positions).any())
    return Pool(
        champion,
        request.settings,
        request.number,
        asked.union(votes.object_ids),
        request.splits,
        request.partitions.parent / "tiles" if placed else None,
        EACH if request.space else 1,
    )


def _describe(number: int, pool: Pool, table: pa.Table) -> dict[str, Any]:
    """Tell what there was to choose from, for the page of all rounds."""
    counts = table["stratum"].value_counts().to_pylist()
    return {
        "round": number,
        "pool": pool.random.count,
        "confidently_smooth": pool.smooth,
        "subjects": {one["values"]: one["counts"] for one in counts},
        "finished": bool(pool.strata) and not any(stratum.count for stratum in pool.strata),
    }


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

    def of(self, galaxies: Galaxies) -> Floats:
        """Chances of galaxies, whichever stratum they are of."""
        shares = np.array([self.each.get(name, self.share) for name in galaxies.ids])
        return np.asarray(shares * (galaxies.scores[:, self.place] >= self.end))


class _Design:
    """Who is chosen, and with which probability: at random, then by each rule in turn."""

    def __init__(self, request: ChooseRequest, pool: Pool) -> None:
        self.request, self.pool, self.settings = request, pool, request.settings

    def table(self) -> pa.Table:
        """Choose; rows of ``subjects.parquet``."""
        drawn, rules = self.pool.random.best(), self.settings.choose
        chosen, left = [(RANDOM, drawn)], self.settings.budget - len(drawn.ids)
        chances = []
        for place, name in enumerate(rules):
            own, chance = self._choose_by(place, left // (len(rules) - place), chosen)
            chances.append(chance)
            chosen.append((name, own))
            left -= len(own.ids)
        return self._table(chosen, chances)

    def _choose_by(
        self, place: int, count: int, chosen: Sequence[tuple[str, Galaxies]]
    ) -> tuple[Galaxies, _Chance]:
        """Choose by one rule among those that are not chosen yet."""
        stratum, space = self.pool.strata[place], self.request.space
        before = [one for _, one in chosen]
        # Of those that come into question for this rule, some are taken already.
        gone = [one.take(np.flatnonzero(np.isfinite(one.scores[:, place]))) for one in before]
        taken = {name for one in before for name in one.ids}
        own = stratum.best().first(count * (EACH if space else 1), taken)
        if not own.ids:
            return own, _Chance(place, np.inf, 0.0)
        end, among = own.scores[:, place].min(), len(own.ids)
        if not self.pool.rules[place].best_first:
            end, among = -np.inf, stratum.count - sum(len(one.ids) for one in gone)
        proposed = len(own.ids) / among
        if not space or len(own.ids) <= count:
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
        return spread(features, beside, self.pool.draws("spread", ids), min(count, len(ids)))

    def _table(
        self,
        chosen: Sequence[tuple[str, Galaxies]],
        chances: Sequence[_Chance],
    ) -> pa.Table:
        drawn = self.pool.random
        at_random = drawn.most / max(drawn.count, drawn.most)
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


def _features(found: Features, names: Sequence[str]) -> Floats:
    width = found.values.shape[1]
    none = np.zeros(width, found.values.dtype)
    rows = [found.values[found.rows[name]] if name in found.rows else none for name in names]
    return np.array(rows, np.float64).reshape(-1, width)


def _names(path: Path) -> Iterator[str]:
    read_record(path, "choose")
    yield from read_columns(path, ["object_id"])["object_id"].to_pylist()

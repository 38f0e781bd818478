"""Stage ``detectability``: how much of each answer is still seen of galaxies farther away."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill import products
from galaxymill.detectability.check import Bins, bin_galaxies, compare
from galaxymill.detectability.covariates import NAMES, Values, View, covariates
from galaxymill.detectability.read import (
    Near,
    Predicted,
    catalogue_columns,
    far_fractions,
    near_of_labels,
    near_of_prediction,
)
from galaxymill.detectability.report import Found, make_report
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.detectability.surface import FEWEST, ROUNDS, Bases, Seen, Surface
from galaxymill.detectability.table import knot_rows
from galaxymill.errors import UserError, unknown_name
from galaxymill.progress import progress
from galaxymill.reporting.plots import own_style
from galaxymill.splits import uniform
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import write_product

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Far:
    """One far prediction: its folder, ``partitions.csv`` of its survey, and how that shows it."""

    folder: Path
    partitions: Path
    view: View


@dataclass(frozen=True)
class Request:
    """What is compared.

    Attributes
    ----------
    objects : Path
        ``objects.parquet`` of the near survey.
    near : Path
        ``votes.parquet`` of a labelled set, or the folder of a prediction.
    partitions : Path or None
        ``partitions.csv`` of the near prediction's survey; None for labels.
    far : sequence of Far
    """

    objects: Path
    near: Path
    partitions: Path | None
    far: Sequence[Far]
    settings: DetectabilitySettings


def fit_detectability(request: Request, out: Path) -> None:
    """Fit a surface to each answer; OUT is ``detectability.parquet``, ``report.html`` beside it.

    Raises
    ------
    UserError
        When near and far are not of one tree, a column is absent, or too few galaxies have all
        that is needed.
    """
    settings = request.settings
    if request.partitions is None:
        near = near_of_labels(request.near, settings.sample)
    else:
        near = near_of_prediction(Predicted.open(request.near, request.partitions), settings.sample)
    far = [Predicted.open(one.folder, one.partitions) for one in request.far]
    told = _told(settings, near)
    inputs = {"near": near.digest, "catalog": read_record(request.objects, "ingest").digest}
    inputs |= {f"far {number}": one.digest for number, one in enumerate(far, start=1)}
    parameters = {
        "settings": settings.product_settings(),
        "views": [one.view.product_settings() for one in request.far],
        "answers": told,
    }
    origin = Origin("detectability", parameters, inputs)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        copies = _copies(request, near, far)
        found, tables = _fit(near, copies, NAMES[: copies.covariates.shape[1]])
        with own_style(), atomic_tree(out.parent, out.name) as folder:
            page = make_report(out.parent.name, found, settings, told, origin)
            page.write(folder, "metrics.json")
            rows = pa.concat_tables(tables)
            write_product(folder / out.name, rows, origin, products.DETECTABILITY)
    logger.info("detectability: %s", page.headline)


def _told(settings: DetectabilitySettings, near: Near) -> list[str]:
    for one in settings.answers:
        if one not in near.answers:
            raise unknown_name("detectability: answers", one, near.answers, "answer")
    return list(settings.answers) or near.answers


@dataclass(frozen=True)
class _Copies:
    """Copies of galaxies, all far surveys together: the near row of each, and how it is seen."""

    row: npt.NDArray[np.intp]
    covariates: Values
    far: Values

    def seen(self, near: Near, answer: int) -> tuple[npt.NDArray[np.bool_], Seen]:
        """Which copies are known near and far, and those."""
        parts = [part[self.row, answer] for part in (near.fraction, near.square, near.weight)]
        far = self.far[:, answer]
        known = np.isfinite([far, *parts]).all(axis=0)
        fraction, square, weight, far = (part[known] for part in (*parts, far))
        return known, Seen(fraction, far, square, weight, self.row[known])


def _copies(request: Request, near: Near, far: Sequence[Predicted]) -> _Copies:
    given = catalogue_columns(request.objects, request.settings.columns, near).T
    redshift = given[2] if request.settings.redshift else None
    shown = [covariates(given[0], given[1], redshift, one.view) for one in request.far]
    fractions = [far_fractions(one, near) for one in far]
    rows = np.tile(np.arange(len(near.object_ids)), len(far))
    own, values = np.concatenate(shown), np.concatenate(fractions)
    known = np.isfinite(own).all(axis=1) & np.isfinite(values).any(axis=1)
    galaxies = len(np.unique(rows[known]))
    if galaxies < 2 * FEWEST:
        without = int((~np.isfinite(own).all(axis=1)).sum())
        raise UserError(
            f"detectability: {galaxies} galaxies are known near and far, {2 * FEWEST} are needed; "
            f"of {len(rows)} copies {without} have no {', no '.join(request.settings.columns)} that "
            "can be used (radii and redshifts are above 0), and "
            f"{int((~np.isfinite(values).any(axis=1)).sum())} no far prediction"
        )
    return _Copies(rows[known], own[known], values[known])


def _fit(near: Near, copies: _Copies, names: Sequence[str]) -> tuple[list[Found], list[pa.Table]]:
    """Fit every answer: to all galaxies, and to either half, to be compared with the other."""
    bases = Bases(copies.covariates, names)
    half = np.array([uniform(f"half:{one}") < 0.5 for one in near.object_ids])[copies.row]
    found, tables = [], []
    with progress("detectability", len(near.answers), "answers") as advance:
        for place, answer in enumerate(near.answers):
            known, seen = copies.seen(near, place)
            own = copies.covariates[known]
            surface = Surface(bases, own, seen)
            table = knot_rows(answer, bases, surface, bases.counts(own))
            checked = _check(bases, own, seen, half[known])
            tables.append(table)
            found.append(Found(answer, table, seen, checked))
            advance(1)
    return found, tables


def _check(bases: Bases, own: Values, seen: Seen, half: npt.NDArray[np.bool_]) -> Bins:
    """Compare either half with the surface of the other: galaxies stand on one side, all copies."""
    bins, checked = bin_galaxies(own), []
    for side in (half, ~half):
        surface = Surface(bases, own[side], seen.take(side), ROUNDS // 3)
        checked.append(compare(surface.at(own[~side]), seen.take(~side), bins[~side]))
    return Bins(
        *(
            np.concatenate(pair)
            for pair in zip(*(vars(one).values() for one in checked), strict=True)
        )
    )

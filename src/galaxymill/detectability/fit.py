"""Stage ``detectability``: how much of each answer is still seen of galaxies farther away."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill import products
from galaxymill.detectability.check import cross_check
from galaxymill.detectability.covariates import Values, View, covariates
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
from galaxymill.detectability.surface import FEWEST, Z90, Bases, Seen, Surface
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

    @classmethod
    def of(
        cls, folders: Sequence[Path], partitions: Sequence[Path], views: Sequence[str]
    ) -> "list[Far]":
        """Put together what the command line gives in three lists, views as JSON."""
        if not len(folders) == len(partitions) == len(views):
            raise UserError("detectability: give --far-partitions and --view with each --far")
        shown = [View.parse_flag(one) for one in views]
        return [cls(*one) for one in zip(folders, partitions, shown, strict=True)]


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
    origin = _origin(request, near, far)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        told = origin.parameters["answers"]
        found = _fit(near, _copies(request, near, far), told)
        with own_style(), atomic_tree(out.parent, out.name) as folder:
            page = make_report(out.parent.name, found, origin)
            page.write(folder, "metrics.json")
            rows = pa.concat_tables([one.table for one in found])
            write_product(folder / out.name, rows, origin, products.DETECTABILITY)
    logger.info("detectability: %s", page.headline)


def _origin(request: Request, near: Near, far: Sequence[Predicted]) -> Origin:
    settings = request.settings
    for one in settings.answers:
        if one not in near.answers:
            raise unknown_name("detectability: answers", one, near.answers, "answer")
    told = list(settings.answers) or near.answers
    views = [one.view.product_settings() for one in request.far]
    parameters = settings.model_dump(mode="json") | {"answers": told, "views": views}
    inputs = {"near": near.digest, "catalog": read_record(request.objects, "ingest").digest}
    inputs |= {f"far {number}": one.digest for number, one in enumerate(far, start=1)}
    return Origin("detectability", parameters, inputs)


@dataclass(frozen=True)
class _Copies:
    """Copies of galaxies, all far surveys together: the near row of each, and how it is seen."""

    row: npt.NDArray[np.intp]
    covariates: Values
    far: Values

    def seen(self, near: Near, answer: int) -> tuple[npt.NDArray[np.bool_], Seen]:
        """Which copies are known near and far, and those."""
        tables = (near.fraction, near.square, near.weight)
        parts = np.stack([self.far[:, answer], *(table[self.row, answer] for table in tables)])
        known = np.asarray(np.isfinite(parts).all(axis=0))
        far, fraction, square, weight = parts[:, known]
        return known, Seen(fraction, far, square, weight, self.row[known])


def _copies(request: Request, near: Near, far: Sequence[Predicted]) -> _Copies:
    moved = any(one.view.redshift for one in request.far)
    names = [*request.settings.columns, *(["own_redshift"] if moved else [])]
    given = list(catalogue_columns(request.objects, names, near).T)
    own = given.pop() if moved else None
    shown = np.concatenate([covariates(given, own, one.view) for one in request.far])
    fractions = np.concatenate([far_fractions(one, near) for one in far])
    rows = np.tile(np.arange(len(near.object_ids)), len(far))
    placed, predicted = np.isfinite(shown).all(axis=1), np.isfinite(fractions).any(axis=1)
    known = placed & predicted
    galaxies = len(np.unique(rows[known]))
    if galaxies < FEWEST:
        raise UserError(
            f"detectability: {galaxies} galaxies are known near and far, {FEWEST} are needed; "
            f"of {len(rows)} copies {np.count_nonzero(~predicted)} have no far prediction, and "
            f"{np.count_nonzero(~placed)} lack one of {', '.join(names)} in {request.objects} "
            "(radii and redshifts are above 0, and redshifts below those that a survey shows)"
        )
    return _Copies(rows[known], shown[known], fractions[known])


def _fit(near: Near, copies: _Copies, answers: Sequence[str]) -> list[Found]:
    """Fit each answer to all galaxies, and to either half, to compare it with the other."""
    bases = Bases(copies.covariates)
    half = np.array([uniform(f"half:{one}") < 0.5 for one in near.object_ids])[copies.row]
    found = []
    with progress("detectability", len(answers), "answers") as advance:
        for answer in answers:
            known, seen = copies.seen(near, near.answers.index(answer))
            own = copies.covariates[known]
            checked = cross_check(bases, own, seen, half[known])
            table = _knot_rows(answer, bases, Surface(bases, own, seen), own, checked.misfit)
            found.append(Found(answer, bases, table, seen, checked))
            advance(1)
    return found


def _knot_rows(answer: str, bases: Bases, surface: Surface, own: Values, misfit: float) -> pa.Table:
    """Rows of one answer, for each combination of knots; ``own`` are its copies' covariates."""
    corners, copies = bases.corners(), bases.counts(own)
    fit, few = surface.at(corners), copies < FEWEST
    middle, error = fit.kept.mean(axis=1), np.sqrt(fit.kept.var(axis=1) + misfit**2)
    told = {
        "detectable": middle,
        "low": np.clip(middle - Z90 * error, 0, 1),
        "high": np.clip(middle + Z90 * error, 0, 1),
        "made_up": fit.made_up.mean(axis=1),
    }
    columns: dict[str, Any] = {
        "answer": np.full(len(corners), answer),
        "size_fwhm": np.exp(corners[:, 0]),
        "contrast": corners[:, 1],
        "redshift": -corners[:, 2] if corners.shape[1] > 2 else np.full(len(corners), np.nan),
        **{name: np.where(few, np.nan, values) for name, values in told.items()},
        "copies": copies,
    }
    schema = products.DETECTABILITY
    arrays = [pa.array(columns[one.name], one.type, from_pandas=True) for one in schema]
    return pa.table(arrays, schema=schema)

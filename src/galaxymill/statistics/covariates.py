"""How errors change with what else is known of a galaxy: its magnitude, size, redshift, votes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.statistics.bootstrap import Values, number
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches

VOTES = "votes on the question"
MAX_BINS, FEWEST = 6, 15
"""Bins of equal number, with at least so many galaxies each."""

_NOT_OF_GALAXIES = ("ra", "dec", "_healpix_29")


def read_covariates(catalogs: Sequence[Path], object_ids: Sequence[str]) -> dict[str, Values]:
    """Read every numeric column that catalogues have for some galaxies.

    Parameters
    ----------
    catalogs : sequence of Path
        ``objects.parquet``, as `galaxymill.catalog.ingest` writes it.
    object_ids : sequence of str, length n

    Returns
    -------
    dict of str to ndarray, shape (n,)
        NaN where a galaxy is in none, or its value is null.
    """
    places = {key: row for row, key in enumerate(object_ids)}
    found: dict[str, Values] = {}
    for path in catalogs:
        read_record(path, "ingest")
        names = [field.name for field in pq.read_schema(path) if _is_number(field)]
        for batch in read_batches(path, ["object_id", *names], rows=10_000):
            keys = batch["object_id"].to_pylist()
            rows = [(place, places[key]) for place, key in enumerate(keys) if key in places]
            if not rows:
                continue
            here, there = np.array(rows).T
            for name in names:
                column = found.setdefault(name, np.full(len(object_ids), np.nan))
                column[there] = batch[name].cast(pa.float64()).to_numpy()[here]
    return found


def _is_number(field: pa.Field) -> bool:
    numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    return bool(numeric) and field.name not in _NOT_OF_GALAXIES


@dataclass(frozen=True)
class Errors:
    """Errors of n galaxies on one question.

    Attributes
    ----------
    question : str
    model, constant : ndarray, shape (n,)
        Squared errors (or 0 and 1 for wrong classes) of the model and of the constant; NaN for
        galaxies that do not count.
    floor : ndarray, shape (n,), or None
        Squared error that noise alone would leave.
    is_square : bool
        Whether the root of their mean is shown.
    """

    question: str
    model: Values
    constant: Values
    floor: Values | None = None
    is_square: bool = True


def errors_by(
    errors: Iterable[Errors], covariates: Mapping[str, Values], votes: Mapping[str, Values]
) -> list[dict[str, Any]]:
    """Bin errors by each covariate.

    Parameters
    ----------
    errors : iterable of Errors
    covariates : mapping of str to ndarray, shape (n,)
    votes : mapping of str to ndarray, shape (n,)
        Number of votes, by question; may be empty.

    Returns
    -------
    list of dict
        One row a question, covariate and bin: ``low``, ``high`` and ``median`` of the covariate,
        ``n``, ``error`` of the model with its standard ``uncertainty``, that of the ``constant``
        prediction, and ``noise_floor``.
    """
    rows = []
    for each in errors:
        own = {VOTES: votes[each.question]} if each.question in votes else {}
        for name, values in {**own, **covariates}.items():
            rows += [
                {"question": each.question, "covariate": name, **scores}
                for scores in _binned(each, values)
            ]
    return rows


def _binned(errors: Errors, values: Values) -> list[dict[str, Any]]:
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(errors.model))
    bins = min(MAX_BINS, len(known) // FEWEST)
    if bins < 2:
        return []
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, len(edges) - 2)
    groups = [known[place == index] for index in range(len(edges) - 1)]
    groups = [group for group in groups if len(group) >= FEWEST]
    return [_one_bin(errors, values, group) for group in groups] if len(groups) > 1 else []


def _one_bin(errors: Errors, values: Values, rows: Any) -> dict[str, Any]:
    def scale(squares: Values) -> float:
        average = squares[rows].mean()
        return float(np.sqrt(average) if errors.is_square else average)

    model = scale(errors.model)
    uncertainty = errors.model[rows].std(ddof=1) / np.sqrt(len(rows))
    if errors.is_square:
        # The error of a root, to first order (the delta method).
        uncertainty = uncertainty / (2 * model) if model else 0.0
    return {
        "low": number(values[rows].min()),
        "high": number(values[rows].max()),
        "median": number(np.median(values[rows])),
        "n": len(rows),
        "error": number(model),
        "uncertainty": number(uncertainty),
        "constant": number(scale(errors.constant)),
        "noise_floor": None if errors.floor is None else number(scale(errors.floor)),
    }

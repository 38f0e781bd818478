"""Errors as a function of magnitude, size, redshift or number of votes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.statistics.bootstrap import Values, number
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches

VOTES = "votes on the question"
MAX_BINS, FEWEST = 6, 15
"""Bins of equal number, with at least so many galaxies each."""

_NOT_OF_GALAXIES = ("ra", "dec", "_healpix_29")


def read_covariates(catalogs: Sequence[Path], object_ids: Sequence[str]) -> dict[str, Values]:
    """Read every numeric column that catalogues (``objects.parquet``) have for some galaxies.

    Columns have shape (n,), in the order of ``object_ids``; NaN where a galaxy is in no catalogue,
    or its value is null.
    """
    wanted = pa.array(object_ids, pa.string())
    frames = [pd.DataFrame(index=list(object_ids))]
    for path in catalogs:
        read_record(path, "ingest")
        names = [field.name for field in pq.read_schema(path) if _is_number(field)]
        for batch in read_batches(path, ["object_id", *names], rows=10_000):
            rows = batch.filter(pc.is_in(batch["object_id"], wanted)).to_pandas()
            frames.append(rows.set_index("object_id").astype(np.float64))
    found = pd.concat(frames).groupby(level=0).last().reindex(list(object_ids))
    return {str(name): found[name].to_numpy(np.float64) for name in found}


def _is_number(field: pa.Field) -> bool:
    numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    return bool(numeric) and field.name not in _NOT_OF_GALAXIES


@dataclass(frozen=True)
class Errors:
    """Squared errors (n,) of the model and the constant on one question; NaN where not judged.

    ``floor`` is what noise alone would leave. Unless ``is_square``, errors are 1 for a wrong class
    and 0 for the right one.
    """

    question: str
    model: Values
    constant: Values
    floor: Values | None = None
    is_square: bool = True


def errors_by(
    errors: Iterable[Errors], covariates: Mapping[str, Values], votes: Mapping[str, Values]
) -> list[dict[str, Any]]:
    """Bin errors by each covariate, and by the number of votes (n,) on a question, if any.

    Gives one row a question, covariate and bin: ``low``, ``high`` and ``median`` of the covariate,
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
    columns = {"value": values, "model": errors.model, "constant": errors.constant}
    floor = np.nan if errors.floor is None else errors.floor
    table = pd.DataFrame({**columns, "floor": floor}).dropna(subset=["value", "model"])
    bins = min(MAX_BINS, len(table) // FEWEST)
    if bins < 2:
        return []
    edges = np.unique(table["value"].quantile(np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, table["value"], side="right"), 1, len(edges) - 1)
    groups = [group for _, group in table.groupby(place) if len(group) >= FEWEST]
    return [_scores(group, errors.is_square) for group in groups] if len(groups) > 1 else []


def _scores(group: pd.DataFrame, is_square: bool) -> dict[str, Any]:
    averages = group[["model", "constant", "floor"]].mean()
    uncertainty = group["model"].sem()
    if is_square:
        averages = np.sqrt(averages)
        # The error of a root, to first order (the delta method).
        uncertainty = uncertainty / (2 * averages["model"]) if averages["model"] else 0.0
    return {
        "low": number(group["value"].min()),
        "high": number(group["value"].max()),
        "median": number(group["value"].median()),
        "n": len(group),
        "error": number(averages["model"]),
        "uncertainty": number(uncertainty),
        "constant": number(averages["constant"]),
        "noise_floor": number(averages["floor"]),
    }

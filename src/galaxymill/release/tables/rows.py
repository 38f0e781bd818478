"""The rows of a release: the catalogue joined with the products of each galaxy."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import flags
from galaxymill.detectability.table import Detectable
from galaxymill.errors import UserError
from galaxymill.release.found import Found
from galaxymill.release.predictions import Prediction
from galaxymill.release.settings import Selection
from galaxymill.release.sources import Part
from galaxymill.release.tables.parts import PartReader
from galaxymill.release.tables.selections import select
from galaxymill.storage.parquet import read_columns

SUM_TOLERANCE = 1e-4


def read_rows(
    catalog: pa.Table,
    parts: Sequence[Part],
    schema: pa.Schema,
    reader: PartReader,
    predictions: Sequence[Prediction],
    selections: Mapping[str, Selection],
    found: Sequence[Found] = (),
    detectable: Detectable | None = None,
) -> pa.Table:
    """Join galaxies of the catalogue with the products of partitions, which may hold others too.

    Returns
    -------
    pyarrow.Table
        One row per row of ``catalog``, in its order. ``flags`` are those of the image and of the
        predictions, ``no_features`` of spaces, and ``lower_limit``; what is not applicable is
        null, never NaN.

    Raises
    ------
    UserError
        When a galaxy is in none of the partitions, when the files of a partition do not belong
        together, a fit galaxy's shares do not add up to 1, or an unfit galaxy has any.
    """
    read = [reader.read(part) for part in parts]
    roles = {role: _join(tables[role] for tables in read) for role in read[0]}
    images = _columns(roles["images"])
    made = {**images, "status": roles["cutouts"]["status"]}
    for one in predictions:
        predicted = _columns(roles[one.role])
        made["flags"] = pc.bit_wise_or(made["flags"], predicted.pop("flags"))
        if one.draws:
            made[one.sample_column] = predicted.pop(one.task.sample_column)
        made |= predicted
    for other in found:
        own = _columns(roles[other.role])
        bit = pa.scalar(flags.BITS["no_features"], pa.int32())
        made["flags"] = pc.bit_wise_or(made["flags"], pc.bit_wise_and(own["flags"], bit))
        made |= {column.name: own[column.name] for column in other.fields}
    values = {**_in_order(pa.table(made), catalog["object_id"], parts), **_columns(catalog)}
    if detectable is not None:
        told, limited = detectable.of(catalog)
        bits = pa.array(np.where(limited, flags.BITS["lower_limit"], 0), pa.int32())
        values |= {**told, "flags": pc.bit_wise_or(values["flags"], bits)}
    for name, selection in selections.items():
        values[name] = select(values, selection)
    rows = pa.table([_nan_to_null(values[name]) for name in schema.names], schema=schema)
    for one in predictions:
        _check_shares(rows, one, parts)
    return rows


def _in_order(
    made: pa.Table, ids: pa.ChunkedArray, parts: Sequence[Part]
) -> dict[str, pa.ChunkedArray]:
    """Put rows of whole partitions in the order of some of their galaxies."""
    if not made["object_id"].equals(ids):
        places = pc.index_in(ids, value_set=made["object_id"].combine_chunks())
        if places.null_count:
            lost = ids.filter(places.is_null())[0].as_py()
            raise UserError(
                f"{parts[0].files['tile'].parent}: no tile there holds {lost!r} of the catalogue; "
                "run partition again"
            )
        made = made.take(places).combine_chunks()
    return _columns(made)


def _join(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables end to end, each column in one piece: what follows costs by the piece."""
    return pa.concat_tables(tables).combine_chunks()


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _nan_to_null(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(values.type) or not np.isnan(values.to_numpy()).any():
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _check_shares(rows: pa.Table, prediction: Prediction, parts: Sequence[Part]) -> None:
    """See that answers add up to 1 for every galaxy that was predicted, and are null for others."""
    unfit = prediction.unfit(rows)
    for panel in prediction.task.panels():
        values = [rows[answer.column].to_numpy() for answer in panel.answers]
        total = np.stack(values, dtype=np.float64).sum(axis=0)
        whole = abs(total - 1) < SUM_TOLERANCE if panel.adds_up else ~np.isnan(total)
        good = np.where(unfit, np.isnan(values).all(axis=0), whole)
        if not good.all():
            row = int(np.argmin(good))
            state = "unfit" if unfit[row] else "fit"
            galaxy = rows["object_id"][row].as_py()
            what = "neither 1 together nor" if panel.adds_up else "neither numbers nor"
            raise UserError(
                f"{_holder(parts, prediction.role, galaxy)}: {panel.title}: {(~good).sum()} "
                f"galaxies whose values are {what}, where the image is unfit, null, e.g. "
                f"{galaxy!r} ({state}): {total[row]}; run predict again"
            )


def _holder(parts: Sequence[Part], role: str, galaxy: str) -> Path:
    """Find the predictions of one galaxy."""
    files = [part.files[role] for part in parts]
    return next(
        f for f in files if galaxy in read_columns(f, ["object_id"])["object_id"].to_pylist()
    )

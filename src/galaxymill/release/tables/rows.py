"""The rows of a release: the files of each partition joined position by position."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.release.settings import Selection
from galaxymill.release.sources import MAKERS, Part
from galaxymill.release.tables.selections import select
from galaxymill.storage.digest import TableDigest
from galaxymill.votes.task import Task
from galaxymill.votes.tree import Tree

SUM_TOLERANCE = 1e-4


def part_schemas(part: Part, task: Task) -> dict[str, pa.Schema]:
    """Schema that each file of every partition must have, by role.

    Parameters
    ----------
    part : Part
        Any partition: it tells the catalogue's columns and the number of samples.
    task : Task
        Of the model.
    """
    return {
        "tile": pq.read_schema(part.files["tile"]),
        "cutouts": products.CUTOUTS,
        "images": products.IMAGES,
        "predictions": products.predictions(task, kept_draws(part, task)),
    }


def kept_draws(part: Part, task: Task) -> int:
    """Count the posterior samples a galaxy that the predictions keep; 0 when they keep none."""
    predicted = pq.read_schema(part.files["predictions"])
    name = products.SAMPLES[task.kind][0]
    kept = predicted.field(name).type if name in predicted.names else None
    if not isinstance(kept, pa.FixedSizeListType):
        return 0
    return int(kept.list_size) // len(task.columns)


def read_rows(
    parts: Sequence[Part], schema: pa.Schema, tree: Tree, selections: Mapping[str, Selection]
) -> pa.Table:
    """Join the files of some partitions that `galaxymill.release.inspection` has passed.

    Parameters
    ----------
    parts : sequence of Part
    schema : pyarrow.Schema
        All columns of the release.
    tree : Tree
        The model's questions.
    selections : mapping of str to Selection
        Boolean columns of the release.

    Returns
    -------
    pyarrow.Table
        One row per row of the tiles, in their order. ``flags`` are those of the image or of the
        prediction; what is not applicable is null, never NaN.

    Raises
    ------
    UserError
        When rows are not those that were written, a fit galaxy's fractions do not add up to 1,
        or an unfit galaxy has any.
    """
    measured = [field.name for field in products.IMAGE_QUALITY]
    images = _join(_read(part.files["images"], ["flags", *measured]) for part in parts)
    cutouts = _join(_read(part.files["cutouts"], ["status"]) for part in parts)
    tiles, predictions = (_join(_read_whole(parts, role)) for role in ("tile", "predictions"))
    values = {
        **_columns(tiles),
        **_columns(predictions),
        **{name: images[name] for name in measured},
        "status": cutouts["status"],
        "flags": pc.bit_wise_or(images["flags"], predictions["flags"]),
    }
    for name, selection in selections.items():
        values[name] = select(values, selection)
    rows = pa.table([_nan_to_null(values[name]) for name in schema.names], schema=schema)
    _check_fractions(rows, tree, parts)
    return rows


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    # ParquetFile, not read_table: a folder called ``a=b`` must not become a column.
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        return file.read(columns, use_threads=False)


def _read_whole(parts: Sequence[Part], role: str) -> Iterator[pa.Table]:
    """Read products and see that their rows are those that were written.

    Cutouts and images are not: that would be to read every picture of the survey again.
    """
    digest: TableDigest | None = None
    for part in parts:
        table = _read(part.files[role])
        digest = digest or TableDigest(table.schema)
        digest.restart()
        digest.update(table)
        if digest.hexdigest() != part.records[role].digest:
            raise UserError(
                f"{part.files[role]}: its rows have changed since it was made: their digest is "
                f"{digest.hexdigest()}, recorded is {part.records[role].digest}; remove the file "
                f"and run {MAKERS[role]} again"
            )
        yield table


def _join(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables end to end, each column in one piece: what follows costs by the piece."""
    return pa.concat_tables(tables).combine_chunks()


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _nan_to_null(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(values.type) or not np.isnan(values.to_numpy()).any():
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _check_fractions(rows: pa.Table, tree: Tree, parts: Sequence[Part]) -> None:
    unfit = (rows["flags"].to_numpy() & parts[0].unfit) != 0
    for question in tree.questions:
        fractions = [rows[f"{column}_fraction"].to_numpy() for column in question.columns]
        total = np.stack(fractions, dtype=np.float64).sum(axis=0)
        good = np.where(unfit, np.isnan(fractions).all(axis=0), abs(total - 1) < SUM_TOLERANCE)
        if not good.all():
            row = int(np.argmin(good))
            state = "unfit" if unfit[row] else "fit"
            ends = np.cumsum([part.partition.n_rows for part in parts])
            path = parts[int(np.searchsorted(ends, row, side="right"))].files["predictions"]
            raise UserError(
                f"{path}: {question.name}: {(~good).sum()} galaxies whose fractions are neither 1 "
                f"together nor, where the image is unfit, null, e.g. "
                f"{rows['object_id'][row].as_py()!r} ({state}): {total[row]}; run predict again"
            )


def mask_unasked(rows: pa.Table, tree: Tree, schema: pa.Schema, cut: float) -> pa.Table:
    """Make the friendly table: null where fewer volunteers would be asked the question.

    Half of them is the cut of the Galaxy Zoo DESI catalogue (Walmsley et al. 2023, MNRAS 526,
    4768).

    Parameters
    ----------
    rows : pyarrow.Table
        From `read_rows`.
    tree : Tree
        The model's questions.
    schema : pyarrow.Schema
        Of the friendly table.
    cut : float
        Least proportion of the volunteers.
    """
    values = _columns(rows)
    for question in tree.questions:
        proportion = rows[f"{question.name}_proportion-asked"]
        asked = pc.greater_equal(proportion, pa.scalar(cut, proportion.type))
        for column in question.columns:
            name = f"{column}_fraction"
            nothing = pa.scalar(None, rows[name].type)
            values[name] = pc.if_else(asked, rows[name], nothing)
    return pa.table([values[name] for name in schema.names], schema=schema)

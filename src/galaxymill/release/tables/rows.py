"""The rows of a release: the catalogue's, and what was made of each galaxy, side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.release.settings import Selection
from galaxymill.release.sources import MAKERS, Part, prove
from galaxymill.release.tables.selections import select
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.parquet import open_parquet
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import Tree

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
    name = task.sample_column
    kept = predicted.field(name).type if name in predicted.names else None
    if not isinstance(kept, pa.FixedSizeListType):
        return 0
    return int(kept.list_size) // task.sample_width()[0]


def read_rows(
    catalog: pa.Table,
    parts: Sequence[Part],
    schema: pa.Schema,
    tree: Tree,
    selections: Mapping[str, Selection],
) -> pa.Table:
    """Join some galaxies of the catalogue with the products of the partitions that hold them.

    Parameters
    ----------
    catalog : pyarrow.Table
        Rows of ``objects.parquet``.
    parts : sequence of Part
        That `galaxymill.release.inspection` has passed; they may hold other galaxies too.
    schema : pyarrow.Schema
        All columns of the release.
    tree : Tree
        The model's questions.
    selections : mapping of str to Selection
        Boolean columns of the release.

    Returns
    -------
    pyarrow.Table
        One row per row of ``catalog``, in its order. ``flags`` are those of the image or of the
        prediction; what is not applicable is null, never NaN.

    Raises
    ------
    UserError
        When a galaxy is in none of the partitions, when rows are not those that were written, a
        fit galaxy's fractions do not add up to 1, or an unfit galaxy has any.
    """
    measured = [field.name for field in products.IMAGE_QUALITY]
    images = _join(_read(part.files["images"], ["flags", *measured]) for part in parts)
    cutouts = _join(_read(part.files["cutouts"], ["status"]) for part in parts)
    predictions = _join(_read_predictions(parts))
    made = {
        **_columns(predictions),
        **{name: images[name] for name in measured},
        "status": cutouts["status"],
        "flags": pc.bit_wise_or(images["flags"], predictions["flags"]),
    }
    values = {**_in_order(pa.table(made), catalog["object_id"], parts), **_columns(catalog)}
    for name, selection in selections.items():
        values[name] = select(values, selection)
    rows = pa.table([_nan_to_null(values[name]) for name in schema.names], schema=schema)
    _check_fractions(rows, tree, parts)
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


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    # ParquetFile, not read_table: a folder called ``a=b`` must not become a column.
    with open_parquet(path) as file:
        return file.read(columns, use_threads=False)


def _read_predictions(parts: Sequence[Part]) -> Iterator[pa.Table]:
    """Read predictions, and see that their rows are those that were written.

    Of cutouts and images that is not seen: it would be to read every picture of the survey again.
    """
    digest: TableDigest | None = None
    for part in parts:
        path = part.files["predictions"]
        table = _read(path)
        digest = digest or TableDigest(table.schema)
        prove(table, path, part.records["predictions"], MAKERS["predictions"], digest)
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
            galaxy = rows["object_id"][row].as_py()
            raise UserError(
                f"{_holder(parts, galaxy)}: {question.name}: {(~good).sum()} galaxies whose "
                f"fractions are neither 1 together nor, where the image is unfit, null, e.g. "
                f"{galaxy!r} ({state}): {total[row]}; run predict again"
            )


def _holder(parts: Sequence[Part], galaxy: str) -> Path:
    """Find the predictions of one galaxy."""
    files = [part.files["predictions"] for part in parts]
    return next(f for f in files if galaxy in _read(f, ["object_id"])["object_id"].to_pylist())


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

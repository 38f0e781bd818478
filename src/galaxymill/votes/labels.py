"""Stage ``labels``: a table of votes, checked and split."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin, is_made
from galaxymill.storage.parquet import write_product
from galaxymill.tables import check_ids, check_range, read_table, require_file
from galaxymill.votes.splits import SPLITS, SplitSettings, assign_splits
from galaxymill.votes.tree import Tree, load_tree

MAX_VOTES = 2**31 - 1

logger = logging.getLogger("galaxymill")


def collect_labels(
    source: Path, tree_path: Path, out: Path, object_id: str, splits: SplitSettings
) -> None:
    """Check a vote table and give each galaxy its split.

    Parameters
    ----------
    source : Path
        CSV, Parquet or FITS table: an identifier, one count column ``{question}_{answer}`` per
        answer of the tree, and optionally ``ra`` and ``dec``.
    tree_path : Path
        The decision tree that was asked.
    out : Path
        ``votes.parquet``, sorted by ``object_id``.
    object_id : str
        Column of the identifier.
    splits : SplitSettings
        Shares of train, val and test.

    Raises
    ------
    UserError
        When a column is absent, an identifier is unfit or given twice, or a count is negative,
        fractional or absent.
    """
    require_file(source)
    tree = load_tree(tree_path)
    parameters = {"object_id": object_id, "splits": splits.model_dump(), "tree": tree.to_dict()}
    origin = Origin("labels", parameters, {"votes": sha256_file(source)})
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        table = _votes(source, tree, object_id, splits)
        write_product(out, table, origin, table.schema)
    counts = {split: pc.sum(pc.equal(table["split"], split)).as_py() for split in SPLITS}
    logger.info("labels: %d galaxies with votes: %s", table.num_rows, counts)


def _votes(source: Path, tree: Tree, object_id: str, splits: SplitSettings) -> pa.Table:
    positions = _position_columns(source)
    table = read_table(source, [object_id, *positions, *tree.columns], [object_id])
    if table.num_rows == 0:
        raise UserError(f"{source}: there are no votes")
    ids = table[object_id].combine_chunks()
    check_ids(source, table[object_id], object_id)
    columns = [ids]
    radec = None
    if positions:
        ra = check_range(source, table["ra"], "ra", 0, 360)
        dec = check_range(source, table["dec"], "dec", -90, 90)
        radec = (ra.to_numpy(), dec.to_numpy())
        columns += [ra, dec]
    columns += [_counts(source, table[column], column) for column in tree.columns]
    columns.append(pa.array(assign_splits(ids.to_pylist(), radec, splits)))
    schema = products.votes(tree, bool(positions))
    votes = pa.Table.from_arrays(columns, names=schema.names).cast(schema)
    return votes.sort_by("object_id")


def _position_columns(source: Path) -> list[str]:
    try:
        read_table(source, ["ra", "dec"]).slice(0, 0)
    except UserError:
        return []
    return ["ra", "dec"]


def _counts(source: Path, values: pa.ChunkedArray, column: str) -> pa.Array:
    numbers = check_range(source, values, column, 0, MAX_VOTES).to_numpy()
    fractional = numbers != np.floor(numbers)
    if fractional.any():
        row = int(np.argmax(fractional))
        raise UserError(
            f"{source}: row {row + 1}: {column} is {numbers[row]:g}; votes are whole numbers: give "
            "counts, not fractions"
        )
    return pa.array(numbers.astype(np.int32))

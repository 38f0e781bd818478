"""Read the votes product back: identifiers, counts, splits and the tree they answer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from galaxymill.storage.origin import Record, read_record
from galaxymill.votes.tree import Tree, parse_tree


@dataclass(frozen=True)
class Votes:
    """A labelled set.

    Attributes
    ----------
    object_ids : list of str, length n
    counts : ndarray, shape (n, n_answers), int32
        In the order of the tree's columns.
    splits : ndarray of str, shape (n,)
        ``train``, ``val`` or ``test``.
    tree : Tree
        The questions that were asked.
    record : Record
        Origin and digest of the product.
    """

    object_ids: list[str]
    counts: npt.NDArray[np.int32]
    splits: npt.NDArray[np.str_]
    tree: Tree
    record: Record

    def rows(self) -> dict[str, int]:
        """Row of each galaxy."""
        return {object_id: row for row, object_id in enumerate(self.object_ids)}


def read_votes(path: Path) -> Votes:
    """Read ``votes.parquet``; the tree stands in its origin.

    Raises
    ------
    UserError
        When the file is no votes product.
    """
    record = read_record(path, "labels")
    tree = parse_tree(record.origin["parameters"]["tree"], str(path))
    table = pq.read_table(path, columns=["object_id", *tree.columns, "split"])
    counts = np.column_stack([table[column].to_numpy() for column in tree.columns])
    splits = np.array(table["split"].to_pylist(), dtype=np.str_)
    return Votes(table["object_id"].to_pylist(), counts, splits, tree, record)

"""Read the labels product back: identifiers, labels, splits and what they are labels of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, Record, read_record
from galaxymill.storage.parquet import open_parquet
from galaxymill.tasks.task import Task, join_tasks, parse_task


@dataclass(frozen=True)
class Votes:
    """A labelled set.

    Attributes
    ----------
    object_ids : list of str, length n
    values : ndarray, shape (n, …), float64
        As the task reads them: counts for votes and classes, or the number, shape (n, n_columns).
    splits : ndarray of str, shape (n,)
        ``train``, ``val`` or ``test``.
    positions : ndarray, shape (n, 2), float64, or None
        Right ascension and declination (ICRS), degrees; NaN where unknown.
    task : Task
        What the labels say.
    record : Record
        Origin and digest of the product.
    """

    object_ids: list[str]
    values: npt.NDArray[np.float64]
    splits: npt.NDArray[np.str_]
    positions: npt.NDArray[np.float64] | None
    task: Task
    record: Record

    def rows(self) -> dict[str, int]:
        """Row of each galaxy."""
        return {object_id: row for row, object_id in enumerate(self.object_ids)}


def read_votes(path: Path) -> Votes:
    """Read ``votes.parquet``; its task stands in its origin.

    Raises
    ------
    UserError
        When the file is no labels product, or one of an older version.
    """
    record = read_record(path, "labels")
    plain = record.origin["parameters"].get("task")
    if plain is None:
        raise UserError(f"{path}: has no task: run galaxymill labels again, or it is no votes file")
    task = parse_task(plain, str(path))
    with open_parquet(path) as file:
        table = file.read()
    values = task.read_labels(table)
    splits = np.array(table["split"].to_pylist(), dtype=np.str_)
    positions = None
    if {"ra", "dec"} <= set(table.column_names):
        positions = np.column_stack([table["ra"].to_numpy(), table["dec"].to_numpy()])
    return Votes(table["object_id"].to_pylist(), values, splits, positions, task, record)


def read_joint_votes(paths: Sequence[Path]) -> Votes:
    """Read several labelled sets as one: votes on all their trees, none on those not asked.

    Galaxies are in the order of ``paths``; positions are NaN for sets without.

    Raises
    ------
    UserError
        When a galaxy is in two of them, or their tasks cannot be joined.
    """
    sets = [read_votes(path) for path in paths]
    if len(sets) == 1:
        return sets[0]
    task = join_tasks([votes.task for votes in sets], ", ".join(map(str, paths)))
    home: dict[str, Path] = {}
    for path, votes in zip(paths, sets, strict=True):
        for object_id in votes.object_ids:
            if object_id in home:
                raise UserError(
                    f"{path}: {object_id} is also in {home[object_id]}; a galaxy may be in one "
                    "labelled set of a model only"
                )
            home[object_id] = path
    values = np.zeros((len(home), len(task.columns)))
    start = 0
    for votes in sets:
        columns = [task.columns.index(column) for column in votes.task.columns]
        values[start : start + len(votes.object_ids), columns] = votes.values
        start += len(votes.object_ids)
    positions = None
    if any(votes.positions is not None for votes in sets):
        unknown = [np.full((len(votes.object_ids), 2), np.nan) for votes in sets]
        known = [votes.positions for votes in sets]
        positions = np.concatenate(
            [b if a is None else a for a, b in zip(known, unknown, strict=True)]
        )
    digests = {f"labels_{n}": votes.record.digest for n, votes in enumerate(sets, start=1)}
    origin = Origin("labels", {"task": task.to_dict()}, digests).to_dict()
    record = Record(origin, sha256_json(list(digests.values())), len(home))
    splits = np.concatenate([votes.splits for votes in sets])
    return Votes(list(home), values, splits, positions, task, record)

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
from galaxymill.tasks.task import Floats, Task, join_tasks, parse_task


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
    positions : ndarray, shape (n, 2), float64
        Right ascension and declination (ICRS), degrees; NaN where unknown.
    task : Task
        What the labels are of.
    record : Record
        Origin and digest of the product.
    """

    object_ids: list[str]
    values: Floats
    splits: npt.NDArray[np.str_]
    positions: Floats
    task: Task
    record: Record

    def rows(self) -> dict[str, int]:
        """Row of each galaxy."""
        return {object_id: row for row, object_id in enumerate(self.object_ids)}

    def values_of(self, task: Task) -> Floats:
        """Labels in the columns of a task that has those of this set; 0 in the others."""
        if task == self.task:
            return self.values
        values = np.zeros((len(self.object_ids), len(task.columns)))
        values[:, [task.columns.index(column) for column in self.task.columns]] = self.values
        return values


def read_votes(path: Path) -> Votes:
    """Read ``votes.parquet``, or ``individual.parquet``; the task stands in the origin.

    Raises
    ------
    UserError
        When the file is no labels product, or one of an older version.
    """
    record = read_record(path)
    if record.origin["stage"] != "volunteers":
        record = read_record(path, "labels")
    plain = record.origin["parameters"].get("task")
    if plain is None:
        raise UserError(f"{path}: has no task: run galaxymill labels again, or it is no votes file")
    task = parse_task(plain, str(path))
    with open_parquet(path) as file:
        table = file.read()
    splits = np.array(table["split"].to_pylist(), dtype=np.str_)
    positions = np.full((table.num_rows, 2), np.nan)
    if {"ra", "dec"} <= set(table.column_names):
        positions = np.column_stack([table["ra"].to_numpy(), table["dec"].to_numpy()])
    ids = table["object_id"].to_pylist()
    return Votes(ids, task.read_labels(table), splits, positions, task, record)


def read_joint_votes(paths: Sequence[Path]) -> Votes:
    """Read several labelled sets as one: votes on all their trees, none on those not asked.

    Galaxies are in the order of ``paths``.

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
    digests = {f"labels_{n}": votes.record.digest for n, votes in enumerate(sets, start=1)}
    origin = Origin("labels", {"task": task.to_dict()}, digests).to_dict()
    return Votes(
        list(home),
        np.concatenate([votes.values_of(task) for votes in sets]),
        np.concatenate([votes.splits for votes in sets]),
        np.concatenate([votes.positions for votes in sets]),
        task,
        Record(origin, sha256_json(list(digests.values())), len(home)),
    )

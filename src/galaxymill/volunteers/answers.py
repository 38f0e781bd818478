"""Answers of individuals as arrays of indices, ten bytes each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError
from galaxymill.labels.table import Votes
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches
from galaxymill.trees.tree import Tree

ROWS = 100_000
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class GivenAnswers:
    """Answers (n,): index of the galaxy among the votes', of the volunteer, of the column.

    Volunteers are in the order of their first answer. Answers to a question that is left out for
    a galaxy, as `galaxymill.tasks.checks` says, are not there.
    """

    galaxy: Indices
    volunteer: Indices
    column: Indices
    volunteers: list[str]


def read_answers(path: Path, votes: Votes, tree: Tree) -> GivenAnswers:
    """Read ``answers.parquet`` of a labelled set beside its votes.

    Raises
    ------
    UserError
        When both are not of the same labels.
    """
    record = read_record(path, "labels")
    if record.origin != votes.record.origin:
        raise UserError(f"{path}: is of other labels than the votes; run galaxymill labels again")
    names_of = pa.array(tree.columns, pa.string())
    ids = pa.array(votes.object_ids, pa.string())
    places: dict[str, int] = {}
    parts: list[tuple[Indices, ...]] = []
    for rows in read_batches(path, ["object_id", "volunteer", "question", "answer"], ROWS):
        galaxy = pc.index_in(rows["object_id"], value_set=ids)
        people = rows["volunteer"].combine_chunks().dictionary_encode()
        known = [places.setdefault(name, len(places)) for name in people.dictionary.to_pylist()]
        volunteer = np.array(known, dtype=np.int32)[people.indices.to_numpy()]
        names = pc.binary_join_element_wise(rows["question"], rows["answer"], "_")
        column = pc.index_in(names, value_set=names_of)
        # A galaxy or an answer that is no longer there would be null.
        parts.append((_numbers(galaxy), volunteer, _numbers(column)))
    if not parts:
        raise UserError(f"{path}: holds no answer")
    galaxy, volunteer, column = (np.concatenate(part) for part in zip(*parts, strict=True))
    kept = (galaxy >= 0) & (column >= 0)
    kept[kept] &= _asked(votes, tree)[galaxy[kept], column[kept]]
    return GivenAnswers(galaxy[kept], volunteer[kept], column[kept], list(places))


def _numbers(indices: pa.ChunkedArray) -> Indices:
    return np.asarray(pc.fill_null(indices, -1).to_numpy(), dtype=np.int32)


def _asked(votes: Votes, tree: Tree) -> npt.NDArray[np.bool_]:
    """Tell of each galaxy and column whether its question has votes that count."""
    asked = np.zeros(votes.values.shape, dtype=bool)
    for question in tree.questions:
        counts = votes.values[:, question.slice]
        asked[:, question.slice] = counts.sum(axis=1, keepdims=True) > 0
    return asked

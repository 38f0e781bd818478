"""Read near and far fractions of the same galaxies, and what the catalogue knows of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.catalog.names import part_names
from galaxymill.detectability.covariates import Values, numbers, require_columns
from galaxymill.errors import UserError
from galaxymill.labels.table import read_votes
from galaxymill.splits import uniform
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches
from galaxymill.tasks.votes.task import VoteTask

_ROWS = 4096
_FRACTION, _ASKED = "_fraction", "_proportion-asked"


@dataclass(frozen=True)
class Predicted:
    """A prediction of votes: its files, its answers, and the question of each answer."""

    folder: Path
    files: list[Path]
    questions: Mapping[str, str]

    @classmethod
    def open(cls, folder: Path, partitions: Path) -> "Predicted":
        """Find the files of every partition, and the answers by the columns of the first.

        Raises
        ------
        UserError
            When there is no partition, or no fraction of an answer.
        """
        files = [folder / f"{part}.parquet" for part in part_names(partitions)]
        if not files:
            raise UserError(f"{partitions}: no partitions; nothing can be compared")
        read_record(files[0])
        questions: dict[str, str] = {}
        waiting: list[str] = []
        for name in pq.read_schema(files[0]).names:
            if name.endswith(_FRACTION):
                waiting.append(name.removesuffix(_FRACTION))
            elif name.endswith(_ASKED):
                questions |= dict.fromkeys(waiting, name.removesuffix(_ASKED))
                waiting = []
        if not questions:
            raise UserError(
                f"{files[0]}: has no columns *{_FRACTION}; detectability is of a tree of questions:"
                " name predictions of a model of votes"
            )
        return cls(folder, files, questions)

    @property
    def digest(self) -> str:
        """Digest over those of all files."""
        return sha256_json([read_record(file).digest for file in self.files])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read ``object_id`` and columns, some rows at a time."""
        for file in self.files:
            yield from read_batches(file, ["object_id", *columns], _ROWS)


@dataclass(frozen=True)
class Near:
    """Near fractions of n galaxies and a answers: arrays (n, a), as `surface.Seen` explains."""

    object_ids: list[str]
    answers: list[str]
    fraction: Values
    square: Values
    weight: Values
    digest: str

    def gather(self, batches: Iterable[pa.Table], names: Sequence[str]) -> Values:
        """Take columns of these galaxies out of a larger table (n, m); NaN where there is none."""
        ids = pa.array(self.object_ids, pa.string())
        found = np.full((len(ids), len(names)), np.nan)
        for batch in batches:
            places = pc.index_in(batch["object_id"], value_set=ids)
            rows = pc.drop_null(places).to_numpy()
            for column, name in enumerate(names):
                found[rows, column] = numbers(batch[name].filter(places.is_valid()))
        return found


def near_of_prediction(predicted: Predicted, sample: int) -> Near:
    """Read a prediction of the galaxies of the lowest draws, which a hash of their names makes."""
    total = sum(pq.read_metadata(file).num_rows for file in predicted.files)
    limit = min(1.0, 1.3 * sample / max(total, 1) + 0.001)
    answers = list(predicted.questions)
    asked = list(dict.fromkeys(predicted.questions.values()))
    columns = [f"{one}{_FRACTION}" for one in answers] + [f"{one}{_ASKED}" for one in asked]
    tables = []
    for batch in predicted.batches(columns):
        draws = _draws(batch["object_id"].to_pylist())
        tables.append(batch.append_column("draw", pa.array(draws)).filter(pa.array(draws < limit)))
    rows = pa.concat_tables(tables).sort_by("draw").slice(0, sample)
    fraction = np.stack([numbers(rows[f"{one}{_FRACTION}"]) for one in answers], axis=1)
    weights = {one: numbers(rows[f"{one}{_ASKED}"]) for one in asked}
    weight = np.stack([weights[predicted.questions[one]] for one in answers], axis=1)
    ids = rows["object_id"].to_pylist()
    return Near(ids, answers, fraction, fraction**2, weight, predicted.digest)


def near_of_labels(votes: Path, sample: int) -> Near:
    """Read volunteers' votes; a question with fewer than two votes says nothing of a galaxy.

    Raises
    ------
    UserError
        When the labels are no votes.
    """
    labels = read_votes(votes)
    if not isinstance(labels.task, VoteTask):
        raise UserError(
            f"{votes}: labels of {labels.task.kind}; detectability is of votes on a tree"
        )
    rows = np.argsort(_draws(labels.object_ids), kind="stable")[:sample]
    counts = labels.values[rows]
    total = np.concatenate(
        [
            np.repeat(counts[:, one.slice].sum(axis=1, keepdims=True), len(one.answers), axis=1)
            for one in labels.task.tree.questions
        ],
        axis=1,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(total >= 2, counts / total, np.nan)
        square = counts * (counts - 1) / (total * (total - 1))
    ids = [labels.object_ids[row] for row in rows.tolist()]
    columns = list(labels.task.columns)
    return Near(ids, columns, fraction, square, total, labels.record.digest)


def far_fractions(predicted: Predicted, near: Near) -> Values:
    """Far fractions of the near galaxies (n, a); NaN where a galaxy or its image is missing.

    Raises
    ------
    UserError
        When the prediction is of another tree.
    """
    if list(predicted.questions) != near.answers:
        odd = sorted(set(predicted.questions) ^ set(near.answers))[:3]
        raise UserError(
            f"{predicted.folder}: other answers than near: {', '.join(odd) or 'in another order'}; "
            "near and far must be of one tree"
        )
    columns = [f"{one}{_FRACTION}" for one in near.answers]
    return near.gather(predicted.batches(columns), columns)


def catalogue_columns(objects: Path, names: Sequence[str], near: Near) -> Values:
    """Columns of the near galaxies in the catalogue (n, m); NaN where there is no value."""
    require_columns(pq.read_schema(objects), names, objects)
    return near.gather(read_batches(objects, ["object_id", *names], _ROWS), names)


def _draws(object_ids: Sequence[str]) -> Values:
    return np.array([uniform(f"detectability:{one}") for one in object_ids])

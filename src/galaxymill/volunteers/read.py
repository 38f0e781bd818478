"""The products of one labelled set, read together for its pages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from galaxymill.errors import UserError
from galaxymill.labels.table import Votes, read_votes
from galaxymill.storage.origin import Record, read_record
from galaxymill.storage.parquet import open_parquet
from galaxymill.tasks.votes.task import TreeTask
from galaxymill.trees.tree import Question, Tree
from galaxymill.volunteers.answers import GivenAnswers, read_answers

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """Votes, answers, volunteers and corrected fractions of one labelled set."""

    votes: Votes
    tree: Tree
    given: GivenAnswers
    people: pd.DataFrame
    galaxies: pd.DataFrame
    record: Record

    def raw(self, question: Question) -> Values:
        """Vote fractions (n, n_answers) as counted; NaN where nobody was asked."""
        counts = self.votes.values[:, question.slice]
        with np.errstate(invalid="ignore"):
            return np.asarray(counts / counts.sum(axis=1, keepdims=True))

    def corrected(self, question: Question) -> Values:
        """Fractions (n, n_answers) of typical careful volunteers; NaN likewise."""
        names = [f"{column}_fraction" for column in question.columns]
        return self.galaxies[names].to_numpy(np.float64)


def read_fitted(individual: Path) -> Fitted:
    """Read what the stage ``volunteers`` has made, and what it has made it of.

    Raises
    ------
    UserError
        When a file is absent, or they are not of one fit.
    """
    record = read_record(individual, "volunteers")
    place = individual.parent
    votes = read_votes(place / "votes.parquet")
    people = place / "volunteers.parquet"
    same = read_record(people, "volunteers").origin == record.origin
    if not same or record.origin["inputs"]["votes"] != votes.record.digest:
        raise UserError(f"{place}: the files are of different fits; run galaxymill volunteers fit")
    if not isinstance(votes.task, TreeTask):
        raise UserError(f"{place}: labels of {votes.task.kind} have no questions")
    given = read_answers(place / "answers.parquet", votes, votes.task.tree)
    frames = []
    for path in (people, individual):
        with open_parquet(path) as file:
            frames.append(file.read().to_pandas())
    return Fitted(votes, votes.task.tree, given, frames[0], frames[1], record)

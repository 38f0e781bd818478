"""Rules that say how much a galaxy is worth volunteers' clicks, by its predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.special import betaincc

from galaxymill.tasks.task import Floats
from galaxymill.tasks.votes.task import VoteTask

if TYPE_CHECKING:
    from galaxymill.rounds.settings import ChooseSettings


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    columns : callable
        Columns of the predictions that it reads.
    score : callable
        From these columns of n galaxies, none of them null, the score of each.
    least : callable
        Lowest score that is worth asking.
    best_first : bool
        Whether the highest scores are taken; else all that are worth asking have the same chance.
    """

    columns: "Callable[[VoteTask, ChooseSettings], list[str]]"
    score: "Callable[[pa.Table, VoteTask, ChooseSettings], Floats]"
    least: "Callable[[ChooseSettings], float]"
    best_first: bool


def _probability(rows: pa.Table, task: VoteTask, settings: "ChooseSettings") -> Floats:
    """Probability that so many volunteers, or more, would see features.

    The fraction's posterior is the mean of the samples' beta distributions: the marginals of their
    Dirichlet distributions.
    """
    place = task.columns.index(settings.featured)
    question = next(q for q in task.tree.questions if q.start <= place < q.slice.stop)
    flat = rows[task.sample_column].combine_chunks().flatten().to_numpy()
    samples = flat.reshape(rows.num_rows, -1, len(task.columns))
    first = samples[..., place].astype(np.float64)
    total = samples[..., question.slice].sum(axis=-1, dtype=np.float64)
    chances: Floats = betaincc(first, total - first, settings.fraction).mean(axis=1)
    return chances


def _information(rows: pa.Table, task: VoteTask, settings: "ChooseSettings") -> Floats:
    """Mutual information of one more volunteer's answers and the model, in nats.

    That of each question (Houlsby et al. 2011) counts as often as it would be asked: where nobody
    comes to a question, nobody's answer tells anything.
    """
    worth = np.zeros(rows.num_rows)
    for question in task.tree.questions:
        asked = rows[f"{question.name}_proportion-asked"].to_numpy()
        worth += asked * rows[f"{question.name}_mutual-information"].to_numpy()
    return worth


def _information_columns(task: VoteTask, settings: "ChooseSettings") -> list[str]:
    kinds = ("proportion-asked", "mutual-information")
    return [f"{question.name}_{kind}" for question in task.tree.questions for kind in kinds]


SMOOTH = "not_confidently_smooth"
RULES = {
    SMOOTH: Rule(
        lambda task, settings: [task.sample_column],
        _probability,
        lambda settings: settings.probability,
        best_first=False,
    ),
    "mutual_information": Rule(
        _information_columns, _information, lambda settings: 0.0, best_first=True
    ),
}

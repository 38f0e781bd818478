"""Rules that say how much a galaxy is worth volunteers' clicks, by its predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.special import betaincc, ndtr

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
    bounds : callable
        From the same columns, values that the score is certainly not below and not above: they
        take less time than the score, which is asked for only where they do not decide.
    least : callable
        Lowest score that is worth asking.
    best_first : bool
        Whether the highest scores are taken; else all that are worth asking have the same chance.
    """

    columns: "Callable[[VoteTask, ChooseSettings], list[str]]"
    score: "Callable[[pa.Table, VoteTask, ChooseSettings], Floats]"
    bounds: "Callable[[pa.Table, VoteTask, ChooseSettings], tuple[Floats, Floats]]"
    least: "Callable[[ChooseSettings], float]"
    best_first: bool


def _beta(rows: pa.Table, task: VoteTask, settings: "ChooseSettings") -> tuple[Floats, Floats]:
    """Parameters of the fraction's posterior, shape (n, samples).

    Each sample's is a beta distribution: the marginal of its Dirichlet distribution.
    """
    place = task.columns.index(settings.featured)
    question = next(q for q in task.tree.questions if q.start <= place < q.slice.stop)
    flat = rows[task.sample_column].combine_chunks().flatten().to_numpy()
    samples = flat.reshape(rows.num_rows, -1, len(task.columns))
    first = samples[..., place].astype(np.float64)
    return first, samples[..., question.slice].sum(axis=-1, dtype=np.float64) - first


def _probability(rows: pa.Table, task: VoteTask, settings: "ChooseSettings") -> Floats:
    """Probability that so many volunteers, or more, would see features, over all samples."""
    chances: Floats = betaincc(*_beta(rows, task, settings), settings.fraction).mean(axis=1)
    return chances


NEAR = 0.02
"""By how much `nearly_beyond` may be wrong at most."""


def nearly_beyond(first: Floats, other: Floats, fraction: float) -> Floats:
    """Probability that a beta distribution exceeds a fraction, to `NEAR`, fifty times faster.

    Peizer and Pratt (1968, JASA 63, 1416); parameters are 1 or more.
    """
    total, odd, even = first + other - 1, 1 - fraction, fraction
    above, below = other - 0.5, first - 0.5
    off = other - 1 / 3 - (total + 1 / 3) * odd
    off += 0.02 * (odd / other - even / first + (odd - 0.5) / (total + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = above * np.log(above / (total * odd)) + below * np.log(below / (total * even))
        size = np.sqrt(np.maximum(2 / (1 + 1 / (6 * total)) * squares, 0))
        deviations = off / np.abs(above - total * odd) * size
    return np.asarray(ndtr(-deviations))


def _probability_bounds(
    rows: pa.Table, task: VoteTask, settings: "ChooseSettings"
) -> tuple[Floats, Floats]:
    """Bounds of that probability."""
    first, other = _beta(rows, task, settings)
    near = nearly_beyond(np.maximum(first, 1), np.maximum(other, 1), settings.fraction).mean(axis=1)
    known = np.isfinite(near) & (np.minimum(first, other).min(axis=1) >= 1)
    return np.where(known, near - NEAR, 0), np.where(known, near + NEAR, 1)


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


def _information_bounds(
    rows: pa.Table, task: VoteTask, settings: "ChooseSettings"
) -> tuple[Floats, Floats]:
    """The score itself, which takes no time."""
    exact = _information(rows, task, settings)
    return exact, exact.copy()


def _information_columns(task: VoteTask, settings: "ChooseSettings") -> list[str]:
    kinds = ("proportion-asked", "mutual-information")
    return [f"{question.name}_{kind}" for question in task.tree.questions for kind in kinds]


SMOOTH = "not_confidently_smooth"
RULES = {
    SMOOTH: Rule(
        lambda task, settings: [task.sample_column],
        _probability,
        _probability_bounds,
        lambda settings: settings.probability,
        best_first=False,
    ),
    "mutual_information": Rule(
        _information_columns,
        _information,
        _information_bounds,
        lambda settings: 0.0,
        best_first=True,
    ),
}

"""Errors of predicted vote fractions, and coverage of their intervals.

Everything is over test galaxies with at least ``MIN_VOTES`` votes on the question. Observed
fractions scatter by themselves, so each error stands beside the floor that vote noise sets.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.splits import uniform
from galaxymill.statistics.baselines import Baselines
from galaxymill.statistics.bootstrap import Bootstrap, interval, mean, mean_of, number, pooled_draws
from galaxymill.statistics.calibration import calibration
from galaxymill.statistics.classification import classify, most_likely
from galaxymill.statistics.distributions import Counts, Values, mixture_nll, randomised_pit
from galaxymill.statistics.errors import RootMeanSquares
from galaxymill.tasks.votes.posterior import mean_fractions, proportion_asked
from galaxymill.trees.tree import Question, Tree

MIN_VOTES = 5
ASKED = 0.5
CONFIDENT_FRACTION, CONFIDENT_VOTES = 0.8, 20
"""Galaxies that volunteers agree on, as in Walmsley+22 (MNRAS 509, 3966), table 3."""


class Comparison:
    """Predicted and observed votes of n test galaxies, side by side.

    Parameters
    ----------
    object_ids : sequence of str, length n
        They seed the random part of the PIT, so that it is the same in any order.
    votes : ndarray, shape (n, n_answers)
    concentrations : ndarray, shape (n, n_samples, n_answers)
    baselines : Baselines

    Attributes
    ----------
    observed : ndarray, shape (n, n_answers)
        Vote fractions; NaN where the question has fewer than ``MIN_VOTES`` votes.
    variance : ndarray, shape (n, n_answers)
        Sampling variance of ``observed``, f (1−f) / (N−1): unbiased for binomial votes.
    predicted : dict of str to ndarray, shape (n, n_answers)
        Vote fractions by ``model`` and by each baseline.
    pit : ndarray, shape (n, n_answers)
        Randomised probability integral transform; NaN where ``observed`` is.
    nll, nll_constant : ndarray, shape (n, n_questions)
        Negative log likelihood of the votes, in nats, by the model and by one Dirichlet for
        all galaxies; NaN where ``observed`` is.
    """

    def __init__(
        self,
        tree: Tree,
        object_ids: Sequence[str],
        votes: Counts,
        concentrations: Values,
        baselines: Baselines,
    ) -> None:
        self.tree, self.object_ids = tree, object_ids
        self.votes = votes = votes.astype(np.int64)
        self.concentrations = concentrations.astype(np.float64)
        fractions = {"model": mean_fractions(self.concentrations, tree), **baselines.fractions}
        self.predicted: dict[str, Values] = fractions
        self.observed, self.variance, self.pit = np.full((3, *votes.shape), np.nan)
        self.nll, self.nll_constant = np.full((2, len(votes), len(tree.questions)), np.nan)
        for index, question in enumerate(tree.questions):
            columns = question.slice
            total = votes[:, columns].sum(axis=1)
            rows = np.flatnonzero(total >= MIN_VOTES)
            n, total = votes[rows, columns], total[rows, None]
            alpha, constant = self.concentrations[rows, :, columns], baselines.dirichlet[columns]
            observed = self.observed[rows, columns] = n / total
            self.variance[rows, columns] = observed * (1 - observed) / (total - 1)
            draws = _draws([object_ids[row] for row in rows.tolist()], question)
            self.pit[rows, columns] = randomised_pit(alpha, n, draws)
            self.nll[rows, index] = mixture_nll(alpha, n)
            self.nll_constant[rows, index] = mixture_nll(constant[None, None], n)

    @cached_property
    def asked(self) -> dict[str, Values]:
        """Share of volunteers who came to each question, by their own answers to its parents."""
        # A question that nobody was asked has no fractions; its descendants have no votes.
        return proportion_asked(self.votes[:, None, :].astype(np.float64) + 1e-9, self.tree)

    def rows(self, question: Question) -> npt.NDArray[np.int64]:
        """Galaxies with enough votes on a question."""
        return np.flatnonzero(np.isfinite(self.observed[:, question.start]))


def _draws(object_ids: Sequence[str], question: Question) -> Values:
    """Uniform numbers, shape (n, n_answers), that depend on the galaxy and the answer alone."""
    draws = [[uniform(f"pit:{column}:{key}") for column in question.columns] for key in object_ids]
    return np.array(draws, dtype=np.float64).reshape(-1, len(question.columns))


def summarise(comparison: Comparison) -> dict[str, Any]:
    """Compute every number of ``metrics.json``.

    Returns
    -------
    dict
        ``questions`` (each with its ``answers``), ``overall``, which pools all galaxies,
        questions and answers, and ``mean_of_questions``. Plain JSON values, None where nothing
        could be computed; every ``…_interval`` holds the ends of a 95 % bootstrap interval.
    """
    resampled = Bootstrap(len(comparison.object_ids))
    questions, roots = {}, []
    for index, question in enumerate(comparison.tree.questions):
        root, scores = _errors(comparison, question.slice, resampled)
        answers = {
            answer: _errors(comparison, slice(column, column + 1), resampled)[1]
            for column, answer in enumerate(question.answers, start=question.start)
        }
        questions[question.name] = {
            **scores,
            **_likelihood(comparison, question.slice, slice(index, index + 1), resampled),
            "classification": classifications(comparison, question),
            "answers": answers,
        }
        roots += [root] if scores["n"] else []
    every = slice(None)
    overall = _errors(comparison, every, resampled)[1]
    variances = [comparison.variance[:, question.slice] for question in comparison.tree.questions]
    average = RootMeanSquares.mean(roots).scores() if roots else {"rmse": None, "baselines": {}}
    return {
        "questions": questions,
        "overall": overall | _likelihood(comparison, every, every, resampled),
        "mean_of_questions": {
            "n_questions": len(roots),
            "rmse_interval": None,
            **average,
            "noise_floor_rmse": mean([mean_of(each) ** 0.5 for each in variances]),
        },
    }


def _errors(
    comparison: Comparison, columns: slice, resampled: Bootstrap
) -> tuple[RootMeanSquares, dict[str, Any]]:
    """Errors of vote fractions over some answers together."""
    observed = comparison.observed[:, columns]
    residuals = {name: each[:, columns] - observed for name, each in comparison.predicted.items()}
    root, absolute = RootMeanSquares.of(residuals, resampled), np.abs(residuals["model"])
    scores = root.scores()
    for name, baseline in scores["baselines"].items():
        baseline["mae"] = mean(np.abs(residuals[name]))
    return root, {
        "n": int(np.isfinite(observed).any(axis=1).sum()),
        **scores,
        "mae": mean(absolute),
        "mae_interval": interval(pooled_draws(resampled, absolute)),
        "noise_floor_rmse": number(mean_of(comparison.variance[:, columns]) ** 0.5),
    }


def _likelihood(
    comparison: Comparison, columns: slice, questions: slice, resampled: Bootstrap
) -> dict[str, Any]:
    """Likelihood per galaxy and question, and coverage of predictive intervals."""
    found = calibration(comparison.pit[:, columns], resampled)
    own, constant = comparison.nll[:, questions], comparison.nll_constant[:, questions]
    return {
        "nll": mean(own),
        "nll_constant": mean(constant),
        "nll_difference_interval": interval(pooled_draws(resampled, own - constant)),
        "coverage_90": found["coverage"]["90"]["value"],
        **found,
    }


def classifications(comparison: Comparison, question: Question) -> dict[str, Any]:
    """Score the most likely answer, see `galaxymill.statistics.classification.classify`.

    ``asked``: galaxies of which more than half the volunteers came to the question. ``confident``:
    those with at least ``CONFIDENT_VOTES`` votes of which more than ``CONFIDENT_FRACTION`` agree.
    """
    observed = comparison.observed[:, question.slice]
    predicted = comparison.predicted["model"][:, question.slice]
    answered = np.isfinite(observed[:, 0])
    enough = comparison.votes[:, question.slice].sum(axis=1) >= CONFIDENT_VOTES
    samples = {
        "asked": answered & (comparison.asked[question.name] > ASKED),
        "confident": answered & enough & (observed > CONFIDENT_FRACTION).any(axis=1),
    }
    return {
        name: classify(
            most_likely(observed[chosen]), most_likely(predicted[chosen]), question.answers
        )
        for name, chosen in samples.items()
    }


def galaxy_errors(comparison: Comparison) -> Values:
    """Half the mean absolute error of fractions over a galaxy's questions; shape (n,).

    For one question it is the total variation distance: the share of votes to be moved.
    NaN where no question has enough votes.
    """
    error = np.abs(comparison.predicted["model"] - comparison.observed)
    each = [error[:, q.slice].sum(axis=1) / 2 for q in comparison.tree.questions]
    stacked = np.stack(each, axis=1)
    count = np.isfinite(stacked).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(stacked, axis=1) / np.where(count, count, np.nan))

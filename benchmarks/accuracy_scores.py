"""Scores of `accuracy`: errors of vote fractions, likelihoods and coverage, question by question.

Everything is over galaxies with at least so many votes on the question. A predictor is judged in
several runs, one a seed; its score is the mean over runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from galaxymill.statistics.baselines import fit_dirichlet, mean_fractions, predict_ridge
from galaxymill.statistics.bootstrap import Bootstrap, interval
from galaxymill.statistics.calibration import inside
from galaxymill.statistics.distributions import mixture_nll, randomised_pit
from galaxymill.trees.tree import Question, Tree

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """Votes of the n test galaxies on the questions of a tree.

    Attributes
    ----------
    tree : Tree
    votes : ndarray, shape (n, n_answers)
    train_votes : ndarray, shape (n_train, n_answers)
        Of the galaxies that may be learned from.
    min_votes : int
        Galaxies with fewer votes on a question do not count there.
    """

    tree: Tree
    votes: Counts
    train_votes: Counts
    min_votes: int = 5

    def rows(self, question: Question) -> npt.NDArray[np.bool_]:
        """Galaxies that count for a question; shape (n,)."""
        return self.votes[:, question.slice].sum(1) >= self.min_votes

    @cached_property
    def fractions(self) -> Values:
        """Observed vote fractions; NaN where there are too few votes."""
        observed = np.full(self.votes.shape, np.nan)
        for q in self.tree.questions:
            rows = self.rows(q)
            votes = self.votes[rows, q.slice]
            observed[rows, q.slice] = votes / votes.sum(1, keepdims=True)
        return observed

    def mean_over_answers(self, values: Values) -> Values:
        """Mean over the answers of each question; shape (n, n_questions)."""
        return np.stack([values[:, q.slice].mean(1) for q in self.tree.questions], axis=1)

    def errors(self, fractions: Values) -> Values:
        """Squared error of predicted fractions, mean over answers; shape (n, n_questions)."""
        return self.mean_over_answers((fractions - self.fractions) ** 2)

    def noise(self) -> Values:
        """Variance that the votes' own noise gives: f (1−f) / (N−1), unbiased if binomial."""
        variance = np.full(self.votes.shape, np.nan)
        for q in self.tree.questions:
            rows = self.rows(q)
            total = self.votes[rows, q.slice].sum(1, keepdims=True)
            f = self.fractions[rows, q.slice]
            variance[rows, q.slice] = f * (1 - f) / np.maximum(total - 1, 1)
        return self.mean_over_answers(variance)


def constant(truth: Truth) -> Values:
    """Predict the mean fractions of the training galaxies; shape (n, n_answers)."""
    means = [mean_fractions(truth.train_votes[:, q.slice]) for q in truth.tree.questions]
    return np.broadcast_to(np.concatenate(means), truth.votes.shape)


def ridge(truth: Truth, train: Values, test: Values) -> Values:
    """Regress fractions on features; shape (n, n_answers)."""
    parts = [
        predict_ridge(truth.train_votes[:, q.slice], train, test) for q in truth.tree.questions
    ]
    return np.concatenate(parts, axis=1)


def expected(concentrations: Values, tree: Tree) -> Values:
    """Expected fractions, mean over samples; (n, n_samples, n_answers) to (n, n_answers)."""
    parts = [concentrations[..., q.slice] for q in tree.questions]
    return np.concatenate([(a / a.sum(-1, keepdims=True)).mean(1) for a in parts], axis=1)


def rmse(errors: Values) -> Values:
    """Root of the mean over galaxies; (n, n_questions) to (n_questions,)."""
    return np.sqrt(np.nanmean(errors, axis=0))


def rmse_draws(errors: Values, resampled: Bootstrap) -> Values:
    """Mean over questions of the RMSE in each bootstrap round; shape (rounds,)."""
    sums = resampled.totals(np.nan_to_num(errors))
    counts = resampled.totals(np.isfinite(errors).astype(np.float64))
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.sqrt(sums / counts), axis=1)


def difference(ours: Sequence[Values], theirs: Sequence[Values]) -> tuple[float, list[float]]:
    """Difference of the mean over questions of RMSE, ours − theirs, paired by galaxy.

    Parameters
    ----------
    ours, theirs : sequence of ndarray, shape (n, n_questions)
        Errors of each run.

    Returns
    -------
    difference : float
    bounds : list of float
        95 % interval of resampled galaxies.
    """
    resampled = Bootstrap(len(ours[0]), rounds=10_000)
    point = [np.mean([np.nanmean(rmse(each)) for each in runs]) for runs in (ours, theirs)]
    draws = [
        np.mean([rmse_draws(each, resampled) for each in runs], axis=0) for runs in (ours, theirs)
    ]
    bounds = interval(draws[0] - draws[1])
    assert bounds is not None
    return float(point[0] - point[1]), bounds


def likelihoods(truth: Truth, concentrations: Values) -> Values:
    """Negative log likelihood, nats, mean over galaxies; shape (n_questions,)."""
    return np.array(
        [
            mixture_nll(concentrations[rows][..., q.slice], truth.votes[rows, q.slice]).mean()
            for q, rows in ((q, truth.rows(q)) for q in truth.tree.questions)
        ]
    )


def constant_dirichlet(truth: Truth) -> Values:
    """The Dirichlets that suit the training votes best, for all; shape (n, 1, n_answers)."""
    alpha = [fit_dirichlet(truth.train_votes[:, q.slice]) for q in truth.tree.questions]
    return np.broadcast_to(np.concatenate(alpha), (len(truth.votes), 1, truth.votes.shape[1]))


def coverages(truth: Truth, concentrations: Values) -> Values:
    """Share of counts in their 90 % predictive interval; each question's, then all pooled."""
    draws = np.random.default_rng(1).random(truth.votes.shape)
    held = []
    for q in truth.tree.questions:
        rows = truth.rows(q)
        votes = truth.votes[rows, q.slice]
        pit = randomised_pit(concentrations[rows][..., q.slice], votes, draws[rows, q.slice])
        held.append(inside(pit, 0.9).ravel())
    return np.array([each.mean() for each in (*held, np.concatenate(held))])

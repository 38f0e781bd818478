"""How far predicted vote fractions are from observed ones, and whether the intervals hold.

Everything is over test galaxies with at least ``MIN_VOTES`` votes on the question. Observed
fractions scatter by themselves, so each error stands beside the floor that vote noise sets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galaxymill.evaluation.baselines import Baselines
from galaxymill.evaluation.distributions import (
    Counts,
    Values,
    log_dirichlet_multinomial,
    mixture_nll,
    randomised_pit,
)
from galaxymill.inference.posterior import mean_fractions
from galaxymill.votes.splits import uniform
from galaxymill.votes.tree import Question, Tree

MIN_VOTES = 5
CONFIDENT_FRACTION, CONFIDENT_VOTES = 0.8, 20
"""Galaxies that volunteers agree on, as in Walmsley+22 (MNRAS 509, 3966)."""


@dataclass(frozen=True)
class Comparison:
    """Predicted and observed votes of n test galaxies, side by side.

    Attributes
    ----------
    tree : Tree
    object_ids : sequence of str, length n
    votes : ndarray, shape (n, n_answers)
    observed : ndarray, shape (n, n_answers)
        Vote fractions; NaN where the question has fewer than ``MIN_VOTES`` votes.
    variance : ndarray, shape (n, n_answers)
        Sampling variance of ``observed``, f (1−f) / (N−1): unbiased for binomial votes.
    predicted : dict of str to ndarray, shape (n, n_answers)
        Vote fractions by ``model``, ``constant`` and ``ridge``.
    pit : ndarray, shape (n, n_answers)
        Randomised probability integral transform; NaN where ``observed`` is.
    nll, nll_constant : ndarray, shape (n, n_questions)
        Negative log likelihood of the votes, in nats, by the model and by one Dirichlet for
        all galaxies; NaN where ``observed`` is.
    """

    tree: Tree
    object_ids: Sequence[str]
    votes: Counts
    observed: Values
    variance: Values
    predicted: Mapping[str, Values]
    pit: Values
    nll: Values
    nll_constant: Values


def compare(
    tree: Tree,
    object_ids: Sequence[str],
    votes: Counts,
    concentrations: Values,
    baselines: Baselines,
    min_votes: int = MIN_VOTES,
) -> Comparison:
    """Put predictions beside votes.

    Parameters
    ----------
    tree : Tree
    object_ids : sequence of str, length n
        They seed the random part of the PIT, so that it is the same in any order.
    votes : ndarray, shape (n, n_answers)
    concentrations : ndarray, shape (n, n_samples, n_answers)
        Posterior samples of the model.
    baselines : Baselines
        For the same galaxies.
    min_votes : int
        Fewest votes on a question for a galaxy to count there, at least 2.

    Returns
    -------
    Comparison
    """
    votes, concentrations = votes.astype(np.int64), concentrations.astype(np.float64)
    observed, variance, pit = np.full((3, *votes.shape), np.nan)
    nll, nll_constant = np.full((2, len(votes), len(tree.questions)), np.nan)
    for index, question in enumerate(tree.questions):
        columns = question.slice
        total = votes[:, columns].sum(axis=1)
        rows = np.flatnonzero(total >= min_votes)
        n, alpha = votes[rows, columns], concentrations[rows, :, columns]
        fractions = n / total[rows, None]
        observed[rows, columns] = fractions
        variance[rows, columns] = fractions * (1 - fractions) / (total[rows, None] - 1)
        draws = _draws([object_ids[row] for row in rows.tolist()], question)
        pit[rows, columns] = randomised_pit(alpha, n, draws)
        nll[rows, index] = mixture_nll(alpha, n)
        nll_constant[rows, index] = -log_dirichlet_multinomial(baselines.dirichlet[columns], n)
    predicted = {
        "model": mean_fractions(concentrations, tree),
        "constant": np.broadcast_to(baselines.constant, votes.shape),
        "ridge": baselines.ridge,
    }
    return Comparison(
        tree=tree,
        object_ids=object_ids,
        votes=votes,
        observed=observed,
        variance=variance,
        predicted=predicted,
        pit=pit,
        nll=nll,
        nll_constant=nll_constant,
    )


def _draws(object_ids: Sequence[str], question: Question) -> Values:
    """Uniform numbers, shape (n, n_answers), that depend on the galaxy and the answer alone."""
    draws = [[uniform(f"pit:{column}:{key}") for column in question.columns] for key in object_ids]
    return np.array(draws, dtype=np.float64).reshape(-1, len(question.columns))


def summarise(comparison: Comparison) -> dict[str, Any]:
    """Compute every number of ``metrics.json``.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    dict
        ``questions`` (each with its ``answers``) and ``overall``, which pools all galaxies,
        questions and answers; plain JSON values, None where nothing could be computed.
    """
    questions = {}
    for index, question in enumerate(comparison.tree.questions):
        answers = {
            answer: _errors(comparison, slice(column, column + 1))
            for column, answer in enumerate(question.answers, start=question.start)
        }
        questions[question.name] = {
            **_errors(comparison, question.slice),
            **_likelihood(comparison, question.slice, slice(index, index + 1)),
            "accuracy_confident": _accuracy(comparison, question),
            "answers": answers,
        }
    every = slice(None)
    overall = {**_errors(comparison, every), **_likelihood(comparison, every, every)}
    return {"questions": questions, "overall": overall}


def _errors(comparison: Comparison, columns: slice) -> dict[str, Any]:
    """Errors of vote fractions, pooled over the answers in ``columns``."""
    observed = comparison.observed[:, columns]
    scores = {}
    for name, fractions in comparison.predicted.items():
        error = fractions[:, columns] - observed
        scores[name] = {"rmse": _root(_mean(error**2)), "mae": _mean(np.abs(error))}
    return {
        "n": int(np.isfinite(observed).any(axis=1).sum()),
        **scores.pop("model"),
        "baselines": scores,
        "noise_floor_rmse": _root(_mean(comparison.variance[:, columns])),
    }


def _likelihood(comparison: Comparison, columns: slice, questions: slice) -> dict[str, Any]:
    """Likelihood per galaxy and question, and coverage of predictive intervals."""
    pit = comparison.pit[:, columns]
    return {
        "nll": _mean(comparison.nll[:, questions]),
        "nll_constant": _mean(comparison.nll_constant[:, questions]),
        "coverage_90": coverage(pit, 0.9),
    }


def coverage(pit: Values, nominal: float) -> float | None:
    """Share of counts inside the central predictive interval of probability ``nominal``.

    Parameters
    ----------
    pit : ndarray
        Randomised PIT values; NaN are left out.
    nominal : float
        Between 0 and 1.

    Returns
    -------
    float or None
        None when there is no value.
    """
    inside = np.where(np.isnan(pit), np.nan, np.abs(pit - 0.5) <= nominal / 2)
    return _mean(inside)


def _accuracy(comparison: Comparison, question: Question) -> dict[str, Any]:
    """Accuracy of the most likely answer where volunteers agree on theirs.

    ``majority`` is what the best single answer for all of them would reach.
    """
    observed = comparison.observed[:, question.slice]
    enough = comparison.votes[:, question.slice].sum(axis=1) >= CONFIDENT_VOTES
    confident = enough & (observed > CONFIDENT_FRACTION).any(axis=1)
    truth = observed[confident].argmax(axis=1)
    answer = comparison.predicted["model"][confident, question.slice].argmax(axis=1)
    most = np.bincount(truth, minlength=1).max() / max(len(truth), 1)
    return {
        "n": len(truth),
        "accuracy": _mean(truth == answer),
        "majority": _mean(np.full(len(truth), most)),
    }


def _mean(values: Any) -> float | None:
    """Mean of what is not NaN, to six digits; None when there is nothing."""
    present = np.asarray(values, dtype=np.float64)
    present = present[~np.isnan(present)]
    return _plain(float(present.mean())) if present.size else None


def _root(square: float | None) -> float | None:
    return None if square is None else _plain(square**0.5)


def _plain(value: float) -> float | None:
    """Six digits: the last bits differ between machines, and JSON has no infinity."""
    return float(f"{value:.6g}") if np.isfinite(value) else None

"""From Dirichlet concentrations to the numbers of a catalogue.

Arrays of concentrations have the shape (n galaxies, S samples, A answers): the posterior of a
question's vote fractions is the mixture of S Dirichlet distributions.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from galaxymill.trees.tree import Question, Tree

Floats = npt.NDArray[np.float64]
_GRID = 256
_CHUNK = 64


def mean_fractions(concentrations: Floats, tree: Tree) -> Floats:
    """Give expected vote fractions (n, A): the mean over samples of α/α₀ within each question."""
    return np.asarray(sample_fractions(concentrations, tree).mean(axis=1))


def sample_fractions(concentrations: Floats, tree: Tree) -> Floats:
    """Give α/α₀ within each question, for each sample; shape (n, S, A) as given."""
    fractions = np.empty(concentrations.shape, np.float64)
    for question in tree.questions:
        alpha = concentrations[..., question.slice].astype(np.float64)
        fractions[..., question.slice] = alpha / alpha.sum(axis=-1, keepdims=True)
    return fractions


def proportion_asked(concentrations: Floats, tree: Tree) -> dict[str, Floats]:
    """Give the share of volunteers who would be asked each question, by question; shape (n,).

    It is the mean over samples of each sample's product of ancestor fractions; several parent
    answers of one question add up. It is 1 for questions that are always asked.
    """
    fractions = sample_fractions(concentrations, tree)
    asked: dict[str, Floats] = {}
    owner = {index: q for q in tree.questions for index in range(q.slice.start, q.slice.stop)}
    for question in tree.questions:
        parents = tree.parents(question)
        if not parents:
            asked[question.name] = np.ones(fractions.shape[:2])
            continue
        reach = [asked[owner[index].name] * fractions[..., index] for index in parents]
        # Rounding can carry the sum of all answers past 1 by one part in 10¹⁶.
        asked[question.name] = np.minimum(np.sum(reach, axis=0), 1)
    return {name: share.mean(axis=1) for name, share in asked.items()}


def intervals(
    concentrations: Floats, tree: Tree, levels: tuple[float, float] = (0.05, 0.95)
) -> Floats:
    """Give quantiles of each answer's latent vote fraction.

    The marginal of a Dirichlet is Beta(αᵢ, α₀ − αᵢ); that of the mixture is the mean of S of
    them. Its distribution function is tabulated in θ with x = sin²θ, in which Beta densities
    with parameters from 1/2 on are bounded, and inverted by interpolation.

    Parameters
    ----------
    concentrations : ndarray, shape (n, S, A)
    levels : tuple of float
        Probabilities of the quantiles.

    Returns
    -------
    ndarray, shape (n, A, len(levels))
        Within 0.005 of the exact ones.
    """
    total = np.empty(concentrations.shape, np.float32)
    for question in tree.questions:
        part = concentrations[..., question.slice]
        total[..., question.slice] = part.sum(axis=-1, keepdims=True)
    first = concentrations.astype(np.float32)
    n, _, answers = concentrations.shape
    bounds = np.empty((n, answers, len(levels)))
    for start in range(0, n, _CHUNK):
        piece = slice(start, start + _CHUNK)
        bounds[piece] = _mixture_quantiles(first[piece], (total - first)[piece], levels)
    return bounds


def _mixture_quantiles(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], levels: tuple[float, ...]
) -> Floats:
    """Quantiles of the mean over axis 1 of Beta(first, second), both of shape (n, S, A)."""
    theta = (np.arange(_GRID, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / _GRID)
    basis = np.stack([np.log(np.sin(theta)), np.log(np.cos(theta))])
    powers = np.stack([2 * first - 1, 2 * second - 1], axis=-1)
    logs = powers @ basis
    density = np.exp(logs - logs.max(axis=-1, keepdims=True))
    density /= density.sum(axis=-1, keepdims=True)
    mixture = density.mean(axis=1, dtype=np.float64)
    cumulative = np.cumsum(mixture, axis=-1)
    bounds = np.empty((*mixture.shape[:2], len(levels)))
    for place, level in enumerate(levels):
        cell = np.minimum((cumulative < level).sum(axis=-1), _GRID - 1)[..., None]
        upper = np.take_along_axis(cumulative, cell, -1)
        weight = np.take_along_axis(mixture, cell, -1)
        part = 1 - (upper - level) / np.maximum(weight, 1e-300)
        angle = (cell + np.clip(part, 0, 1)) * (np.pi / 2 / _GRID)
        bounds[..., place] = np.sin(angle[..., 0]) ** 2
    return bounds


def entropy(fractions: Floats) -> Floats:
    """Give Shannon's entropy, in nats, of a categorical distribution along the last axis."""
    return np.asarray(entr(fractions).sum(axis=-1))


def mutual_information(concentrations: Floats, question: Question) -> tuple[Floats, Floats]:
    """Give the predictive entropy of one vote and the BALD score of a question.

    ``I = H[mean_s α/α₀] − mean_s H[α/α₀]``: what one further vote would tell about which of the
    samples is right (Houlsby+11). Both in nats, of shape (n,).
    """
    alpha = concentrations[..., question.slice].astype(np.float64)
    fractions = alpha / alpha.sum(axis=-1, keepdims=True)
    predictive = entropy(fractions.mean(axis=1))
    information = predictive - entropy(fractions).mean(axis=1)
    return predictive, np.maximum(information, 0)

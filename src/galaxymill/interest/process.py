"""A Gaussian process on features: what a person who rated some galaxies would think of others.

The kernel is Matérn 3/2 plus white noise; its three numbers maximise the marginal likelihood
(Rasmussen & Williams 2006, equations 2.25, 2.26, 4.17 and 5.8) under broad log-normal priors, as of
ten ratings the likelihood says little.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST = 1000
"""Rated galaxies that a process learns from, at most; above, those that cover the others best."""
ROWS = 256
"""Galaxies that are predicted at once: always so many, as sums may round by the size of a batch."""
_USUAL = np.log([2.0, 2.0, 0.3])
_SPREAD = np.array([0.7, 1.0, 1.0])
"""Of length, variance and noise, whose logarithms are thought of as normal. Directions that have
nothing in common are 1.4 apart."""
_BOUNDS = [(math.log(0.05), math.log(20)), (math.log(0.05), math.log(20)), (math.log(1e-3), 0.7)]
_STEPS = 50
_SQRT3 = math.sqrt(3)

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Process:
    """A fitted process.

    Attributes
    ----------
    points : ndarray, shape (n, f), float32
        Directions of the galaxies that it learned from.
    scale : ndarray, shape (f,), float32
        What features are multiplied by.
    weights : ndarray, shape (n,), float32
        (K + noise)⁻¹ times the standardised ratings.
    root : ndarray, shape (n, n), float32
        Inverse of the lower Cholesky factor of K + noise; empty where all ratings are alike.
    length, variance, noise : float
        Of the kernel, for standardised ratings.
    mean, deviation : float
        Of the ratings; a deviation of 0 says that all are alike.
    """

    points: Floats
    scale: Floats
    weights: Floats
    root: Floats
    length: float
    variance: float
    noise: float
    mean: float
    deviation: float

    def predict(self, features: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Predict ratings, each galaxy by itself.

        Where all ratings are alike, nothing is known of what makes the difference: the mean is
        theirs, and the deviation is the distance to the nearest that was rated.

        Parameters
        ----------
        features : ndarray, shape (n, f)

        Returns
        -------
        mean, deviation : ndarray, shape (n,), float32
            In units of ratings; the deviation is without the noise.
        """
        mean, deviation = (np.empty(len(features), np.float32) for _ in range(2))
        batch = np.zeros((ROWS, self.points.shape[1]), np.float32)
        for start in range(0, len(features), ROWS):
            rows = features[start : start + ROWS]
            batch[: len(rows)] = rows
            some = slice(start, start + len(rows))
            both = self._predict(directions(batch, self.scale))
            mean[some], deviation[some] = (one[: len(rows)] for one in both)
        return mean, deviation

    def left_out(self) -> tuple[Doubles, Doubles]:
        """Give each rating that it learned from, and what the others let expect of it.

        Rasmussen & Williams (2006), equation 5.12; in units of ratings.
        """
        away = distances(self.points, self.points)
        near = self.variance * matern(away, self.length) + self.noise * np.eye(len(away))
        given = near @ self.weights
        expected = given - self.weights / np.square(self.root).sum(axis=0)
        return self.mean + self.deviation * given, self.mean + self.deviation * expected

    def _predict(self, ways: Floats) -> tuple[Floats, Floats]:
        # In double precision, rounded at last: on some processors the last digits of a product of
        # matrices depend on where a row stands.
        away = distances(ways.astype(np.float64), self.points.astype(np.float64))
        away = away.astype(np.float32)
        if not self.deviation:
            return np.full(len(ways), self.mean, np.float32), away.min(axis=1)
        near = (np.float32(self.variance) * matern(away, self.length)).astype(np.float64)
        known = np.square(near @ self.root.T.astype(np.float64)).sum(axis=1)
        spread = np.sqrt(np.maximum(self.variance - known, 0))
        liked = near @ self.weights.astype(np.float64)
        return (
            (self.mean + self.deviation * liked).astype(np.float32),
            (self.deviation * spread).astype(np.float32),
        )


def distances(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Euclidean distances between rows, shapes (n, f) and (m, f); shape (n, m)."""
    squares = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares - 2 * (one @ other.T), 0)))


def matern(away: npt.NDArray[Any], length: float) -> npt.NDArray[Any]:
    """Matérn kernel of smoothness 3/2 at some distances."""
    scaled = away * away.dtype.type(_SQRT3 / length)
    return np.asarray((1 + scaled) * np.exp(-scaled))


def feature_scale(deviations: Doubles) -> Floats:
    """Factor on each feature, by their standard deviations (f,): one over their square root.

    That is between components as they are, whose large ones would decide alone, and all alike,
    whose small ones are noise.
    """
    return np.asarray(1 / np.sqrt(np.maximum(deviations, 1e-12)), np.float32)


def directions(features: npt.NDArray[Any], scale: Floats) -> Floats:
    """Scaled features (n, f), of length 1: which way a galaxy is unlike others, not how far."""
    scaled = features.astype(np.float32) * scale
    lengths = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))
    return np.asarray(scaled / np.maximum(lengths, np.float32(1e-12)))


def fit_process(features: npt.NDArray[Any], ratings: Doubles, scale: Floats) -> Process:
    """Fit a process to ratings, shape (n,), of galaxies with features, shape (n, f)."""
    points = directions(features, scale)
    if len(points) > MOST:
        chosen = cover(points, MOST)
        points, ratings = points[chosen], ratings[chosen]
    mean, deviation = float(ratings.mean()), float(ratings.std())
    if not deviation:
        length, variance, noise = np.exp(_USUAL).tolist()
        nothing, empty = np.empty(0, np.float32), np.empty((0, 0), np.float32)
        return Process(points, scale, nothing, empty, length, variance, noise, mean, 0.0)
    wanted = (ratings - mean) / deviation
    away = distances(points.astype(np.float64), points.astype(np.float64))
    np.fill_diagonal(away, 0)
    length, variance, noise = np.exp(_most_likely(away, wanted)).tolist()
    root = np.linalg.inv(_cholesky(away, length, variance, noise))
    weights = root.T @ (root @ wanted)
    return Process(
        *(points, scale, weights.astype(np.float32), root.astype(np.float32)),
        *(length, variance, noise, mean, deviation),
    )


def _cholesky(away: Doubles, length: float, variance: float, noise: float) -> Doubles:
    kernel = variance * matern(away, length) + noise * np.eye(len(away))
    return np.asarray(np.linalg.cholesky(kernel))


def _most_likely(away: Doubles, wanted: Doubles) -> Doubles:
    """Logarithms of length, variance and noise at which what was seen is most likely."""
    from scipy.optimize import minimize

    def cost(logs: Doubles) -> tuple[float, Doubles]:
        length, variance, noise = np.exp(logs)
        near = matern(away, length)
        try:
            factor = _cholesky(away, length, variance, noise)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros(3)
        root = np.linalg.inv(factor)
        inverse = root.T @ root
        weights = inverse @ wanted
        off = (logs - _USUAL) / _SPREAD
        value = wanted @ weights / 2 + np.log(np.diag(factor)).sum() + off @ off / 2
        outer = inverse - np.outer(weights, weights)
        scaled = _SQRT3 * away / length
        slopes = (
            variance * scaled**2 * np.exp(-scaled),
            variance * near,
            noise * np.eye(len(away)),
        )
        gradient = np.array([np.vdot(outer, slope) / 2 for slope in slopes]) + off / _SPREAD
        return float(value), gradient

    found = minimize(
        cost, _USUAL, jac=True, method="L-BFGS-B", bounds=_BOUNDS, options={"maxiter": _STEPS}
    )
    return np.asarray(found.x)


def cover(points: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
    """Choose rows that are far from one another: each the farthest from those before it.

    It is the greedy k-centre of Gonzalez (1985), from the row that is nearest to the mean.
    """
    nearest = distances(points, points.mean(axis=0, keepdims=True))[:, 0]
    chosen = [int(nearest.argmin())]
    nearest = distances(points, points[chosen])[:, 0]
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances(points, points[chosen[-1:]])[:, 0])
    return np.array(chosen)

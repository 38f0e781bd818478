"""How much of an answer is still seen: monotone surfaces, fitted to near and far fractions.

Of a galaxy whose near fraction of an answer is ``f``, the far fraction is expected to be
``p f + q (1 - f)``: ``p`` of those who see it near still see it far away, and ``q`` of those who do
not see it near say it nevertheless. Both depend on what can be made out of the far image. As in the
corrections of Galaxy Zoo: Hubble (Willett et al. 2017, MNRAS 464, 4176), ``p`` never falls where
more can be made out: that it rises is all that is assumed of its shape.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from galaxymill.detectability.covariates import NAMES
from galaxymill.errors import UserError

Values = npt.NDArray[np.float64]

KNOTS = {2: 8, 3: 5}
"""Knots along each covariate, by the number of covariates."""
RANGE = (0.01, 0.99)
"""Quantiles of a covariate between which the knots lie: outside, too few galaxies were tried."""
ROUNDS = 60
"""Times that galaxies are drawn anew, for the intervals."""
FEWEST = 30
"""Copies of galaxies beside a knot, below which nothing is said there."""
Z90 = 1.645
"""Standard deviations on either side of a 90 % interval."""
_RIDGE, _FIRM = 1e-3, 1e3
"""Beside the mean of the normal equations' diagonal: a slight pull to zero, which makes solutions
unique, and the weight of the rule that probabilities are at most 1."""


@dataclass(frozen=True)
class Seen:
    """One answer about copies of galaxies, near and far: arrays of shape (n,).

    Attributes
    ----------
    near, far : ndarray
        Fractions of the answer.
    square : ndarray
        What the square of the near fraction is expected to be without the noise of the votes:
        ``k (k - 1) / (n (n - 1))`` for k of n votes; of a prediction, its square.
    weight : ndarray
        How much a copy counts: the share of volunteers who are asked the question near.
    galaxy : ndarray of int
        Number of the galaxy that it is a copy of, from 0.
    """

    near: Values
    far: Values
    square: Values
    weight: Values
    galaxy: npt.NDArray[np.intp]

    def take(self, rows: npt.NDArray[np.bool_]) -> "Seen":
        """Keep some copies; galaxies keep their numbers."""
        fractions = self.near[rows], self.far[rows], self.square[rows]
        return Seen(*fractions, self.weight[rows], self.galaxy[rows])


@dataclass(frozen=True)
class Fit:
    """Probabilities at each row of some covariates, in each round: arrays (n, rounds)."""

    kept: Values
    """``p``: P(seen far | seen near)."""
    made_up: Values
    """``q``: P(seen far | not seen near)."""


class Bases:
    """Functions from 0 to 1 that rise with every covariate; weights of 0 and more keep that.

    Between knots they are linear in each covariate, so that a table of values at the knots is the
    whole surface. Beside a step along each covariate there are, for each two steps, "both" (their
    product) and "either": with these, one covariate may matter only where the other allows it.
    """

    def __init__(self, covariates: Values) -> None:
        """Take knots from covariates (n, k), each of which grows with what can be made out.

        Raises
        ------
        UserError
            When one is the same for all galaxies.
        """
        quantiles = np.linspace(*RANGE, KNOTS[covariates.shape[1]])
        self.knots = [np.unique(np.quantile(values, quantiles)) for values in covariates.T]
        for name, own in zip(NAMES, self.knots, strict=False):
            if len(own) < 2:
                raise UserError(
                    f"detectability: {name} is the same for nearly all galaxies, so that nothing "
                    "can be learned of it; give far surveys of several distances, or leave redshift"
                    " away"
                )

    def rising(self, covariates: Values) -> Values:
        """Values of every function (n, m); the first is 1."""
        steps = self._steps(covariates)
        columns = [np.ones((len(covariates), 1)), *steps]
        for one, other in combinations(steps, 2):
            pairs = len(covariates), one.shape[1] * other.shape[1]
            both = (one[:, :, None] * other[:, None, :]).reshape(pairs)
            either = (one[:, :, None] + other[:, None, :]).reshape(pairs) - both
            columns += [both, either]
        return np.concatenate(columns, axis=1)

    def any_way(self, covariates: Values) -> Values:
        """Functions that may rise or fall along each covariate (n, m): of what is made up."""
        steps = self._steps(covariates)
        falling = [1 - step for step in steps]
        return np.concatenate([np.ones((len(covariates), 1)), *steps, *falling], axis=1)

    def corners(self) -> Values:
        """Covariates of every combination of knots (m, k)."""
        grids = np.meshgrid(*self.knots, indexing="ij")
        return np.stack([grid.ravel() for grid in grids], axis=1)

    def counts(self, covariates: Values) -> npt.NDArray[np.intp]:
        """Count the copies in the boxes beside each corner (m,)."""
        low, high = ([own[end] for own in self.knots] for end in (0, -1))
        inside = ((covariates >= low) & (covariates <= high)).all(axis=1)
        boxes = [
            np.searchsorted(own[1:-1], values, side="right")
            for own, values in zip(self.knots, covariates[inside].T, strict=True)
        ]
        shape = [len(own) - 1 for own in self.knots]
        counted = np.zeros(shape, np.intp)
        np.add.at(counted, tuple(boxes), 1)
        for axis in range(len(shape)):
            counted = np.apply_along_axis(np.convolve, axis, counted, [1, 1])
        return counted.ravel()

    def _steps(self, covariates: Values) -> list[Values]:
        return [
            np.clip((values[:, None] - own[:-1]) / np.diff(own), 0, 1)
            for values, own in zip(covariates.T, self.knots, strict=True)
        ]


class Surface:
    """The fitted weights of one answer, in each round; the galaxies of a round are drawn anew."""

    def __init__(self, bases: Bases, covariates: Values, seen: Seen, rounds: int = ROUNDS) -> None:
        self._bases = bases
        rising, free = bases.rising(covariates), bases.any_way(covariates)
        galaxies = int(seen.galaxy.max(initial=-1)) + 1
        rng = np.random.default_rng(1)
        found = []
        for _ in range(rounds):
            drawn = np.bincount(rng.integers(max(galaxies, 1), size=galaxies), minlength=galaxies)
            found.append(_solve(rising, free, seen, seen.weight * drawn[seen.galaxy]))
        self._kept = np.array([kept for kept, _ in found]).T
        self._made_up = np.array([made_up for _, made_up in found]).T

    def at(self, covariates: Values) -> Fit:
        """Probabilities at some covariates (n, k); beyond the knots, those of the last knot."""
        kept = self._bases.rising(covariates) @ self._kept
        made_up = self._bases.any_way(covariates) @ self._made_up
        return Fit(kept.clip(0, 1), made_up.clip(0, 1))


def _solve(rising: Values, free: Values, seen: Seen, weight: Values) -> tuple[Values, Values]:
    """Fit far fractions by least squares, all weights 0 or more and at most 1 together.

    The normal equations hold the expected squares of near fractions: with those of noisy ones,
    surfaces would be too flat (errors in variables; Fuller 1987, Measurement Error Models).
    """
    square, cross = seen.square, seen.near - seen.square
    rest = 1 - 2 * seen.near + seen.square
    corner = _product(rising, weight * cross, free)
    equations = np.block(
        [
            [_product(rising, weight * square, rising), corner],
            [corner.T, _product(free, weight * rest, free)],
        ]
    )
    right = np.concatenate(
        [rising.T @ (weight * seen.near * seen.far), free.T @ (weight * (1 - seen.near) * seen.far)]
    )
    m, n = rising.shape[1], len(right)
    scale = max(float(np.trace(equations)) / n, 1e-12)
    pulled = np.ones(n)
    pulled[[0, m]] = 0
    equations += np.diag(_RIDGE * scale * pulled)
    # Slack variables: with one each, the weights of either surface add up to 1.
    rules = np.zeros((n + 2, 2))
    rules[:m, 0] = rules[n, 0] = rules[m:n, 1] = rules[n + 1, 1] = 1
    padded = np.pad(equations, (0, 2)) + _FIRM * scale * (rules @ rules.T)
    values, vectors = np.linalg.eigh(padded)
    roots = np.sqrt(np.maximum(values, 1e-9 * values.max()))
    target = vectors.T @ (np.append(right, [0, 0]) + _FIRM * scale * rules.sum(axis=1)) / roots
    found, _ = nnls((vectors * roots).T, target, maxiter=50 * n)
    return found[:m], found[m:n]


def _product(left: Values, weight: Values, right: Values) -> Values:
    return np.asarray((left * weight[:, None]).T @ right)

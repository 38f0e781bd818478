"""How far surfaces are from what is seen far away, in bins of galaxies they did not learn from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galaxymill.detectability.surface import FEWEST, ROUNDS, Z90, Bases, Fit, Seen, Surface, Values

_PARTS = {2: 6, 3: 4}
"""Parts with as many copies each along a covariate, by the number of covariates."""


@dataclass(frozen=True)
class Bins:
    """Mean far fractions in bins with ``FEWEST`` galaxies or more: arrays of shape (m,)."""

    galaxies: Values
    near: Values
    expected: Values
    found: Values
    error: Values
    """Standard deviation of their difference: of the surface, and of these galaxies' scatter."""

    @property
    def misfit(self) -> float:
        """Standard deviation of P(seen far | seen near) about the surface that is not in the
        errors: surfaces are not quite of this form. Far fractions go astray as near ones allow.
        """
        beyond = (self.found - self.expected) ** 2 - self.error**2
        return float(np.sqrt(max(beyond.sum(), 0) / max((self.near**2).sum(), 1e-9)))

    @property
    def worst(self) -> float:
        """Largest difference; infinite without a bin."""
        return float(np.abs(self.found - self.expected).max(initial=-np.inf))

    @property
    def held(self) -> float:
        """Share of the bins whose 90 % interval holds what was found; NaN without a bin."""
        inside = np.abs(self.found - self.expected) <= Z90 * self.error
        return float(inside.mean()) if len(inside) else np.nan


def bin_copies(covariates: Values) -> npt.NDArray[np.intp]:
    """Number the bin of each row of covariates (n, k)."""
    if not len(covariates):
        return np.zeros(0, np.intp)
    parts = _PARTS[covariates.shape[1]]
    inner = np.linspace(0, 1, parts + 1)[1:-1]
    places = [np.searchsorted(np.quantile(one, inner), one, "right") for one in covariates.T]
    return np.asarray(np.ravel_multi_index(places, [parts] * len(places)), np.intp)


def compare(fit: Fit, seen: Seen, bins: npt.NDArray[np.intp], misfit: float = 0.0) -> Bins:
    """Compare the far fractions that near ones let expect with those that were found.

    Parameters
    ----------
    fit : Fit
        At the covariates of each copy.
    seen : Seen
        The copies.
    bins : ndarray of int
        Bin of each copy.
    misfit : float
        `Bins.misfit` of a cross-check, which the errors are to hold as well.
    """
    expected = fit.made_up + (fit.kept - fit.made_up) * seen.near[:, None]
    rows = []
    for number in np.unique(bins):
        here = np.flatnonzero(bins == number)
        weight, own = seen.weight[here], np.unique(seen.galaxy[here], return_inverse=True)[1]
        galaxies, total = own.max() + 1, weight.sum()
        if galaxies < FEWEST or total == 0:
            continue
        rounds, near = weight @ expected[here] / total, weight @ seen.near[here] / total
        # Copies of one galaxy go astray together.
        astray = np.bincount(own, weight * (seen.far[here] - expected[here].mean(axis=1)))
        error = np.sqrt(rounds.var() + (astray**2).sum() / total**2 + (misfit * near) ** 2)
        rows.append((galaxies, near, rounds.mean(), weight @ seen.far[here] / total, error))
    return Bins(*np.array(rows, dtype=np.float64).reshape(-1, 5).T)


def cross_check(bases: Bases, covariates: Values, seen: Seen, half: npt.NDArray[np.bool_]) -> Bins:
    """Compare either half with the surface of the other; all copies of a galaxy are in one."""
    bins, found = bin_copies(covariates), []
    for side in (half, ~half):
        surface = Surface(bases, covariates[side], seen.take(side), ROUNDS // 3)
        found.append(compare(surface.at(covariates[~side]), seen.take(~side), bins[~side]))
    return Bins(*(np.concatenate(pair) for pair in zip(*map(_parts, found), strict=True)))


def _parts(bins: Bins) -> tuple[Values, ...]:
    return bins.galaxies, bins.near, bins.expected, bins.found, bins.error

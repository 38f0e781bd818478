"""Intervals of scores by resampling galaxies, all scores with the same draws.

Galaxies are the units: the answers and questions of one galaxy are drawn together. As the draws
are shared, the difference of two scores is a paired one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

ROUNDS = 1000
MAX_BLOCKS = 4096
"""Larger samples are resampled in so many blocks of galaxies: the intervals stay the same, and
time and memory bounded."""


class Bootstrap:
    """Weights of n galaxies in each round."""

    def __init__(self, n: int, rounds: int = ROUNDS, seed: int = 1) -> None:
        self._blocks = max(min(n, MAX_BLOCKS), 1)
        draws = np.random.default_rng(seed).integers(self._blocks, size=(rounds, self._blocks))
        draws += self._blocks * np.arange(rounds)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rounds * self._blocks)
        self._weights = counts.reshape(rounds, self._blocks).astype(np.float64)

    def totals(self, values: Values) -> Values:
        """Add up each column of values (n, k) over the galaxies of each round; (rounds, k)."""
        n, width = values.shape
        padded = np.zeros((-(-max(n, 1) // self._blocks) * self._blocks, width))
        padded[:n] = values
        sums = padded.reshape(-1, self._blocks, width).sum(axis=0)
        return np.asarray(self._weights @ sums)


def pooled_draws(resampled: Bootstrap, values: Values) -> Values:
    """Mean of all values (n,) or (n, k) in each round, shape (rounds,); NaN are left out.

    The k values of a galaxy are drawn together. NaN where a round has no value.
    """
    table = values.reshape(len(values), -1)
    sums, counts = np.nansum(table, axis=1), np.isfinite(table).sum(axis=1)
    totals = resampled.totals(np.column_stack([sums, counts]).astype(np.float64))
    with np.errstate(invalid="ignore"):
        return np.asarray(totals[:, 0] / totals[:, 1])


def interval(draws: Values, level: float = 0.95) -> list[float] | None:
    """Percentile interval (Efron 1979) of a score's draws (rounds,); None when all are NaN."""
    present = draws[np.isfinite(draws)]
    if not present.size:
        return None
    low, high = np.quantile(present, [(1 - level) / 2, (1 + level) / 2])
    return [plain(low), plain(high)]


def plain(value: Any) -> float:
    """Round to six digits: the last bits differ between machines."""
    return float(f"{value:.6g}")


def number(value: Any) -> float | None:
    """Round to six digits, None where there is nothing: JSON has no NaN and no infinity."""
    return plain(value) if np.isfinite(value) else None


def mean(values: npt.ArrayLike) -> float | None:
    """Mean of what is not NaN, as `number` gives it."""
    return number(mean_of(values))


def mean_of(values: npt.ArrayLike) -> float:
    """Mean of what is not NaN; NaN when there is nothing."""
    array = np.asarray(values, dtype=np.float64)
    present = array[~np.isnan(array)]
    return float(present.mean()) if present.size else np.nan

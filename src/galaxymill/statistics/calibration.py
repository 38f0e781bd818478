"""Calibration of predicted distributions: coverage of their intervals, from PIT values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, mean, pooled_draws

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
TOLERANCE = 0.05
"""By how much the coverage of 90 % intervals may differ from 0.9."""

FEW = 100
"""With fewer galaxies a coverage by itself may be off by over 5 points."""

PIT_BINS = 20


def inside(pit: Values, level: float) -> Values:
    """Tell which values the central interval of probability ``level`` holds.

    ``pit``, of any shape, are probability integral transforms, uniform on 0 to 1 when predictions
    are calibrated. Gives 1 inside, 0 outside, NaN where ``pit`` is.
    """
    return np.where(np.isnan(pit), np.nan, np.abs(pit - 0.5) <= level / 2)


def calibration(pit: Values, resampled: Bootstrap) -> dict[str, Any]:
    """Sum up the PIT (n, k) of n galaxies, whose k values are resampled together; NaN are left out.

    Returns
    -------
    dict
        ``coverage``: by level in per cent, the share of values inside, with its 95 %
        interval; ``pit_histogram``: share of the values in each of ``PIT_BINS`` equal bins.
    """
    covered: dict[str, Any] = {}
    for level in LEVELS:
        held = inside(pit, level)
        bounds = interval(pooled_draws(resampled, held))
        covered[f"{100 * level:g}"] = {"value": mean(held), "interval": bounds}
    present = pit[np.isfinite(pit)]
    histogram = np.histogram(present, PIT_BINS, (0, 1))[0] / max(present.size, 1)
    return {"coverage": covered, "pit_histogram": [round(float(share), 6) for share in histogram]}


def verdict(scores: Mapping[str, Any]) -> str:
    """Judge the coverage of the 90 % intervals in words.

    ``scores`` have ``n``, ``coverage_90`` and the ``coverage`` by level. Of fewer than ``FEW``
    galaxies the whole interval of the coverage must give the same verdict.
    """
    covered = scores["coverage_90"]
    if covered is None:
        return "not tested"
    low, high = covered, covered
    if scores["n"] < FEW:
        low, high = scores["coverage"]["90"]["interval"]
    if high < 0.9 - TOLERANCE:
        return "over-confident"
    if low > 0.9 + TOLERANCE:
        return "under-confident"
    if low < 0.9 - TOLERANCE or high > 0.9 + TOLERANCE:
        return "too few galaxies to say"
    return "calibrated"


def reliability(
    predicted: Values, observed: Values, bins: int = 10
) -> tuple[Values, Values, Values]:
    """Mean observed value against mean predicted one, both (n,) between 0 and 1, in equal bins.

    Bins with fewer than 5 galaxies are left out. Gives the means of the predicted and the observed
    values, and the standard error of the latter.
    """
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    rows = [np.flatnonzero(place == index) for index in range(bins)]
    rows = [row for row in rows if len(row) >= 5]
    means = [(predicted[row].mean(), observed[row].mean()) for row in rows]
    errors = [observed[row].std(ddof=1) / np.sqrt(len(row)) for row in rows]
    x, y = np.array(means, dtype=np.float64).reshape(-1, 2).T
    return x, y, np.array(errors, dtype=np.float64)

"""Do predicted distributions hold what they promise? Coverage from PIT values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, mean, pooled_draws

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
TOLERANCE = 0.05
"""By how much the coverage of 90 % intervals may differ from 0.9."""

FEW = 100
"""With fewer galaxies a coverage by itself says little: it may be off by over 5 points."""

PIT_BINS = 20


def inside(pit: Values, level: float) -> Values:
    """Tell which values the central interval of probability ``level`` holds.

    Parameters
    ----------
    pit : ndarray
        Probability integral transforms, uniform on 0 to 1 when predictions are calibrated.
    level : float

    Returns
    -------
    ndarray of the same shape
        1 inside, 0 outside, NaN where ``pit`` is.
    """
    return np.where(np.isnan(pit), np.nan, np.abs(pit - 0.5) <= level / 2)


def coverage(pit: Values, level: float) -> float | None:
    """Share of values inside the central interval; None when there is none."""
    return mean(inside(pit, level))


def calibration(pit: Values, resampled: Bootstrap) -> dict[str, Any]:
    """Sum up the PIT of n galaxies.

    Parameters
    ----------
    pit : ndarray, shape (n, k)
        The k values of a galaxy are resampled together; NaN are left out.
    resampled : Bootstrap
        Of n galaxies.

    Returns
    -------
    dict
        ``coverage``: by level in per cent, the share of values inside, with its 95 %
        interval; ``pit_histogram``: share of the values in each of ``PIT_BINS`` equal bins.
    """
    covered: dict[str, Any] = {}
    for level in LEVELS:
        draws = pooled_draws(resampled, inside(pit, level))
        covered[f"{100 * level:g}"] = {"value": coverage(pit, level), "interval": interval(draws)}
    present = pit[np.isfinite(pit)]
    histogram = np.histogram(present, PIT_BINS, (0, 1))[0] / max(present.size, 1)
    return {"coverage": covered, "pit_histogram": [round(float(share), 6) for share in histogram]}


def verdict(scores: Mapping[str, Any]) -> str:
    """Say in words what the coverage of the 90 % intervals means.

    Parameters
    ----------
    scores : mapping
        With ``n``, ``coverage_90`` and the ``coverage`` by level. Of fewer than ``FEW``
        galaxies the whole interval of the coverage must say the same.
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


def calibration_sentence(
    pooled: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any]],
    what: str,
    kind: str = "posterior predictive",
) -> str:
    """Say whether the predictive intervals hold what they promise; plain text.

    Parameters
    ----------
    pooled : mapping
        Scores of everything together, from `calibration`, with ``n`` and ``coverage_90``.
    parts : mapping of str to mapping
        The same by question.
    what : str
        What lies in the intervals, e.g. ``"observed counts"``.
    kind : str
        Of the intervals.
    """
    if pooled["coverage_90"] is None:
        return f"The {kind} intervals could not be tested."
    low, high = (100 * bound for bound in pooled["coverage"]["90"]["interval"])
    text = (
        f"The 90 % {kind} intervals hold {100 * pooled['coverage_90']:.1f} % of the "
        f"{what} (95 % interval {low:.1f} to {high:.1f} %): {verdict(pooled)}."
    )
    judged: dict[str, list[str]] = {}
    for name, scores in parts.items():
        shown = f"{name} ({100 * (scores['coverage_90'] or 0):.0f} %)"
        judged.setdefault(verdict(scores), []).append(shown)
    for word in ("over-confident", "under-confident"):
        if word in judged:
            text += f" {word.capitalize()} on {', '.join(judged[word])}."
    if set(judged) == {"calibrated"} and len(parts) > 1:
        text += " So is every question by itself."
    return text


def reliability(
    predicted: Values, observed: Values, bins: int = 10
) -> tuple[Values, Values, Values]:
    """Mean observed value against mean predicted one, in bins of the prediction.

    Parameters
    ----------
    predicted, observed : ndarray, shape (n,)
        Between 0 and 1.
    bins : int
        Of equal width; those with fewer than 5 galaxies are left out.

    Returns
    -------
    predicted, observed, error : ndarray
        Means, and the standard error of the observed one.
    """
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    rows = [np.flatnonzero(place == index) for index in range(bins)]
    rows = [row for row in rows if len(row) >= 5]
    means = [(predicted[row].mean(), observed[row].mean()) for row in rows]
    errors = [observed[row].std(ddof=1) / np.sqrt(len(row)) for row in rows]
    x, y = np.array(means, dtype=np.float64).reshape(-1, 2).T
    return x, y, np.array(errors, dtype=np.float64)

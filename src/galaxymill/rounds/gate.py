"""Whether a challenger takes the champion's place: both on the same galaxies, galaxy by galaxy."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from galaxymill.statistics.bootstrap import Bootstrap, Values, mean_of, number, pooled_draws
from galaxymill.statistics.calibration import inside
from galaxymill.tasks.votes.scores import Comparison

LEVEL = 0.05
"""Chance to be wrong, of the bound on all questions, and of those on single ones together."""
TOLERANCE = 0.05
"""By how much the coverage of 90 % intervals may differ from 0.9, or a little more than the
champion's own does."""
FEWEST = 20
"""Galaxies below which resampling tells nothing."""
LEVELS = (0.5, 0.68, 0.9, 0.95)
"""Intervals whose coverage is told; that of 90 % decides."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes
    ----------
    promoted : bool
    reasons : tuple of str
        Why not; empty when promoted.
    evidence : dict
        Plain JSON values: every difference with its bounds.
    """

    promoted: bool
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


def compare(champion: Comparison, challenger: Comparison, margin: float) -> Verdict:
    """Judge a challenger by votes that neither has learned from.

    It is promoted when the upper 95 % bound of the difference of its negative log likelihood
    (mean over all galaxies and questions) is below ``margin`` times what the champion gains over
    a constant; when of no question the lower bound of the difference is above zero, at a level
    that is shared by all questions (Bonferroni); and when its 90 % intervals hold 90 %, or miss
    that no more than the champion's.

    Parameters
    ----------
    champion, challenger : Comparison
        Of the same galaxies with the same votes, in the same order.
    margin : float
    """
    worse = challenger.nll - champion.nll
    resampled = Bootstrap(len(worse), rounds=4000)
    gain = mean_of(champion.nll_constant - champion.nll)
    upper = _quantile(pooled_draws(resampled, worse), 1 - LEVEL)
    allowed = margin * max(gain, 0.0)
    reasons = []
    if len(worse) < FEWEST:
        reasons.append(
            f"only {len(worse)} galaxies to judge by, {FEWEST} are needed: draw more at random"
        )
    if not upper < allowed:
        reasons.append(
            f"over all questions it may be worse by {upper:.4f} nat a question (95 % bound), "
            f"allowed are {allowed:.4f}: {_advice(mean_of(worse), allowed)}"
        )
    questions = champion.tree.questions
    each: dict[str, Any] = {}
    for place, question in enumerate(questions):
        own = worse[:, place]
        lower = _quantile(pooled_draws(resampled, own), LEVEL / len(questions))
        errors = [_squares(one, question.slice) for one in (challenger, champion)]
        each[question.name] = {
            "n": int(np.isfinite(own).sum()),
            "nll_difference": number(mean_of(own)),
            "nll_difference_lower": number(lower),
            "nll_difference_upper": number(
                _quantile(pooled_draws(resampled, own), 1 - LEVEL / len(questions))
            ),
            "rmse_challenger": number(mean_of(errors[0]) ** 0.5),
            "rmse_champion": number(mean_of(errors[1]) ** 0.5),
        }
        if lower > 0:
            reasons.append(
                f"{question.name} is worse by {mean_of(own):.4f} nat, at least {lower:.4f}"
            )
    both = {"champion": champion, "challenger": challenger}
    coverage = {
        name: {f"{level:g}": number(mean_of(inside(one.pit, level))) for level in LEVELS}
        for name, one in both.items()
    }
    covered = [mean_of(inside(one.pit, 0.9)) for one in (challenger, champion)]
    tolerated = max(TOLERANCE, abs(covered[1] - 0.9))
    if abs(covered[0] - 0.9) > tolerated:
        reasons.append(
            f"its 90 % intervals hold {covered[0]:.1%} of the votes, those of the champion "
            f"{covered[1]:.1%}"
        )
    evidence = {
        "galaxies": len(worse),
        "nll_difference": number(mean_of(worse)),
        "nll_difference_upper": number(upper),
        "nll_difference_allowed": number(allowed),
        "coverage": coverage,
        "questions": each,
    }
    return Verdict(not reasons, tuple(reasons), evidence)


def _advice(difference: float, allowed: float) -> str:
    if difference < allowed:
        return "too few galaxies to be sure; more at random would tell"
    return "it is worse"


def _quantile(draws: Values, level: float) -> float:
    present = draws[np.isfinite(draws)]
    return float(np.quantile(present, level)) if present.size else np.nan


def _squares(comparison: Comparison, columns: slice) -> Values:
    off = comparison.predicted["model"][:, columns] - comparison.observed[:, columns]
    return np.asarray(off**2)

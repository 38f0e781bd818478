"""How well two catalogues agree: column by column, and in the answer to each question."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from galaxymill.comparison.catalogue import Values


def column_scores(a: Values, b: Values) -> dict[str, Any]:
    """Compare two columns of the same galaxies.

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        NaN where there is none.

    Returns
    -------
    dict
        ``n``, galaxies with both; ``null_only_a`` and ``null_only_b``, galaxies with one of them
        alone; of A − B the mean ``bias``, the root mean square ``rmse`` and the largest absolute
        value ``max_difference``; ``spearman``, the rank correlation (scipy). None where no galaxy,
        or for ranks where a column is constant.
    """
    from scipy.stats import spearmanr

    null_a, null_b = np.isnan(a), np.isnan(b)
    both = ~(null_a | null_b)
    a, b = a[both], b[both]
    scores: dict[str, Any] = {
        "n": len(a),
        "null_only_a": int((null_a & ~null_b).sum()),
        "null_only_b": int((null_b & ~null_a).sum()),
        **dict.fromkeys(("bias", "rmse", "max_difference", "spearman")),
    }
    if len(a):
        difference = a.astype(np.float64) - b
        scores["bias"] = float(difference.mean())
        scores["rmse"] = float(np.sqrt(np.mean(difference**2)))
        scores["max_difference"] = float(np.abs(difference).max())
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            scores["spearman"] = float(spearmanr(a, b).statistic)
    return scores


def question_scores(a: Sequence[Values], b: Sequence[Values]) -> dict[str, Any]:
    """Compare the most likely answers to one question.

    Parameters
    ----------
    a, b : sequence of ndarray, shape (n,)
        Fractions of each answer, in the same order; NaN where there is none.

    Returns
    -------
    dict
        ``n``, galaxies that have every answer in both, not 0 throughout, as where nobody was
        asked; ``agreement``, the share of them whose
        largest fraction (of equal ones the first) is the same answer's; ``kappa``, Cohen's
        (scikit-learn), which takes off what chance would agree on. None where no galaxy, fewer
        than two answers, or for kappa where both have the same answer throughout.
    """
    from sklearn.metrics import cohen_kappa_score

    # The maximum is NaN where any of them is.
    both = np.logical_and(*(np.max(side, axis=0) > 0 for side in (a, b)))
    scores: dict[str, Any] = {"n": int(both.sum()), "agreement": None, "kappa": None}
    if len(a) < 2 or not both.any():
        return scores
    top_a, top_b = (np.stack([values[both] for values in side]).argmax(axis=0) for side in (a, b))
    scores["agreement"] = float((top_a == top_b).mean())
    if len({*np.unique(top_a), *np.unique(top_b)}) > 1:
        scores["kappa"] = float(cohen_kappa_score(top_a, top_b))
    return scores

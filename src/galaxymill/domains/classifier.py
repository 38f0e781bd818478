"""Can galaxies of two surveys be told apart? A classifier's area under the ROC curve (AUC)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from galaxymill.domains.side import Measured
from galaxymill.splits import assign_folds
from galaxymill.statistics.bootstrap import interval, plain

FOLDS, ROUNDS, LEVEL = 5, 200, 0.9
_COMPONENTS = 64
"""Of frozen features, at most: more than there are galaxies to learn from tell noise."""


def auc_of(a: Measured, b: Measured, forest: bool) -> dict[str, Any]:
    """Learn to tell b's galaxies from a's, by a random forest or by logistic regression.

    Every galaxy is judged by a classifier that has not learned from it: folds go by ``object_id``,
    so that a galaxy that is in both surveys stands in one fold. The interval is by resampling
    galaxies.

    Returns
    -------
    dict
        ``auc``, 0.5 where nothing tells them apart and 1 where everything does; ``interval``, of
        90 %; ``galaxies_a``, ``galaxies_b``.
    """
    values = np.concatenate([a.values, b.values])
    of_b = np.repeat([False, True], [len(a.ids), len(b.ids)])
    ids = a.ids + b.ids
    folds = PredefinedSplit(assign_folds(ids, None, FOLDS))
    chances = cross_val_predict(
        _classifier(values, forest), values, of_b, cv=folds, method="predict_proba"
    )[:, 1]
    return {
        "auc": plain(roc_auc_score(of_b, chances)),
        "interval": interval(_resampled(ids, of_b, chances), LEVEL),
        "galaxies_a": len(a.ids),
        "galaxies_b": len(b.ids),
    }


def _classifier(values: npt.NDArray[Any], forest: bool) -> Any:
    if forest:
        return RandomForestClassifier(300, min_samples_leaf=5, random_state=1)
    components = min(_COMPONENTS, values.shape[1], len(values) // 4)
    reduce = PCA(components, random_state=1)
    return make_pipeline(StandardScaler(), reduce, LogisticRegression(max_iter=2000))


def _resampled(
    ids: Sequence[str], of_b: npt.NDArray[np.bool_], chances: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """AUC of galaxies drawn with replacement; both images of one galaxy are drawn together."""
    names, galaxy = np.unique(np.array(ids), return_inverse=True)
    generator = np.random.default_rng(1)
    found = np.full(ROUNDS, np.nan)
    for place in range(ROUNDS):
        weights = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))[galaxy]
        if weights[of_b].any() and weights[~of_b].any():
            found[place] = roc_auc_score(of_b, chances, sample_weight=weights)
    return found


def rank(a: Measured, b: Measured) -> list[dict[str, Any]]:
    """Rank single features by how well each tells the surveys apart.

    ``auc`` is the share of pairs of a galaxy of each in which that of b has the larger value (the
    Mann-Whitney statistic), ``shift`` the difference of the medians in units of half the range that
    holds the middle 68 % of a's galaxies; None where that is nothing.
    """
    of_b = np.repeat([False, True], [len(a.ids), len(b.ids)])
    rows = []
    for index, name in enumerate(a.names):
        one, other = a.values[:, index], b.values[:, index]
        low, middle, high = np.quantile(one, [0.16, 0.5, 0.84])
        median, width = float(np.median(other)), (high - low) / 2
        auc = float(roc_auc_score(of_b, np.concatenate([one, other])))
        rows.append(
            {
                "feature": name,
                "auc": plain(auc),
                "median_a": plain(middle),
                "median_b": plain(median),
                "shift": plain((median - middle) / width) if width else None,
            }
        )
    return sorted(rows, key=lambda row: -abs(row["auc"] - 0.5))

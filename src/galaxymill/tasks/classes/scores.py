"""Scores of a model that names one of some classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, number, pooled_draws
from galaxymill.statistics.classification import Indices, classify, most_likely


@dataclass(frozen=True)
class ClassComparison:
    """Predicted and true classes of n test galaxies.

    ``predicted`` (n, k) are probabilities of the k classes by ``model`` (the mean over its samples)
    and by each baseline.
    """

    classes: Sequence[str]
    truth: Indices
    predicted: Mapping[str, Values]


def log_losses(probabilities: Values, truth: Indices) -> Values:
    """Give −ln of the true class's probability, at least 10⁻¹⁵ of it; shape (n,)."""
    true = probabilities[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.clip(true, 1e-15, 1)))


def brier_scores(probabilities: Values, truth: Indices) -> Values:
    """Sum of squared errors of the class probabilities (Brier 1950), 0 to 2; shape (n,)."""
    target = np.eye(probabilities.shape[1])[truth]
    return np.asarray(((probabilities - target) ** 2).sum(axis=1))


def summarise_classes(comparison: ClassComparison) -> dict[str, Any]:
    """Compute every number of ``metrics.json``.

    Returns
    -------
    dict
        ``overall``: the scores of `galaxymill.statistics.classification.classify`, log loss
        (nats) and Brier score with 95 % bootstrap intervals, the macro ROC AUC, the expected
        calibration error, and the ``baselines``; ``classes``: by class, its scores and ROC AUC,
        one against the rest.
    """
    truth, resampled = comparison.truth, Bootstrap(len(comparison.truth))
    predicted = comparison.predicted["model"]
    found = classify(truth, most_likely(predicted), comparison.classes)
    curves = {name: _auc(predicted[:, i], truth == i) for i, name in enumerate(comparison.classes)}
    classes = {
        name: {**scores, "roc_auc": curves[name]} for name, scores in found["answers"].items()
    }
    baselines = {
        name: _scores(values, comparison, resampled)
        for name, values in comparison.predicted.items()
        if name != "model"
    }
    defined = [value for value in curves.values() if value is not None]
    overall = {
        **{key: value for key, value in found.items() if key != "answers"},
        **_scores(predicted, comparison, resampled),
        "roc_auc_macro": number(np.mean(defined)) if defined else None,
        "calibration_error": calibration_error(predicted, truth),
        "baselines": baselines,
    }
    return {"overall": overall, "classes": classes}


def _scores(values: Values, comparison: ClassComparison, resampled: Bootstrap) -> dict[str, Any]:
    """Scores that a baseline has too, and how much lower or higher the model's are."""
    truth, own = comparison.truth, comparison.predicted["model"]
    scores: dict[str, Any] = {}
    measures: dict[str, Callable[[Values], Values]] = {
        "accuracy": lambda p: (most_likely(p) == truth).astype(np.float64),
        "log_loss": lambda p: log_losses(p, truth),
        "brier": lambda p: brier_scores(p, truth),
    }
    for name, measure in measures.items():
        each = measure(values)
        scores[name] = number(each.mean())
        if values is own:
            scores[f"{name}_interval"] = interval(pooled_draws(resampled, each))
        else:
            change = pooled_draws(resampled, measure(own) - each)
            scores[f"{name}_difference_interval"] = interval(change)
    return scores


def _auc(scores: Values, positive: Any) -> float | None:
    """Area under the ROC curve; None when there is only one side."""
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return None
    return number(roc_auc_score(positive, scores))


def calibration_error(probabilities: Values, truth: Indices, bins: int = 10) -> float | None:
    """Mean gap between confidence and accuracy (Guo+17, eq. 3); None without galaxies.

    Bins are of equal width in the probability of the most likely of k classes, given as (n, k).
    """
    if not len(truth):
        return None
    confidence = probabilities.max(axis=1)
    right = most_likely(probabilities) == truth
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, confidence - right, bins)
    return number(np.abs(gaps).sum() / len(truth))

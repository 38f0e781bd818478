"""Scores of the most likely answer, as the Galaxy Zoo catalogues quote them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, number, pooled_draws

Indices = npt.NDArray[np.int64]


def classify(truth: Indices, predicted: Indices, answers: Sequence[str]) -> dict[str, Any]:
    """Score the most likely answers of n galaxies.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
        Indices among ``answers``.
    answers : sequence of str

    Returns
    -------
    dict
        ``n``; accuracy with its 95 % bootstrap ``accuracy_interval``; precision, recall and F1
        as ``macro`` (mean over the answers that occur, in truth or prediction) and ``weighted``
        mean (by true frequency); the same of the ``majority``, who answers what is most frequent
        in ``truth``; per answer; and the confusion matrix, ``confusion[true][predicted]``. None
        where there are no galaxies. See `sklearn.metrics.classification_report`.
    """
    from sklearn.metrics import confusion_matrix

    n, labels = len(truth), np.arange(len(answers))
    if n == 0:
        return {"n": 0, "accuracy": None, "majority": None, "answers": {}, "confusion": None}
    most = int(np.bincount(truth).argmax())
    hits = (truth == predicted).astype(np.float64)
    each = _report(truth, predicted, labels)
    return {
        "n": n,
        **_averages(truth, predicted),
        "accuracy_interval": interval(pooled_draws(Bootstrap(n), hits)),
        "majority": {"answer": answers[most], **_averages(truth, np.full(n, most))},
        "answers": {answer: each[str(index)] for index, answer in enumerate(answers)},
        "confusion": confusion_matrix(truth, predicted, labels=labels).tolist(),
    }


def _averages(truth: Indices, predicted: Indices) -> dict[str, Any]:
    found = _report(truth, predicted)
    return {"accuracy": found["accuracy"]} | {
        f"{score}_{kind}": found[f"{kind} avg"][score]
        for kind in ("macro", "weighted")
        for score in ("precision", "recall", "f1")
    }


def _report(truth: Indices, predicted: Indices, labels: Indices | None = None) -> dict[str, Any]:
    """Scikit-learn's report, rounded; of ``labels``, or of those that occur."""
    from sklearn.metrics import classification_report

    def rounded(scores: Any) -> Any:
        if isinstance(scores, dict):
            return {key.removesuffix("-score"): rounded(each) for key, each in scores.items()}
        return number(scores)

    found = classification_report(
        truth, predicted, labels=labels, output_dict=True, zero_division=0.0
    )
    plain: dict[str, Any] = rounded(found)
    return plain


def most_likely(probabilities: Values) -> Indices:
    """Index of the largest value along the last axis; the first of equal ones."""
    return np.asarray(probabilities.argmax(axis=-1), dtype=np.int64)

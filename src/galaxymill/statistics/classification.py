"""Scores of the most likely answer, as the Galaxy Zoo catalogues quote them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, number, pooled_draws

Indices = npt.NDArray[np.int64]


def classify(
    truth: Indices, predicted: Indices, answers: Sequence[str], constant: int | None = None
) -> dict[str, Any]:
    """Score the most likely answers of n galaxies.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
        Indices among ``answers``.
    answers : sequence of str
    constant : int, optional
        What the majority baseline answers always; by default the most frequent of ``truth``,
        the best that any constant can do.

    Returns
    -------
    dict
        ``n``; accuracy with its 95 % bootstrap ``accuracy_interval``; precision, recall and F1
        as ``macro`` (mean over the answers that occur, in truth or prediction) and ``weighted``
        mean (by true frequency); the same of the ``majority``; per answer; and the confusion
        matrix, ``confusion[true][predicted]``. None where there are no galaxies. See
        `sklearn.metrics.precision_recall_fscore_support`.
    """
    from sklearn.metrics import confusion_matrix

    n, labels = len(truth), np.arange(len(answers))
    if n == 0:
        return {"n": 0, "accuracy": None, "majority": None, "answers": {}, "confusion": None}
    most = int(np.bincount(truth).argmax()) if constant is None else constant
    hits = (truth == predicted).astype(np.float64)
    return {
        "n": n,
        **_averages(truth, predicted),
        "accuracy_interval": interval(pooled_draws(Bootstrap(n), hits)),
        "majority": {"answer": answers[most], **_averages(truth, np.full(n, most))},
        "answers": _per_answer(truth, predicted, answers),
        "confusion": confusion_matrix(truth, predicted, labels=labels).tolist(),
    }


def _averages(truth: Indices, predicted: Indices) -> dict[str, Any]:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    scores = {"accuracy": number(accuracy_score(truth, predicted))}
    for average in ("macro", "weighted"):
        found = precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0.0
        )
        for name, value in zip(("precision", "recall", "f1"), found[:3], strict=True):
            scores[f"{name}_{average}"] = number(value)
    return scores


def _per_answer(truth: Indices, predicted: Indices, answers: Sequence[str]) -> dict[str, Any]:
    from sklearn.metrics import precision_recall_fscore_support

    found = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(len(answers)), zero_division=0.0
    )
    names = ("precision", "recall", "f1", "support")
    return {
        answer: dict(zip(names, (number(column[index]) for column in found), strict=True))
        for index, answer in enumerate(answers)
    }


def most_likely(probabilities: Values) -> Indices:
    """Index of the largest value along the last axis; the first of equal ones."""
    return np.asarray(probabilities.argmax(axis=-1), dtype=np.int64)

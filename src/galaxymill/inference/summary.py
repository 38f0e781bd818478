"""From posterior samples to the columns of a catalogue, for every kind of head."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtr

from galaxymill.errors import UserError
from galaxymill.inference import posterior
from galaxymill.votes.task import Kind, Task

Floats = npt.NDArray[np.float64]
_BISECTIONS = 50


def check_finite(object_ids: Sequence[str], outputs: npt.NDArray[np.floating]) -> None:
    """Refuse what no network should give.

    Parameters
    ----------
    object_ids : sequence of str, length n
    outputs : ndarray, shape (n, S, width)

    Raises
    ------
    UserError
        When a number is not finite; it would pass for a galaxy that was not predicted.
    """
    good = np.isfinite(outputs).all(axis=(1, 2))
    if not good.all():
        raise UserError(
            f"{object_ids[int(good.argmin())]}: the model's outputs are not finite, nor those of "
            f"{int((~good).sum()) - 1} others of {len(good)}: with precision fp16 take fp32; else "
            "the model is of no use: train it again"
        )


def summarise(samples: npt.NDArray[np.floating], task: Task) -> dict[str, pa.Array]:
    """Compute every column of `galaxymill.products.summary_fields`.

    Parameters
    ----------
    samples : ndarray, shape (n, S, width)
        What the head gave; NaN in every place of a galaxy that was not predicted.
    task : Task

    Returns
    -------
    dict of str to pyarrow.Array of float32
        Null where a galaxy was not predicted.
    """
    absent: npt.NDArray[np.bool_] = np.isnan(samples[:, 0, 0])
    filled = np.where(absent[:, None, None], 1.0, samples)
    return {
        name: pa.array(values.astype(np.float32), mask=absent)
        for name, values in _COLUMNS[task.kind](filled, task).items()
    }


def _of_votes(concentrations: Floats, task: Task) -> dict[str, Floats]:
    tree = task.questions
    fractions = posterior.mean_fractions(concentrations, tree)
    bounds = posterior.intervals(concentrations, tree)
    asked = posterior.proportion_asked(concentrations, tree)
    columns: dict[str, Floats] = {}
    for question in tree.questions:
        for place, column in enumerate(question.columns, start=question.start):
            columns[f"{column}_fraction"] = fractions[:, place]
            columns[f"{column}_90pc-lower"] = bounds[:, place, 0]
            columns[f"{column}_90pc-upper"] = bounds[:, place, 1]
        predictive, information = posterior.mutual_information(concentrations, question)
        columns[f"{question.name}_proportion-asked"] = asked[question.name]
        columns[f"{question.name}_entropy"] = predictive
        columns[f"{question.name}_mutual-information"] = information
    return columns


def _of_classes(probabilities: Floats, task: Task) -> dict[str, Floats]:
    """Probabilities are fractions of a Dirichlet whose concentrations they are."""
    (question,) = task.questions.questions
    mean = posterior.mean_fractions(probabilities, task.questions)
    columns = {f"{name}_probability": mean[:, n] for n, name in enumerate(question.columns)}
    predictive, information = posterior.mutual_information(probabilities, question)
    columns[f"{question.name}_entropy"] = predictive
    columns[f"{question.name}_mutual-information"] = information
    return columns


def _of_number(gaussians: Floats, task: Task) -> dict[str, Floats]:
    """Moments and quantiles of an even mixture of Gaussians."""
    # In float32 the square of a large number would be infinite, and a narrow spread lost beside it.
    mean, deviation = np.moveaxis(gaussians.astype(np.float64), -1, 0)
    centre = mean.mean(axis=1)
    spread = np.sqrt((deviation**2).mean(axis=1) + mean.var(axis=1))
    lower, upper = (mixture_quantile(mean, deviation, level) for level in (0.05, 0.95))
    name = task.number
    return {
        f"{name}_mean": centre,
        f"{name}_std": spread,
        f"{name}_90pc-lower": lower,
        f"{name}_90pc-upper": upper,
    }


def mixture_quantile(mean: Floats, deviation: Floats, level: float) -> Floats:
    """Give a quantile of an even mixture of Gaussians, by bisection.

    Parameters
    ----------
    mean, deviation : ndarray, shape (n, S)
    level : float
        Probability of the quantile.

    Returns
    -------
    ndarray, shape (n,)
    """
    low = (mean - 10 * deviation).min(axis=1)
    high = (mean + 10 * deviation).max(axis=1)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = ndtr((middle[:, None] - mean) / deviation).mean(axis=1) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    result: Floats = (low + high) / 2
    return result


_COLUMNS: dict[Kind, Callable[[Floats, Task], dict[str, Floats]]] = {
    "votes": _of_votes,
    "class": _of_classes,
    "number": _of_number,
}

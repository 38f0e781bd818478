"""Scores of a model that predicts a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, number, pooled_draws
from galaxymill.statistics.calibration import calibration


@dataclass(frozen=True)
class NumberComparison:
    """Predicted and true numbers of n test galaxies.

    Attributes
    ----------
    name : str
        Of the quantity.
    object_ids : sequence of str, length n
    truth : ndarray, shape (n,)
    samples : ndarray, shape (n, n_samples, 2)
        Mean and standard deviation: the prediction is the even mixture of these Gaussians.
    predicted : dict of str to ndarray, shape (n,)
        Means by ``model`` and by each baseline.
    """

    name: str
    object_ids: Sequence[str]
    truth: Values
    samples: Values
    predicted: Mapping[str, Values]

    @property
    def spread(self) -> Values:
        """Standard deviation of the mixture; shape (n,)."""
        mean, deviation = self.samples[..., 0], self.samples[..., 1]
        return np.asarray(np.sqrt((deviation**2).mean(axis=1) + mean.var(axis=1)))

    @property
    def pit(self) -> Values:
        """Probability of less than the truth; shape (n,)."""
        scaled = (self.truth[:, None] - self.samples[..., 0]) / self.samples[..., 1]
        return np.asarray(norm.cdf(scaled).mean(axis=1))

    @property
    def nll(self) -> Values:
        """Negative log density of the truth, in nats; shape (n,)."""
        logs = norm.logpdf(self.truth[:, None], self.samples[..., 0], self.samples[..., 1])
        return np.asarray(np.log(logs.shape[1]) - logsumexp(logs, axis=1))


def summarise_numbers(comparison: NumberComparison) -> dict[str, Any]:
    """Compute every number of ``metrics.json``.

    Parameters
    ----------
    comparison : NumberComparison

    Returns
    -------
    dict
        ``overall``: RMSE, MAE, ``bias`` (mean of predicted − true) and ``scatter`` (1.4826 times
        the median absolute deviation of the residuals from their median, which outliers do not
        change), in the unit of the number; 95 % bootstrap intervals; coverage of the predictive
        intervals; ``baselines``.
    """
    resampled = Bootstrap(len(comparison.truth))
    own, own_draws, scores = _errors(comparison.predicted["model"], comparison.truth, resampled)
    baselines = {}
    for name, values in comparison.predicted.items():
        if name != "model":
            rmse, draws, other = _errors(values, comparison.truth, resampled)
            other["difference"] = number(own - rmse)
            other["difference_interval"] = interval(own_draws - draws)
            baselines[name] = other
    found = calibration(comparison.pit[:, None], resampled)
    overall = {
        "n": len(comparison.truth),
        **scores,
        "nll": number(comparison.nll.mean()),
        "coverage_90": found["coverage"]["90"]["value"],
        **found,
        "baselines": baselines,
    }
    return {"overall": overall}


def _errors(
    predicted: Values, truth: Values, resampled: Bootstrap
) -> tuple[float, Values, dict[str, Any]]:
    """RMSE, its bootstrap draws, and all scores."""
    residual = predicted - truth
    rmse = float(np.sqrt((residual**2).mean()))
    draws = np.sqrt(pooled_draws(resampled, residual**2))
    scores = {
        "rmse": number(rmse),
        "rmse_interval": interval(draws),
        "mae": number(np.abs(residual).mean()),
        "bias": number(residual.mean()),
        "bias_interval": interval(pooled_draws(resampled, residual)),
        "scatter": number(1.4826 * np.median(np.abs(residual - np.median(residual)))),
    }
    return rmse, draws, scores

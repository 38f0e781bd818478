"""Scores of a model that predicts a number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import median_abs_deviation, norm

from galaxymill.statistics.bootstrap import Bootstrap, Values, interval, mean, number, pooled_draws
from galaxymill.statistics.calibration import calibration
from galaxymill.statistics.errors import RootMeanSquares


@dataclass(frozen=True)
class NumberComparison:
    """Predicted and true numbers of n test galaxies, of the quantity ``name``.

    ``samples`` (n, n_samples, 2) are mean and standard deviation: the prediction is the even
    mixture of these Gaussians. ``predicted`` (n,) are means by ``model`` and by each baseline.
    """

    name: str
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

    Returns
    -------
    dict
        ``overall``: RMSE, MAE, ``bias`` (mean of predicted − true) and ``scatter`` (1.4826 times
        the median absolute deviation of the residuals from their median, which outliers do not
        change), in the unit of the number; 95 % bootstrap intervals; coverage of the predictive
        intervals; ``baselines``.
    """
    resampled = Bootstrap(len(comparison.truth))
    residuals = {name: each - comparison.truth for name, each in comparison.predicted.items()}
    scores = RootMeanSquares.of(residuals, resampled).scores()
    for name, residual in residuals.items():
        own = scores if name == "model" else scores["baselines"][name]
        own["mae"] = mean(np.abs(residual))
        own["bias"] = mean(residual)
        own["bias_interval"] = interval(pooled_draws(resampled, residual))
        own["scatter"] = number(1.4826 * median_abs_deviation(residual))
    found = calibration(comparison.pit[:, None], resampled)
    overall = {
        "n": len(comparison.truth),
        **scores,
        "nll": mean(comparison.nll),
        "coverage_90": found["coverage"]["90"]["value"],
        **found,
    }
    return {"overall": overall}

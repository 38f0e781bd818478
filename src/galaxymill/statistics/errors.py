"""Root-mean-square errors of a model and its baselines, with paired intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galaxymill.statistics.bootstrap import (
    Bootstrap,
    Values,
    interval,
    mean_of,
    number,
    pooled_draws,
)


@dataclass(frozen=True)
class RootMeanSquares:
    """RMSE by ``model`` and by each baseline, and in each round of the bootstrap (rounds,).

    NaN where there is nothing to compare. The galaxies of a round are the same for all.
    """

    points: Mapping[str, float]
    draws: Mapping[str, Values]

    @classmethod
    def of(cls, residuals: Mapping[str, Values], resampled: Bootstrap) -> "RootMeanSquares":
        """Compute the RMSE of residuals, predicted − true, (n,) or (n, k); NaN are left out."""
        squares = {name: each**2 for name, each in residuals.items()}
        return cls(
            {name: mean_of(each) ** 0.5 for name, each in squares.items()},
            {name: np.sqrt(pooled_draws(resampled, each)) for name, each in squares.items()},
        )

    @classmethod
    def mean(cls, parts: "Sequence[RootMeanSquares]") -> "RootMeanSquares":
        """Average the RMSE of several questions with equal weights."""
        return cls(
            {k: float(np.mean([part.points[k] for part in parts])) for k in parts[0].points},
            {k: np.mean([part.draws[k] for part in parts], axis=0) for k in parts[0].draws},
        )

    def scores(self) -> dict[str, Any]:
        """Plain values with 95 % intervals; under ``baselines`` the model's difference to each."""
        found = {
            name: {"rmse": number(point), "rmse_interval": interval(self.draws[name])}
            for name, point in self.points.items()
        }
        own = found.pop("model")
        for name, other in found.items():
            other["difference"] = number(self.points["model"] - self.points[name])
            other["difference_interval"] = interval(self.draws["model"] - self.draws[name])
        return {**own, "baselines": found}

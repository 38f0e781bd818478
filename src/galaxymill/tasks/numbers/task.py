"""The task of a number: a quantity of each galaxy, such as its redshift."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from galaxymill.errors import UserError
from galaxymill.storage.columns import field
from galaxymill.tasks.released import Answer, ColumnGroup, Panel, ReleaseText
from galaxymill.tasks.task import Floats, HeadSettings, Task, Values

if TYPE_CHECKING:
    from galaxymill.tasks.heads import Head
    from galaxymill.tasks.report import EvaluationData, ReportContent

_BISECTIONS = 50
_INTERVALS = ColumnGroup(
    "intervals of numbers", "5th and 95th percentile of the number", "stat.param"
)


@dataclass(frozen=True)
class NumberTask(Task):
    """A number: the quantity of that name."""

    name: str

    kind: ClassVar[str] = "number"
    sample_column: ClassVar[str] = "gaussians"
    sample_group: ClassVar[ColumnGroup] = ColumnGroup(
        "Gaussians", "mean and standard deviation, sample after sample", "stat.param"
    )
    groups: ClassVar[Mapping[str, ColumnGroup]] = {
        "mean": ColumnGroup("numbers", "expected value of the number", "stat.mean", friendly=True),
        "std": ColumnGroup(
            "deviations of numbers",
            "standard deviation of the number",
            "stat.stdev",
            (0.0, None),
            friendly=True,
        ),
        "90pc-lower": _INTERVALS,
        "90pc-upper": _INTERVALS,
    }

    @property
    def columns(self) -> tuple[str, ...]:
        """The number's name."""
        return (self.name,)

    def label_fields(self) -> list[pa.Field]:
        """The number."""
        return [field(self.name, pa.float64(), f"the galaxy's {self.name}")]

    def sample_width(self) -> tuple[int, str]:
        """Two: a Gaussian."""
        return 2, "mean and standard deviation of Gaussians"

    def summary_fields(self) -> list[pa.Field]:
        """Mean, standard deviation and interval."""
        name = self.name
        described = {
            "mean": f"expected {name}",
            "std": f"standard deviation of the predicted {name}",
            "90pc-lower": f"5th percentile of the {name}",
            "90pc-upper": f"95th percentile of the {name}",
        }
        return [field(f"{name}_{key}", pa.float32(), what) for key, what in described.items()]

    def summarise(self, samples: Values) -> dict[str, Floats]:
        """Compute moments and quantiles of an even mixture of Gaussians."""
        # In float32 squares of large numbers are infinite, and narrow spreads lost beside them.
        mean, deviation = np.moveaxis(samples.astype(np.float64), -1, 0)
        centre = mean.mean(axis=1)
        spread = np.sqrt((deviation**2).mean(axis=1) + mean.var(axis=1))
        lower, upper = (mixture_quantile(mean, deviation, level) for level in (0.05, 0.95))
        values = {"mean": centre, "std": spread, "90pc-lower": lower, "90pc-upper": upper}
        return {f"{self.name}_{key}": value for key, value in values.items()}

    def scores(self, samples: Values, labels: Floats) -> dict[str, float]:
        """Give the root mean square error."""
        errors = samples[..., 0].mean(axis=1) - labels[:, 0]
        return {"RMS error": float(np.sqrt(np.mean(errors**2)))}

    def panels(self) -> list[Panel]:
        """Show the means, and the galaxies whose number is most surely low or high."""
        column = f"{self.name}_mean"
        lowest = Answer(column, "lowest", f"{self.name}_90pc-upper", lowest=True)
        highest = Answer(column, "highest", f"{self.name}_90pc-lower")
        return [Panel(self.name, (lowest, highest), adds_up=False)]

    def release_text(self) -> ReleaseText:
        """Describe the number and its errors."""
        return ReleaseText(
            f"the expected {self.name}, with its standard deviation and interval",
            {"number": self.name},
            (
                f"""The {self.name} of galaxies unlike those learned from (fainter, farther, \
smaller) is drawn towards the mean of the labels.""",
            ),
            self._figures,
        )

    def _figures(self, metrics: Mapping[str, Any]) -> str:
        """Say how far off the number is on galaxies kept for testing."""
        overall = metrics.get("overall") or {}
        if overall.get("rmse") is None:
            return ""
        constant = overall.get("baselines", {}).get("constant", {}).get("rmse")
        parts = [
            f"On {overall['n']} galaxies the model has not learned from the predicted {self.name} "
            f"is off by {overall['rmse']:.3g} (root mean square)"
        ]
        if constant is not None:
            parts.append(f"the mean of the labels would be off by {constant:.3g}")
        if overall.get("bias") is not None:
            parts.append(f"the mean error is {overall['bias']:+.2g}")
        if overall.get("coverage_90") is not None:
            parts.append(f"the 90 % intervals hold {overall['coverage_90']:.0%} of the true values")
        return "; ".join(parts) + "."

    def head(self, features: int, settings: "HeadSettings") -> "Head":
        """Make a Gaussian head."""
        from galaxymill.tasks.numbers.head import GaussianHead

        return GaussianHead(features, settings.dropout)

    def report(self, data: "EvaluationData") -> "ReportContent":
        """Compare numbers and their intervals."""
        from galaxymill.tasks.numbers.report import report_numbers

        return report_numbers(data, self.name)

    def difference(self, one: Values, other: Values) -> float:
        """Largest difference of a mean, in standard deviations."""
        return float(np.abs((one - other)[..., 0] / one[..., 1]).max())

    def to_dict(self) -> dict[str, Any]:
        """Plain form: kind and name."""
        return {"kind": self.kind, "number": self.name}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], place: str) -> Self:
        """Build it from its plain form."""
        if not plain.get("number"):
            raise UserError(f"{place}: the number has no name; give key number")
        return cls(str(plain["number"]))


def mixture_quantile(mean: Floats, deviation: Floats, level: float) -> Floats:
    """Give a quantile, shape (n,), of an even mixture of Gaussians (n, S) by bisection."""
    # A dry run and every job of a cluster import tasks, and need no scipy.
    from scipy.special import ndtr

    low = (mean - 10 * deviation).min(axis=1)
    high = (mean + 10 * deviation).max(axis=1)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = ndtr((middle[:, None] - mean) / deviation).mean(axis=1) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    result: Floats = (low + high) / 2
    return result

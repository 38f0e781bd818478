"""What a release shows of a number: its mean, its standard deviation, its interval."""

from collections.abc import Mapping
from typing import Any

from galaxymill.tasks.released import Answer, ColumnGroup, Panel, ReleaseText

GAUSSIANS = ColumnGroup(
    "Gaussians", "mean and standard deviation, sample after sample", "stat.param"
)
_INTERVALS = ColumnGroup(
    "intervals of numbers", "5th and 95th percentile of the number", "stat.param"
)
GROUPS = {
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


def panels(name: str) -> list[Panel]:
    """Show the means, and the galaxies whose number is most surely low or high."""
    lowest = Answer(f"{name}_mean", "lowest", f"{name}_90pc-upper", lowest=True)
    highest = Answer(f"{name}_mean", "highest", f"{name}_90pc-lower")
    return [Panel(name, (lowest, highest), adds_up=False)]


def release_text(name: str) -> ReleaseText:
    """Describe the number and its errors."""
    return ReleaseText(
        f"the expected {name}, with its standard deviation and interval",
        {"number": name},
        (
            f"""The {name} of galaxies unlike those learned from (fainter, farther, smaller) is \
drawn towards the mean of the labels.""",
        ),
        lambda metrics: _figures(metrics, name),
    )


def _figures(metrics: Mapping[str, Any], name: str) -> str:
    """Say how far off the number is on galaxies kept for testing."""
    overall = metrics.get("overall") or {}
    if overall.get("rmse") is None:
        return ""
    constant = overall.get("baselines", {}).get("constant", {}).get("rmse")
    parts = [
        f"On {overall['n']} galaxies the model has not learned from the predicted {name} is off by "
        f"{overall['rmse']:.3g} (root mean square)"
    ]
    if constant is not None:
        parts.append(f"the mean of the labels would be off by {constant:.3g}")
    if overall.get("bias") is not None:
        parts.append(f"the mean error is {overall['bias']:+.2g}")
    if overall.get("coverage_90") is not None:
        parts.append(f"the 90 % intervals hold {overall['coverage_90']:.0%} of the true values")
    return "; ".join(parts) + "."

"""The machine and packages that made a release, and how long each stage took."""

import csv
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from galaxymill.paths import WORKFLOW


def environment() -> dict[str, Any]:
    """Describe what computes: Python, machine, packages, and the commit of this code if known."""
    packages = {found.name: found.version for found in distributions()}
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "git_commit": _commit(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def _commit() -> str | None:
    """Commit of the checkout that this code stands in; None for an installed package."""
    if not (WORKFLOW / ".git").exists():
        return None
    git = ["git", "-C", str(WORKFLOW)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return None
    changes = " with changes" if changed.stdout.strip() else ""
    return f"{commit.stdout.strip()}{changes}" if commit.returncode == 0 else None


def write_costs(benchmarks: Path, names: Mapping[str, Sequence[str]], out: Path) -> None:
    """Write ``costs.csv``: jobs, wall and CPU time and memory of each stage.

    ``names`` are patterns of each stage's files in the folder of its name below ``benchmarks``.
    """
    rows = []
    for stage, patterns in names.items():
        files = sorted(path for pattern in patterns for path in (benchmarks / stage).glob(pattern))
        runs = [run for path in files for run in read_benchmark(path)]
        if runs:
            wall, cpu = (sum(run[key] for run in runs) for key in ("s", "cpu_time"))
            memory = max(run["max_rss"] for run in runs)
            rows.append((stage, len(runs), f"{wall:.1f}", f"{cpu:.1f}", f"{memory:.0f}"))
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("stage", "jobs", "wall_s", "cpu_s", "max_rss_mb"))
        writer.writerows(rows)


def read_benchmark(path: Path) -> list[dict[str, float]]:
    """Read the runs of a benchmark; what Snakemake did not measure (a short job) is 0."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: _number(row.get(key)) for key in ("s", "cpu_time", "max_rss")}
            for row in csv.DictReader(file, delimiter="\t")
        ]


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0

"""Interesting galaxies: CPU seconds of a pass over many, and a race of methods that find them.

The race, on real galaxies, is in ``anomalies_race.py``.

    make bench-anomalies
"""

import sys
import tempfile
from pathlib import Path

from figures import SHORT, figure
from processes import apart, measure

GALAXIES = 20_000 if SHORT else 1_000_000


def write_rated_survey(folder: Path) -> None:
    """Write the features of a million galaxies, and ratings of 300."""
    from probe import write_survey

    values, _ = write_survey(folder)
    step = GALAXIES // 300
    rows = [f"galaxy{one},{5 * (values[one, 3] > 1)}\n" for one in range(0, step * 300, step)]
    (folder / "ratings.csv").write_text("object_id,rating\n" + "".join(rows))


def measure_pass(folder: Path) -> None:
    """Rate a million galaxies by 300 ratings, with the commands that the workflow runs."""
    apart(write_rated_survey, folder)
    program = Path(sys.executable).with_name("galaxymill")
    interest = folder / "odd" / "interest.yaml"
    words: list[object] = [program, "fit-interest", interest, "--ratings", folder / "ratings.csv"]
    words += ["--features", folder / "features.csv", "--space", folder / "space.yaml"]
    run = measure(words)
    figure("fit_seconds", run.cpu_s, f"CPU_s_of_{GALAXIES}_galaxies")
    words = [program, "rate-partition", folder / "part.parquet", "--interest", interest]
    run = measure([*words, "--out", folder / "rated.parquet"])
    figure("pass_of_1e7", run.cpu_s * 1e7 / GALAXIES, "CPU_s", at_most=120)
    figure("pass_peak_memory", run.peak_mb, "MB", at_most=1000)


def main() -> None:
    """Pass over many, then race: a child's peak starts at its parent's, which is small at first."""
    with tempfile.TemporaryDirectory() as folder:
        measure_pass(Path(folder))
    from anomalies_race import race

    race()


if __name__ == "__main__":
    main()

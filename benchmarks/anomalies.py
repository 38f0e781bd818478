"""Interesting galaxies: CPU seconds of a pass over many, and a race of methods that find them.

The race, on real galaxies, is in ``anomalies_race.py``.

    make bench-anomalies
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import SHORT, best_seconds, figure
from processes import apart, measure

from galaxymill.interest.choose import choose_batch
from galaxymill.interest.process import feature_scale, fit_process

GALAXIES = 20_000 if SHORT else 1_000_000
SHORTLIST = 2_000 if SHORT else 100_000
"""The best of the last pass and a random share, of however many galaxies."""


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


def measure_batch() -> None:
    """Learn from 300 ratings and choose the next thirty of a shortlist: what a rater waits for."""
    rng = np.random.default_rng(2)
    deviations = 4 * np.arange(1, 65) ** -0.5
    features = (rng.normal(size=(SHORTLIST, 64)) * deviations).astype(np.float16)
    ratings = 5.0 * (features[:300, 3] > 1)
    scale = feature_scale(deviations)

    def learn_and_choose() -> None:
        choose_batch(fit_process(features[:300], ratings, scale), features[300:], 30, rng)

    seconds = best_seconds(learn_and_choose, 3)
    figure("next_batch", seconds, f"CPU_s_of_{SHORTLIST}_galaxies", at_most=2)


def main() -> None:
    """Pass over many, then race: a child's peak starts at its parent's, which is small at first."""
    with tempfile.TemporaryDirectory() as folder:
        measure_pass(Path(folder))
    measure_batch()
    from anomalies_race import race

    race()


if __name__ == "__main__":
    main()

"""What a user waits for when nothing runs: partitioning, a plan, dry runs, the status.

The demo, and a survey of ten million galaxies in ten thousand partitions. Whole processes; the
products that a no-op rerun finds are empty files, recorded by Snakemake as it records any others.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from big_survey import write_objects
from figures import SHORT, figure
from processes import apart, measure

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PROGRAM = Path(sys.executable).with_name("galaxymill")
GALAXIES, PER_PARTITION = (20_000, 500) if SHORT else (10**7, 2350)
SURVEY = {
    "surveys": {
        "big": {
            "catalog": {"path": "catalog.csv", "petro_r50": "r50", "petro_r90": "r90"},
            "partitions": {"galaxies_per_partition": PER_PARTITION},
            "cutouts": {"service": "legacy", "pixel_scale": "gz_decals", "size": 424},
            "images": {"recipe": "decals", "size": 424},
        }
    },
    "labels": {
        "big": {"votes": "votes.parquet", "tree": "decals_dr5", "images": {"survey": "big"}}
    },
    "models": {"big": {"labels": "big", "train": {"encoder": "convnext_nano"}}},
    "predictions": {"big": {"survey": "big", "model": "big"}},
    "releases": {"big": {"predictions": "big"}},
}


def workflow(folder: Path) -> list[object]:
    """Words that name a workflow's files; a config there is used."""
    config = folder / "config.yaml"
    words: list[object] = ["-s", ROOT / "Snakefile", "-d", folder, "--cores", 2]
    return [*words, *(["--configfile", config] if config.exists() else [])]


def write_survey(folder: Path) -> Path:
    """Write the big survey's config and catalogue; give the latter."""
    folder.joinpath("config.yaml").write_text(yaml.safe_dump(SURVEY))
    for name in ("catalog.csv", "votes.parquet"):
        folder.joinpath(name).write_text("the user's file\n")
    objects = folder / "results/surveys/big/catalog/objects.parquet"
    objects.parent.mkdir(parents=True)
    apart(write_objects, objects, GALAXIES)
    return objects


def partition(objects: Path) -> int:
    """Partition, print its figures, give the number of partitions."""
    table = objects.with_name("partitions.csv")
    words: list[object] = [PROGRAM, "partition", objects, table]
    run = measure([*words, "--galaxies-per-partition", PER_PARTITION])
    figure("partition_ten_million", run.seconds, "s", at_most=120)
    figure("partition_ten_million_cpu", run.cpu_s, "cpu_s")
    figure("partition_ten_million_peak_memory", run.peak_mb, "MB", at_most=2000)
    parts = len(table.read_text().splitlines()) - 1
    figure("partitions", parts, "partitions")
    return parts


def dry_runs(folder: Path, name: str, words: Sequence[object]) -> str:
    """Print what a dry run takes; give what it printed."""
    run = measure([*SNAKEMAKE, "-n", *words, *workflow(folder)])
    figure(name, run.cpu_s, "cpu_s", at_most=45)
    figure(f"{name}_peak_memory", run.peak_mb, "MB", at_most=900)
    return run.printed


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as temporary:
        words = [*SNAKEMAKE, "-n", "-q", *workflow(Path(temporary))]
        seconds = min(measure(words).cpu_s for _ in range(1 if SHORT else 5))
        figure("dag_dry_run_demo", seconds, "cpu_s", at_most=3)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts = partition(write_survey(folder))
        # The file, not the target: that also reads the votes, of which there are none here.
        plan = "results/surveys/big/catalog/plan.txt"
        run = measure([*SNAKEMAKE, plan, *workflow(folder)])
        figure("plan", run.cpu_s, "cpu_s", at_most=45)
        figure("plan_peak_memory", run.peak_mb, "MB", at_most=900)
        dry_runs(folder, "dag_dry_run", [])
        printed = dry_runs(folder, "dag_dry_run_quiet", ["--quiet", "rules"])
        assert f"fetch_cutouts {parts:>12}" in printed, printed
        measure([sys.executable, ROOT / "benchmarks" / "finish.py", *workflow(folder)])
        printed = dry_runs(folder, "dag_no_op", [])
        assert "Nothing to be done" in printed, printed[-6000:]
        run = measure([PROGRAM, "status", folder / "results"])
        assert f"cutouts: {1000 * parts:,} ok" in run.printed, run.printed
        figure("status", run.cpu_s, "cpu_s", at_most=5)


if __name__ == "__main__":
    main()

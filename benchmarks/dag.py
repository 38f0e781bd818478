"""CPU seconds of a dry run of the demo, before anything is made: what a user waits for."""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import SHORT, figure

ROOT = Path(__file__).resolve().parents[1]


def dry_run(workdir: str) -> float:
    """Run `snakemake -n` and give its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        f"{ROOT}/Snakefile",
        "-d",
        workdir,
        "-n",
        "-q",
    ]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


with tempfile.TemporaryDirectory() as folder:
    seconds = min(dry_run(folder) for _ in range(1 if SHORT else 5))
figure("dag_dry_run_demo", seconds, "cpu_s", at_most=3)

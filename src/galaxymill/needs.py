"""What the job of a stage needs: memory from the size of its input, time from its galaxies.

Numbers are those of ``docs/BENCHMARKS.md`` with room, as two cores without a GPU take it: a
job that is killed costs more than one that ends early. Where there is a GPU, its libraries take
two gigabytes of memory beside it.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

SNAKEMAKE_MB = 400
"""Of two Snakemake processes, which start the command inside a job."""
_TRAINED_IMAGES_PER_SECOND = 200


def size_mb(files: Iterable[str]) -> float:
    """Size of files in megabytes; those that have yet to be made count nothing."""
    size = 0
    for file in files:
        with suppress(OSError):
            size += os.path.getsize(file)
    return size / 1e6


@dataclass(frozen=True)
class Linear:
    """A quantity that grows with each megabyte of input and each thousand galaxies of a job."""

    base: float
    per_mb: float = 0.0
    per_thousand: float = 0.0

    def of(self, files: Iterable[str], galaxies: float) -> float:
        """Quantity for these files and so many galaxies."""
        of_files = self.per_mb * size_mb(files) if self.per_mb else 0
        return self.base + of_files + self.per_thousand * galaxies / 1000


@dataclass(frozen=True)
class Need:
    """Memory of a job's command, and time; each attempt needs twice as much as the one before."""

    mb: Linear
    minutes: Linear

    def mem_mb(self, files: Iterable[str], galaxies: float, attempt: int) -> int:
        """Memory in megabytes, of Snakemake in the job too."""
        return SNAKEMAKE_MB + _grown(self.mb.of(files, galaxies), attempt)

    def runtime(self, files: Iterable[str], galaxies: float, attempt: int) -> int:
        """Time in minutes."""
        return _grown(self.minutes.of(files, galaxies), attempt)


def _grown(first: float, attempt: int) -> int:
    return ceil(first * 2.0 ** (attempt - 1))


NEEDS = {
    "download": Need(Linear(600), Linear(480)),
    "simulate": Need(Linear(1600, per_thousand=1), Linear(10, per_thousand=1)),
    "ingest": Need(Linear(1600, per_mb=4), Linear(15, per_mb=0.05)),
    "partition": Need(Linear(1600, per_mb=4), Linear(15, per_mb=0.05)),
    "plan": Need(Linear(600), Linear(10)),
    "render": Need(Linear(700, per_mb=0.1), Linear(15, per_thousand=5)),
    "labels": Need(Linear(1600, per_mb=6), Linear(30, per_mb=0.1)),
    "volunteers": Need(Linear(1500, per_mb=100), Linear(30, per_mb=2)),
    "evaluate": Need(Linear(3600), Linear(60, per_thousand=1)),
    "predict": Need(Linear(3600, per_mb=0.1), Linear(15, per_thousand=15)),
    "space": Need(Linear(3000, per_thousand=0.3), Linear(120, per_thousand=0.02)),
    "project": Need(Linear(900), Linear(10, per_thousand=0.1)),
    "map": Need(Linear(2000), Linear(60, per_mb=0.02)),
    "similar": Need(Linear(2000), Linear(30, per_thousand=0.001)),
    "probe": Need(Linear(1500, per_thousand=1), Linear(20)),
    "apply": Need(Linear(1500), Linear(10, per_thousand=0.1)),
    "interest": Need(Linear(1000), Linear(20, per_thousand=0.01)),
    "rate": Need(Linear(900), Linear(10, per_thousand=0.1)),
    "interesting": Need(Linear(1500), Linear(30, per_thousand=0.02)),
    "detectability": Need(Linear(1500), Linear(30, per_mb=0.02)),
    "release": Need(Linear(2600, per_thousand=0.2), Linear(30, per_thousand=0.1)),
    "explore": Need(Linear(1000, per_mb=0.1), Linear(15, per_thousand=1)),
    "explorer": Need(Linear(1000, per_thousand=0.1), Linear(30, per_thousand=0.05)),
    "choose": Need(Linear(1500, per_thousand=0.05), Linear(10, per_thousand=0.01)),
    "history": Need(Linear(1500, per_thousand=0.05), Linear(10, per_thousand=0.01)),
    "judge": Need(Linear(3600), Linear(60, per_thousand=1)),
    "write_subjects": Need(Linear(1000, per_thousand=0.3), Linear(30, per_thousand=0.01)),
}
"""By stage; those of fetching and training depend on settings, see below."""


def fetching(requests_per_second: float) -> Need:
    """Need of a job with this share of its host's rate; servers are often slower than that."""
    return Need(Linear(600), Linear(30, per_thousand=4 * 1000 / requests_per_second / 60))


def training(passes: int, processes: int, devices: int, cache_gb: float) -> Need:
    """Need of a training; its memory is that of one node.

    Parameters
    ----------
    passes : int
        Over all galaxies: epochs of every member.
    processes, devices : int
        That share the work, in all and on one node.
    cache_gb : float
        Decoded images that each process keeps.
    """
    minutes = passes * 1000 / _TRAINED_IMAGES_PER_SECOND / processes / 60
    return Need(Linear(devices * (3600 + 2048 * cache_gb)), Linear(60, per_thousand=minutes))

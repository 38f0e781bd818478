"""One stage of a survey: which of its partitions are done, running, failed, waiting."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from galaxymill.catalog.partition import Partition
from galaxymill.release.machine import read_benchmark
from galaxymill.status.locks import is_fresh, is_written
from galaxymill.status.logs import Progress, read_failure, read_progress, tail

_NEWEST = 100
"""So many of the newest jobs show how fast the next ones will be."""


@dataclass(frozen=True)
class Stage:
    """A stage of one survey, as people read it, and its folders with one file a partition."""

    name: str
    products: Path
    logs: Path
    benchmarks: Path


@dataclass(frozen=True)
class State:
    """How far a stage has come.

    Attributes
    ----------
    rows
        Galaxies of every partition.
    done
        When each finished product was written, in seconds since 1970.
    running
        Partitions that are being written, and what their logs say.
    failed
        Partitions that a job has left unfinished, and why.
    """

    stage: Stage
    rows: Mapping[str, int]
    done: Mapping[str, float]
    running: Mapping[str, Progress | None]
    failed: Mapping[str, str]

    @property
    def waiting(self) -> int:
        """Partitions that nobody has begun."""
        return len(self.rows) - len(self.done) - len(self.running) - len(self.failed)

    @property
    def galaxies(self) -> int:
        """Galaxies of finished partitions, and those that running jobs have behind them."""
        begun = sum(max(self.rows[part] - job.left, 0) for part, job in self.running.items() if job)
        return sum(self.rows[part] for part in self.done) + begun

    @cached_property
    def rate(self) -> float:
        """Galaxies a second of one job: of the newest that ended, else of those running; or 0."""
        newest = sorted(self.done, key=lambda part: self.done[part])[-_NEWEST:]
        times = {part: _seconds(self.stage.benchmarks / f"{part}.tsv") for part in newest}
        timed = {part: seconds for part, seconds in times.items() if seconds}
        if timed:
            return sum(self.rows[part] for part in timed) / sum(timed.values())
        rates = [progress.rate for progress in self.running.values() if progress]
        return sum(rates) / len(rates) if rates else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time that is left with as many jobs as run now, one at least; None when unknown."""
        left = sum(self.rows.values()) - self.galaxies
        if left and not self.rate:
            return None
        return left / (self.rate * max(len(self.running), 1)) if left else 0.0


def _seconds(benchmark: Path) -> float:
    """Wall time of the last run in one of Snakemake's benchmark files; 0 when there is none."""
    try:
        return read_benchmark(benchmark)[-1]["s"]
    except (OSError, ValueError, IndexError):
        return 0.0


def _times(folder: Path) -> dict[str, float]:
    """When each file of a folder was last written; nothing when there is no such folder."""
    times = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            # A temporary file may just have taken its place.
            with suppress(FileNotFoundError):
                times[entry.name] = entry.stat().st_mtime
    return times


def read_state(stage: Stage, partitions: Sequence[Partition]) -> State:
    """Look at the products, locks and logs of a stage, one folder each.

    A workflow may be running: what is written while this looks counts as it was or as it is.
    """
    products, logs = _times(stage.products), _times(stage.logs)
    rows = {partition.part: partition.n_rows for partition in partitions}
    done: dict[str, float] = {}
    running: dict[str, Progress | None] = {}
    failed: dict[str, str] = {}
    for part in rows:
        name, log = f"{part}.parquet", f"{part}.log"
        lock = f".{name}.lock"
        if lock in products and is_written(stage.products / lock, logs.get(log, 0.0)):
            running[part] = read_progress(tail(stage.logs / log))
        elif name in products:
            done[part] = products[name]
        elif log in logs:
            lines = tail(stage.logs / log)
            if not lines and is_fresh(logs[log]):
                # It has only just begun, and has no lock yet.
                running[part] = None
            else:
                failed[part] = read_failure(lines)
    return State(stage, rows, done, running, failed)

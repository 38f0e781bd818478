"""A working directory from which Snakemake submits jobs, and what SLURM says of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 900


def wait_for(what: Callable[[], Any], told: str) -> Any:
    """Wait until something is true, and give it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE_S} s for {told}")


def slurm(*words: str) -> str:
    """Ask SLURM, or tell it."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


@dataclass(frozen=True)
class Job:
    """A job as SLURM's accounting knows it."""

    id: str
    rule: str
    state: str
    partition: str
    node: str
    minutes: str
    memory: str
    start: str
    end: str
    resources: str


def jobs_of(run: str, rule: str = "") -> list[Job]:
    """Jobs of a run of Snakemake, in the order in which they were submitted."""
    columns = "JobIDRaw,Comment,State,Partition,NodeList,TimelimitRaw,ReqMem,Start,End,AllocTRES"
    told = slurm("sacct", "-X", "-n", "-P", "--name", run, "--format", columns)
    jobs = [Job(*line.split("|")) for line in told.splitlines()]
    return sorted((job for job in jobs if rule in job.rule), key=lambda job: int(job.id))


def run_id(printed: str) -> str:
    """Name of a run's jobs, from what Snakemake printed."""
    return printed.split("SLURM run ID: ")[1].split()[0]


def in_queue(state: str = "all") -> dict[str, str]:
    """Ids of our jobs that are not over, with what they are."""
    told = slurm("squeue", "--noheader", "--format=%j|%i|%T|%k")
    rows = [line.split("|") for line in told.splitlines()]
    ours = [row for row in rows if row[0].startswith("galaxymill_")]
    return {job: rule for _, job, now, rule in ours if state in ("all", now)}


@dataclass(frozen=True)
class Place:
    """A working directory, from which Snakemake submits jobs with the real profile."""

    snakefile: Path
    profile: Path
    folder: Path
    config: Path | None = None

    def _call(self, program: list[str], words: tuple[str, ...]) -> list[str]:
        call = [sys.executable, *program, *words, "-s", str(self.snakefile), "-d", str(self.folder)]
        return call + (["--configfile", str(self.config)] if self.config else [])

    def _submission(self, words: tuple[str, ...]) -> list[str]:
        profile = ("--workflow-profile", str(self.profile))
        return self._call([str(HERE / "fastpoll.py")], (*words, *profile))

    def locally(self, *words: str) -> str:
        """Run Snakemake on this machine to its end; give what it printed."""
        return ended(self._start(self._call(["-m", "snakemake"], words)))

    def submit(self, *words: str, code: int = 0) -> str:
        """Run Snakemake, which submits its jobs, to its end; give what it printed."""
        return ended(self._start(self._submission(words)), code)

    def galaxymill(self, *words: str) -> str:
        """Run a command of the package; give what it printed."""
        return ended(self._start([str(PROGRAMS / "galaxymill"), *words]))

    @contextmanager
    def begun(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start Snakemake, which submits its jobs; it does not outlive the block."""
        process = self._start(self._submission(words))
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _start(self, call: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            call,
            cwd=self.folder.parent,
            env={**os.environ, "PATH": os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As in a terminal: children of a background shell ignore it, and theirs.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def frozen(self, product: str) -> int:
        """Freeze the process that is writing a product, and give its number."""
        pid = wait_for(lambda: self._writer(product), f"a writer of {product}")
        os.kill(pid, signal.SIGSTOP)
        return pid

    def _writer(self, product: str) -> int | None:
        path = self.folder / product
        lock = path.with_name(f".{path.name}.lock")
        with suppress(OSError, ValueError):
            return int(json.loads(lock.read_text())["pid"])
        return None

    def assert_same(self, other: "Place", pattern: str) -> None:
        """Compare Parquet tables with those of another place, value by value."""
        ours, theirs = (sorted(place.folder.glob(pattern)) for place in (self, other))
        assert theirs
        for one, two in zip(ours, theirs, strict=True):
            assert one.relative_to(self.folder) == two.relative_to(other.folder)
            assert pq.read_table(one).equals(pq.read_table(two)), one


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the end of a process; give what it printed."""
    printed, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, printed[-8000:]
    return printed


def environment(pid: int) -> dict[str, str]:
    """Environment of a process."""
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)

"""Jobs that have lost their Snakemake: it was killed, and they go on."""

import getpass
import re
import socket
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from galaxymill.errors import UserError

PREFIX = "galaxymill"
"""What the names of our jobs begin with; ``slurm-jobname-prefix`` of the profile."""

_RUN = re.compile(PREFIX + r"_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HOST = re.compile(r"^\s*host: (\S+)$", re.IGNORECASE | re.MULTILINE)
_HEAD_LENGTH = 1_000_000
_PROCESSES = Path("/proc")
_PATIENCE_S = 60
# The folder comes last: it is the only one that may hold the separator.
_FIELDS = ("%j", "%i", "%T", "%k", "%Z")


class QueuedJob(NamedTuple):
    """A job that is not over, as SLURM lists it.

    ``run`` is the job's name, which is the id of the run of Snakemake that submitted it; ``state``
    is SLURM's word, such as ``RUNNING``; ``rule`` names rule and wildcards; Snakemake was started
    in ``folder``.
    """

    run: str
    id: str
    state: str
    rule: str
    folder: Path


@dataclass(frozen=True)
class Run:
    """A run of Snakemake, by what is left of it in the queue.

    ``id`` is the name of its jobs, of which there is at least one. It runs or ran on ``host``,
    empty when its log is not in the folder. ``alive`` says whether Snakemake still watches the
    jobs; None when that cannot be seen from here.
    """

    id: str
    jobs: tuple[QueuedJob, ...]
    host: str
    alive: bool | None

    def describe(self) -> str:
        """Say what became of the run, and list its jobs."""
        lines = [f"  {job.id} {job.state.lower()} {job.rule}" for job in self.jobs]
        return "\n".join([f"{self.id} is {self._state()}", *lines])

    def _state(self) -> str:
        folder = self.jobs[0].folder
        if self.alive:
            return f"alive: Snakemake in {folder} watches its jobs"
        if self.alive is False:
            return f"dead: Snakemake in {folder} is gone, its jobs go on"
        if self.host:
            return f"not seen from here: started in {folder} on {self.host}; ask there"
        return f"unknown: {folder} holds no log of it; `scancel --name {self.id}` if it is dead"


def orphans(cancel: bool = False) -> str:
    """Report every run that has jobs in the queue, and what to do next.

    With ``cancel``, the jobs of dead runs are cancelled. Raises `UserError` when there is no SLURM,
    or it does not answer.
    """
    runs = find_runs(_queued_jobs())
    if not runs:
        return "no jobs of Galaxymill are in the queue"
    dead = [run for run in runs if run.alive is False]
    if cancel:
        for run in dead:
            # By name, so that jobs are cancelled that it had yet to show.
            _run("scancel", "--user", getpass.getuser(), "--name", run.id)
    return "\n".join([*(run.describe() for run in runs), _advice(dead, cancel)])


def find_runs(jobs: Iterable[QueuedJob]) -> list[Run]:
    """Gather jobs by the run of Snakemake that submitted them; the jobs of others are left out."""
    ours = sorted((job for job in jobs if _RUN.fullmatch(job.run)), key=lambda job: job.run)
    return [_look_at(run, tuple(jobs)) for run, jobs in groupby(ours, key=lambda job: job.run)]


def _look_at(run: str, jobs: tuple[QueuedJob, ...]) -> Run:
    """Find a run's log, which names its machine, and whether a process has it open."""
    for log in sorted(jobs[0].folder.glob(".snakemake/log/*.snakemake.log"), reverse=True):
        head = _head(log)
        if run in head:
            found = _HOST.search(head)
            host = found[1] if found else ""
            here = host == socket.gethostname() and _PROCESSES.is_dir()
            return Run(run, jobs, host, _is_open(log) if here else None)
    return Run(run, jobs, "", None)


def _head(log: Path) -> str:
    """Beginning of a log, where Snakemake names its machine and the id of its run."""
    with suppress(OSError), log.open(encoding="utf-8", errors="replace") as file:
        return file.read(_HEAD_LENGTH)
    return ""


def _is_open(log: Path) -> bool:
    """Whether a process of this machine has a file open, as Snakemake has its log to its end."""
    path = log.resolve()
    for descriptor in _PROCESSES.glob("[0-9]*/fd/*"):
        # Processes end while they are looked at, and others' are closed to us.
        with suppress(OSError):
            if descriptor.readlink() == path:
                return True
    return False


def _advice(dead: list[Run], cancelled: bool) -> str:
    if not dead:
        return "no run is known to be dead: nothing to cancel"
    count = sum(len(run.jobs) for run in dead)
    orphaned = "1 orphaned job" if count == 1 else f"{count} orphaned jobs"
    then = "then, in the folder, `snakemake --unlock` and the same command again"
    if cancelled:
        return f"cancelled {orphaned}; {then}"
    return f"{orphaned}: `galaxymill cluster orphans --cancel` cancels them; {then}"


def _queued_jobs() -> list[QueuedJob]:
    """List the jobs of this user that are not over."""
    listed = _run(
        "squeue", "--noheader", "--user", getpass.getuser(), "--format", "|".join(_FIELDS)
    )
    rows = [line.split("|", len(_FIELDS) - 1) for line in listed.splitlines()]
    return [
        QueuedJob(run, id, state, _rule(comment), Path(folder))
        for run, id, state, comment, folder in rows
    ]


def _rule(comment: str) -> str:
    return comment.removeprefix("rule_").replace("_wildcards_", " ", 1)


def _run(*words: str) -> str:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except FileNotFoundError:
        raise UserError(
            f"{words[0]}: no such program: there is no SLURM here; run this on the machine of the "
            "cluster that you start Snakemake on"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{words[0]}: SLURM has not answered for {_PATIENCE_S} s; try again later, and see "
            "`scontrol ping`"
        ) from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"{words[0]}: SLURM refuses: {error.stderr.strip()}") from None
    return done.stdout

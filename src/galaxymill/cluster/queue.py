"""What SLURM tells of jobs, and what it is told."""

import getpass
import subprocess
from dataclasses import dataclass
from pathlib import Path

from galaxymill.errors import UserError

_PATIENCE_S = 60
# The folder comes last: it is the only one that may hold the separator.
_FIELDS = ("%j", "%i", "%T", "%k", "%Z")


@dataclass(frozen=True)
class QueuedJob:
    """A job that is not over.

    Attributes
    ----------
    run : str
        Id of the run of Snakemake that submitted it, which is the job's name.
    id : str
    state : str
        SLURM's word: ``RUNNING``, ``PENDING`` and others.
    rule : str
        Rule and wildcards.
    folder : Path
        Where Snakemake was started.
    """

    run: str
    id: str
    state: str
    rule: str
    folder: Path


def queued_jobs() -> list[QueuedJob]:
    """List the jobs of this user that are not over.

    Raises
    ------
    UserError
        When there is no SLURM, or it does not answer.
    """
    told = _ask("squeue", "--noheader", "--user", getpass.getuser(), "--format", "|".join(_FIELDS))
    rows = [line.split("|", len(_FIELDS) - 1) for line in told.splitlines()]
    return [
        QueuedJob(run, one, state, _rule(comment), Path(folder))
        for run, one, state, comment, folder in rows
    ]


def cancel_run(run: str) -> None:
    """Cancel every job of a run, also those that it had yet to show."""
    _ask("scancel", "--user", getpass.getuser(), "--name", run)


def _rule(comment: str) -> str:
    return comment.removeprefix("rule_").replace("_wildcards_", " ", 1)


def _ask(*words: str) -> str:
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

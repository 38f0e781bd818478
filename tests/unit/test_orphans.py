"""Orphans are told from jobs that are watched; SLURM is a script that says what we want."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from galaxymill.cli import app
from galaxymill.cluster.orphans import PREFIX, QueuedJob, find_runs, orphans
from galaxymill.errors import UserError

RUN = f"{PREFIX}_0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = f"{PREFIX}_7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Make commands of SLURM: each writes down how it is called, and prints what it is told."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def make(name, prints="", code=0):
        (programs / f"{name}.txt").write_text(prints)
        script = f'#!/bin/sh\necho "$@" >> {programs}/{name}.calls\ncat {programs}/{name}.txt\n'
        (programs / name).write_text(f"{script}exit {code}\n")
        (programs / name).chmod(0o755)
        return programs / f"{name}.calls"

    return make


def log_of(folder, run, host=None):
    """Write the beginning of a log as Snakemake does."""
    log = folder / ".snakemake/log/2026-01-01T000000.000000.snakemake.log"
    log.parent.mkdir(parents=True)
    host = socket.gethostname() if host is None else host
    log.write_text(f"SNAKEMAKE\n  Host: {host}\n\nBuilding DAG of jobs...\nSLURM run ID: {run}\n")
    return log


def line(run, job, folder, state="RUNNING"):
    return f"{run}|{job}|{state}|rule_predict_partition_wildcards_s_m_p{job}|{folder}\n"


def test_a_run_whose_log_nobody_has_open_is_dead(slurm, tmp_path):
    log_of(tmp_path, RUN)
    slurm("squeue", line(RUN, 1, tmp_path) + line(RUN, 2, tmp_path, "PENDING"))
    told = orphans()
    assert f"{RUN} is dead: Snakemake in {tmp_path} is gone" in told
    assert "  1 running predict_partition s_m_p1\n  2 pending predict_partition s_m_p2" in told
    assert "2 orphaned jobs: `galaxymill cluster orphans --cancel` cancels them" in told


def test_only_jobs_of_the_dead_are_cancelled(slurm, tmp_path):
    dead, alive = tmp_path / "a | b", tmp_path / "c"
    log_of(dead, RUN)
    slurm("squeue", line(RUN, 1, dead) + line(OTHER, 2, alive))
    calls = slurm("scancel")
    with log_of(alive, OTHER).open("a"):
        told = orphans(cancel=True)
    assert f"{OTHER} is alive" in told
    assert "cancelled 1 orphaned job; then, in the folder, `snakemake --unlock`" in told
    (call,) = calls.read_text().splitlines()
    assert call.endswith(f"--name {RUN}")


@pytest.mark.parametrize(
    ("host", "told"),
    [("far", "not seen from here: started in {} on far; ask there"), (None, "unknown: {} holds")],
)
def test_what_cannot_be_seen_is_never_cancelled(slurm, tmp_path, host, told):
    if host:
        log_of(tmp_path, RUN, host)
    slurm("squeue", line(RUN, 1, tmp_path))
    calls = slurm("scancel")
    assert told.format(tmp_path) in orphans(cancel=True)
    assert not calls.exists()


def test_jobs_of_others_are_left_alone():
    jobs = [
        QueuedJob(name, "1", "RUNNING", "", Path())
        for name in ("bash", "galaxymill", f"my_{RUN}", RUN.removeprefix(f"{PREFIX}_"))
    ]
    assert find_runs(jobs) == []


def test_an_empty_queue(slurm):
    slurm("squeue")
    assert orphans() == "no jobs of Galaxymill are in the queue"


def test_without_slurm_there_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="squeue: no such program: there is no SLURM here"):
        orphans()


def test_what_slurm_refuses_is_told(slurm):
    slurm("squeue", code=1)
    with pytest.raises(UserError, match="squeue: SLURM refuses"):
        orphans()


def test_help_says_what_the_command_does():
    done = CliRunner().invoke(app, ["cluster", "orphans", "--help"])
    assert done.exit_code == 0
    assert "never cancelled" in done.stdout

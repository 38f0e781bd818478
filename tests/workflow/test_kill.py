"""kill -9 of Snakemake in the middle of a stage, then a rerun: what it makes is the same.

Snakemake leaves its jobs running when it is killed. The job that is in the middle of its
product is frozen for a while, so that the rerun is sure to meet a living orphan.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs /proc to look at orphans"
)

PREDICTED = ["predictions/said", "embeddings/said", "releases/mini"]
# What is taken away so that the stage runs, where its lock is, and what is asked for.
STAGES = {
    "fetch": (
        ["surveys/mini/cutouts", "surveys/mini/images", "surveys/mini/images.csv"],
        "surveys/mini/cutouts",
        "images",
    ),
    "train": (["models/mini", "evaluations/mini"], "models/mini", "results/models/mini/model.yaml"),
    "predict": (PREDICTED, "predictions/said", "release"),
}
PATIENCE_S = 300


def _wait_for(what, told):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_S} s for {told}")


def _holder(folder):
    """Lock and process id of the first product that is being written in ``folder``."""
    for lock in folder.glob(".*.lock"):
        with suppress(OSError, ValueError, KeyError):
            pid = json.loads(lock.read_text())["pid"]
            # The product has been begun, not only asked for.
            if list(folder.glob(".*.tmp")) or "predict" in _words(pid):
                return lock, pid
    return None


def _words(pid):
    """Command line of a process; empty when there is none (a zombie has none either)."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return [word.decode() for word in words if word]
    return []


def _folder(pid):
    """Folder that a process works in; tests beside this one run the same command elsewhere."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink()
    return None


def _others(command, pid):
    """Processes with the same command line and folder: second writers of the same product."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [
        other
        for other in pids
        if other != pid and _words(other) == command and _folder(other) == _folder(pid)
    ]


@contextmanager
def _begun(mill, stage):
    """Start snakemake in a session of its own; nothing of it outlives the test."""
    with (mill.folder / "first.log").open("w") as log:
        process = subprocess.Popen(
            mill.command(STAGES[stage][2]),
            cwd=mill.folder,
            env=mill.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Jobs stay in the session's process group also when snakemake is gone.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _interrupted(mill, process, stage):
    """Freeze the job that is in the middle of its product, and kill snakemake alone."""
    folder = mill.folder / "results" / STAGES[stage][1]
    lock, pid = _wait_for(lambda: _holder(folder), f"a writer in {folder}")
    os.kill(pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    command = _words(pid)
    assert command, "the job did not outlive snakemake"
    assert Path(command[1]).name == "galaxymill"
    assert command[2] == stage
    return lock, pid, command


def _take_away(mill, stage):
    for place in STAGES[stage][0]:
        path = mill.folder / "results" / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _assert_same(mill, finished, stage):
    """Compare what the stage makes, and what the target makes of it, with an undisturbed run."""
    if stage == "train":
        ours, theirs = (one.files("models/mini/weights.safetensors")[0] for one in (mill, finished))
        assert ours.read_bytes() == theirs.read_bytes()
    elif stage == "fetch":
        _assert_same_tables(mill, finished, "surveys/mini/cutouts/*.parquet", ["fetched_at"])
        _assert_same_tables(mill, finished, "surveys/mini/images/*.parquet")
    else:
        _assert_same_tables(mill, finished, "predictions/said/*.parquet")
        _assert_same_tables(mill, finished, "releases/mini/*.parquet")


def _assert_same_tables(mill, finished, pattern, but=()):
    ours, theirs = mill.files(pattern), finished.files(pattern)
    assert theirs
    assert [path.name for path in ours] == [path.name for path in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert pq.read_table(one).drop(but).equals(pq.read_table(other).drop(but)), one.name


@pytest.mark.parametrize("stage", STAGES)
def test_a_rerun_beside_an_orphan_makes_the_same(working_copy, finished, stage):
    _take_away(working_copy, stage)
    with _begun(working_copy, stage) as process:
        lock, pid, command = _interrupted(working_copy, process, stage)
        assert working_copy.snakemake("--unlock").returncode == 0
        again = subprocess.Popen(
            working_copy.command(STAGES[stage][2]),
            cwd=working_copy.folder,
            env=working_copy.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            second = _wait_for(lambda: _others(command, pid), "a second writer")
            assert json.loads(lock.read_text())["pid"] == pid
            # Until it has started up and stands at the lock.
            time.sleep(3)
            assert _words(second[0]) == command, "the second writer did not wait"
            os.kill(pid, signal.SIGCONT)
            printed, _ = again.communicate(timeout=PATIENCE_S)
        finally:
            again.kill()
    assert again.returncode == 0, printed[-6000:]
    _assert_same(working_copy, finished, stage)
    assert working_copy.dry(STAGES[stage][2]) == {}
    left = {".lock", ".tmp", ".part"}
    assert not [path for path in working_copy.files("**/.*") if path.suffix in left]


def test_a_rerun_after_everything_was_killed_gives_the_same_release(working_copy, finished):
    stage = "predict"
    _take_away(working_copy, stage)
    with _begun(working_copy, stage) as process:
        folder = working_copy.folder / "results" / STAGES[stage][1]
        _, pid = _wait_for(lambda: _holder(folder), f"a writer in {folder}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait_for(lambda: not _words(pid), "the end of the job")
    assert working_copy.snakemake("--unlock").returncode == 0
    working_copy.finish("release")
    _assert_same(working_copy, finished, stage)
    assert working_copy.dry("release") == {}


def test_a_second_writer_is_refused_while_an_orphan_holds_the_lock(working_copy):
    stage = "fetch"
    _take_away(working_copy, stage)
    with _begun(working_copy, stage) as process:
        lock, pid, command = _interrupted(working_copy, process, stage)
        product = lock.parent / lock.name.removeprefix(".").removesuffix(".lock")
        done = working_copy.galaxymill(*command[2:], GALAXYMILL_LOCK_WAIT_S="1")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert product.name in done.stderr
        assert f"host {os.uname().nodename}, pid {pid}" in done.stderr
        assert "GALAXYMILL_LOCK_WAIT_S" in done.stderr
        assert not product.exists()
        assert lock.exists()

"""Several processes train one model: what one would have learned, and only the first writes it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from galaxymill.storage.atomic import exclusive

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from training_sets import FEW, TASKS, history, run, weights, write_images, write_votes

N = 42
HARD = {**FEW, "erase": 0.5, "drop_path": 0.1, "dropout": 0.3}
"""31 galaxies learn, in steps of 8: the last has 7, which two processes cannot share evenly."""

LOSS_RTOL, WEIGHTS_RTOL = 1e-4, 1e-3
"""One process and several differ by rounding. Losses of this set were within 1e-5, the norm of all
weights within 1.4e-4 after 8 epochs: Adam follows the sign of gradients that are all rounding."""

PROGRAM = Path(sys.executable).with_name("galaxymill")

FALLS = """
import os, signal
from galaxymill import cli
from galaxymill.training.learner import Learner

rank, epoch, how = os.environ["FALLS"].split()
real = Learner.training_step

def step(self, batch, index):
    if (self.global_rank, self.epoch) == (int(rank), int(epoch)):
        if how == "raise":
            raise ValueError("a bad step")
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch, index)

Learner.training_step = step
cli.main()
"""


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    votes = write_votes(folder / "votes.parquet", N, TASKS["votes"])
    return votes, write_images(folder / "images.parquet", N, group=8)


@pytest.fixture(scope="module")
def alone(sets, tmp_path_factory):
    """What one process learns."""
    return run(*sets, tmp_path_factory.mktemp("alone"), **HARD)


def start(sets, folder, settings, program=(PROGRAM,), **variables):
    votes, images = sets
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    options = ["--votes", votes, "--images", images, "--device", "cpu", "--threads", "2"]
    return subprocess.Popen(
        [*program, "train", folder / "model.yaml", *options, *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )


def ended(process):
    """Wait until all its processes have let go of the pipe; give the exit status and the log."""
    told = process.communicate(timeout=120)[1]
    return process.returncode, told


def start_by_srun(sets, folder):
    """Do what srun does, for two nodes of one device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "SLURM_JOB_ID": "4711",
        "SLURM_NTASKS": "2",
        "SLURM_NNODES": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_LOCALID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    settings = {**HARD, "nodes": 2}
    return [
        start(sets, folder, settings, **shared, SLURM_PROCID=str(rank), SLURM_NODEID=str(rank))
        for rank in range(2)
    ]


@pytest.fixture(scope="module")
def together(sets, tmp_path_factory):
    """What two processes of srun learn, and their logs."""
    folder = tmp_path_factory.mktemp("together")
    (status, first), (other_status, second) = map(ended, start_by_srun(sets, folder))
    assert (status, other_status) == (0, 0), first + second
    return folder, first, second


def assert_agree(one, other):
    for ours, theirs in zip(history(one), history(other), strict=True):
        assert ours["kept"] == theirs["kept"]
        assert ours["learning_rate"] == theirs["learning_rate"]
        for key in ("train_nll", "val_nll"):
            assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=LOSS_RTOL)
    ours, theirs = (
        torch.cat([v.flatten().double() for v in w.values()]) for w in map(weights, (one, other))
    )
    assert float((ours - theirs).norm()) < WEIGHTS_RTOL * float(ours.norm())


def test_two_learn_what_one_does(alone, together):
    folder, _, _ = together
    assert_agree(alone, folder)
    assert (folder / "model.yaml").read_text().count("devices") == 0


def test_only_the_first_writes_and_tells(together):
    folder, first, second = together
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["history.csv", "model.yaml", "weights.safetensors"]
    assert "train: on cpu in float32, 2 processes" in first
    assert "train: epoch 2" in first
    assert second == ""


def test_an_ensemble_that_is_streamed_learns_the_same(sets, tmp_path):
    """Lightning starts the second process by running the command again, once for both members."""
    given = {**HARD, "epochs": 2, "members": 2, "cache_gb": 0}
    status, told = ended(start(sets, tmp_path / "two", {**given, "devices": 2}))
    assert status == 0, told
    assert_agree(run(*sets, tmp_path / "one", **given), tmp_path / "two")


def falling(sets, folder, how):
    program = folder / "falls.py"
    program.write_text(FALLS)
    settings = {**HARD, "devices": 2}
    return ended(start(sets, folder / "model", settings, (sys.executable, program), FALLS=how))


def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(sets, together, tmp_path):
    status, told = falling(sets, tmp_path, "0 1 kill")
    assert status == -signal.SIGKILL
    assert "train: process 2 of 2" in told
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {".member-0.safetensors", ".model.yaml.lock"}
    status, told = ended(start(sets, tmp_path / "model", {**HARD, "devices": 2}))
    assert status == 0, told
    assert told.count("train: goes on after epoch 1") == 1
    ours, theirs = weights(tmp_path / "model"), weights(together[0])
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_failure_of_another_ends_the_first(sets, tmp_path):
    status, told = falling(sets, tmp_path, "1 1 raise")
    assert status not in (0, 2)
    assert "train: process 2 of 2 (" in told
    assert "has failed, and ends the others" in told
    assert told.count("Traceback") == 1
    assert "ValueError: a bad step" in told
    assert not (tmp_path / "model" / "model.yaml").exists()


def test_all_end_when_an_orphan_has_made_the_model(sets, together):
    folder, _, _ = together
    stamp = (folder / "model.yaml").stat().st_mtime_ns
    with exclusive(folder / "model.yaml"):
        first, second = start_by_srun(sets, folder)
        deadline = time.monotonic() + 60
        while "waiting" not in first.stderr.readline():
            assert time.monotonic() < deadline
    assert ended(second) == (0, "")
    status, told = ended(first)
    assert status == 0
    assert "another process has just made" in told
    assert (folder / "model.yaml").stat().st_mtime_ns == stamp

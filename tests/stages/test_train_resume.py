"""Training is a pure function: of its seed, wherever it is killed."""

import csv
import shutil
import sys
from pathlib import Path

import pytest
import torch

from galaxymill.training import loop
from galaxymill.training.learner import Learner

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from training_sets import (
    TASKS,
    history,
    run,
    weights,
    without_times,
    write_images,
    write_votes,
)

N = 40
EPOCHS = 3
HARD = {"erase": 0.5, "drop_path": 0.1, "dropout": 0.3, "epochs": EPOCHS}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    votes = write_votes(folder / "votes.parquet", N, TASKS["votes"])
    return votes, write_images(folder / "images.parquet", N)


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    return run(*sets, tmp_path_factory.mktemp("whole"), **HARD)


def same_weights(one, other):
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


class Killed(Exception):
    """Stands for a signal."""


def run_killed(sets, folder, epochs_done, monkeypatch, **given):
    """Train until the end of an epoch and fall over; the checkpoint stays."""
    real = loop._after_epoch

    def falling(learner, *others):
        after = real(learner, *others)

        def then():
            after()
            if learner.epoch == epochs_done:
                raise Killed

        return then

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_after_epoch", falling)
        with pytest.raises(Killed):
            run(*sets, folder, **{**HARD, **given})
    assert (folder / ".member-0.safetensors").is_file()
    assert not (folder / "model.yaml").exists()


def test_the_same_seed_is_the_same_model(sets, whole, tmp_path):
    again = run(*sets, tmp_path, **HARD)
    assert (again / "weights.safetensors").read_bytes() == (
        whole / "weights.safetensors"
    ).read_bytes()
    assert (again / "model.yaml").read_bytes() == (whole / "model.yaml").read_bytes()


def test_another_seed_is_another_model(sets, whole, tmp_path):
    assert not same_weights(run(*sets, tmp_path, **HARD, seed=2), whole)


@pytest.mark.parametrize("epochs_done", range(1, EPOCHS + 1))
def test_a_killed_training_ends_as_one_that_was_not(
    sets, whole, tmp_path, monkeypatch, caplog, epochs_done
):
    run_killed(sets, tmp_path, epochs_done, monkeypatch)
    with caplog.at_level("INFO", logger="galaxymill"):
        run(*sets, tmp_path, **HARD)
    assert f"train: goes on after epoch {epochs_done}" in caplog.text
    assert same_weights(tmp_path, whole)
    assert without_times(history(tmp_path)) == without_times(history(whole))
    assert not list(tmp_path.glob(".member*"))


@pytest.mark.parametrize("given", [{"ema": 0}, {"cache_gb": 0}], ids=["no average", "streamed"])
def test_so_does_any_other_training(sets, tmp_path, monkeypatch, given):
    run_killed(sets, tmp_path / "killed", 1, monkeypatch, **given)
    run(*sets, tmp_path / "killed", **{**HARD, **given})
    run(*sets, tmp_path / "whole", **{**HARD, **given})
    assert same_weights(tmp_path / "killed", tmp_path / "whole")


def test_another_request_s_checkpoint_is_not_used(sets, tmp_path, monkeypatch, caplog):
    run_killed(sets, tmp_path, 2, monkeypatch, seed=7)
    with caplog.at_level("INFO", logger="galaxymill"):
        run(*sets, tmp_path, **{**HARD, "epochs": 1})
    assert "goes on" not in caplog.text
    assert len(history(tmp_path)) == 1


def test_a_truncated_checkpoint_is_not_used(sets, whole, tmp_path, monkeypatch, caplog):
    run_killed(sets, tmp_path, 2, monkeypatch)
    checkpoint = tmp_path / ".member-0.safetensors"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: len(content) // 2])
    with caplog.at_level("INFO", logger="galaxymill"):
        run(*sets, tmp_path, **HARD)
    assert "goes on" not in caplog.text
    assert same_weights(tmp_path, whole)


def test_an_ensemble_goes_on_at_its_member(sets, tmp_path, monkeypatch):
    given = {**HARD, "members": 2, "epochs": 1}
    real, calls = loop.fit, []

    def second_falls(*args):
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fit", second_falls)
        with pytest.raises(Killed):
            run(*sets, tmp_path / "killed", **given)
    run(*sets, tmp_path / "killed", **given)
    run(*sets, tmp_path / "whole", **given)
    assert same_weights(tmp_path / "killed", tmp_path / "whole")


def test_validation_is_the_same_whatever_the_epoch(sets, tmp_path, monkeypatch):
    """With a rate of next to nothing, only augmentation could change what validation says."""
    seen = []
    real = Learner.validation_step

    def spy(self, batch, index):
        real(self, batch, index)
        seen.append(self._validated[-1][0])

    monkeypatch.setattr(Learner, "validation_step", spy)
    run(
        *(*sets, tmp_path),
        **{**HARD, "encoder": "test_efficientnet_gn", "learning_rate": 1e-30, "batch_size": 64},
    )
    assert len(seen) == EPOCHS
    assert all(torch.equal(seen[0], later) for later in seen)


def test_patience_ends_training_and_the_best_epoch_is_kept(sets, tmp_path, monkeypatch):
    told = iter([3.0, 1.0, 2.0, 1.5, 0.5, 0.4])
    monkeypatch.setattr(Learner, "_validation_nll", lambda _: next(told))
    averages = []
    real = loop._after_epoch

    def noting(learner, *others):
        after = real(learner, *others)

        def then():
            averages.append({k: v.clone() for k, v in learner.average.state_dict().items()})
            after()

        return then

    monkeypatch.setattr(loop, "_after_epoch", noting)
    out = run(*sets, tmp_path, epochs=6, patience=2, calibrate=False)
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["kept"] for row in rows] == ["True", "True", "False", "False"]
    kept = weights(out)
    assert all(torch.equal(kept[f"0.{name}"], value) for name, value in averages[1].items())
    assert any(not torch.equal(kept[f"0.{name}"], value) for name, value in averages[3].items())


def test_a_finished_checkpoint_needs_no_more_epochs(sets, whole, tmp_path, monkeypatch):
    """Killed between the last epoch and the model."""
    run_killed(sets, tmp_path / "a", EPOCHS, monkeypatch)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(loop.Machine, "trainer", None)
    assert same_weights(run(*sets, tmp_path / "b", **HARD), whole)

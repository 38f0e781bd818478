"""A training that has diverged stops at once, says where to look, and spoils nothing later."""

import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import load_networks
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.training.learner import Learner

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from test_train_parallel import ended, start, start_by_srun
from training_sets import FEW, TASKS, brightness, history, run, weights, write_images, write_votes

N = 32
QUICK = {"encoder": "test_efficientnet_gn", "epochs": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def images(place):
    return write_images(place / "images.parquet", N)


@pytest.fixture(scope="module")
def votes(place):
    return write_votes(place / "votes.parquet", N, TASKS["votes"])


def write_numbers(path, values):
    schema = products.votes(TASKS["number"], with_positions=False)
    rows = [
        {
            "object_id": f"g{row:03d}",
            "redshift": float(value),
            "split": split,
        }
        for row, (value, split) in enumerate(zip(values, cycle(["train", "val"]), strict=False))
    ]
    origin = Origin("labels", {"task": TASKS["number"].to_dict()})
    write_product(path, pa.Table.from_pylist(rows, schema), origin, schema)
    return path


@pytest.mark.parametrize("given", [{}, {"cache_gb": 0}, {"precision": "bf16"}, {"ema": 0}])
def test_a_label_that_float32_cannot_hold_is_named(images, tmp_path, given):
    values = np.full(N, 1.5e38)
    values[8] = 1e40
    numbers = write_numbers(tmp_path / "numbers.parquet", values)
    with pytest.raises(UserError) as refused:
        run(numbers, images, tmp_path / "out", **{**QUICK, **given})
    told = str(refused.value)
    assert "the loss is not finite (nan) in epoch 0, step 0 of 4, at learning rate 0.001" in told
    assert "Labels go from 1.5e+38 (galaxy g000) to inf (galaxy g008)" in told
    assert "logarithms" in told
    assert not list((tmp_path / "out").glob("*model*"))


@pytest.mark.parametrize("unit", [1e36, 1e20, 1e-26])
def test_the_unit_of_a_number_does_not_matter(images, tmp_path, unit):
    """A luminosity in watt or a flux in W/m²/Hz is learned as a number around 1 is."""
    bright = brightness(N)
    told = {}
    for name, factor in (("plain", 1.0), ("scaled", unit)):
        numbers = write_numbers(tmp_path / f"{name}.parquet", factor * bright)
        out = run(numbers, images, tmp_path / name, **QUICK)
        pictures = pq.read_table(images)
        files = [image["bytes"] for image in pictures["image"].to_pylist()]
        predictor = Predictor.load(out, PredictSettings(samples=2, device="cpu"))
        told[name] = predictor.predict(pictures["object_id"].to_pylist(), files)[0]
        shift = np.log(factor)
        losses = [float(row["val_nll"]) - shift for row in history(out)]
        assert losses == pytest.approx(told.setdefault("losses", losses), abs=1e-3)
    np.testing.assert_allclose(told["scaled"] / unit, told["plain"], rtol=1e-3)


EXPLODES = {"learning_rate": 1e10, "epochs": 9}
DIVERGES = [{}, {"ema": 0}, {"precision": "bf16"}, {"members": 2}, {"folds": 2}]


@pytest.mark.parametrize("given", DIVERGES, ids=str)
def test_a_rate_that_explodes_stops_training(images, votes, tmp_path, given):
    with pytest.raises(UserError, match="not finite") as refused:
        run(
            votes,
            images,
            tmp_path / "out",
            **{**QUICK, **given, "learning_rate": 1e10, "epochs": 9},
        )
    assert "Give a smaller learning_rate than 1e+10" in str(refused.value)
    assert not (tmp_path / "out" / "model.yaml").exists()


def test_a_frozen_encoder_with_a_head_that_explodes(images, votes, tmp_path):
    base = run(votes, images, tmp_path / "base", **QUICK)
    given = {**QUICK, "epochs": 9, "trainable": "head", "weights": str(base / "model.yaml")}
    with pytest.raises(UserError, match=r"not finite .* at learning rate"):
        run(votes, images, tmp_path / "out", **given, learning_rate=1e10)


def test_what_the_last_step_spoils_is_not_kept(images, votes, tmp_path, monkeypatch):
    """The loss of the last step was still finite; without validation nobody else would look."""
    real = Learner.on_train_batch_end

    def spoil(self, outputs, batch, index):
        if self._step + 1 == self._steps:
            self.network.head.linear.bias.data[0] = torch.nan
        real(self, outputs, batch, index)

    monkeypatch.setattr(Learner, "on_train_batch_end", spoil)
    alone = write_votes(tmp_path / "votes.parquet", N, TASKS["votes"], val_every=0)
    with pytest.raises(
        UserError, match=r"weight head\.linear\.bias is not finite \(nan\) in epoch 1"
    ):
        run(alone, images, tmp_path / "out", **QUICK)
    kept = load_file(tmp_path / "out" / ".member-0.safetensors")
    assert all(value.isfinite().all() for value in kept.values())
    # What was kept before is sound: the training goes on from there.
    monkeypatch.undo()
    assert len(history(run(alone, images, tmp_path / "out", **QUICK))) == 2


def test_a_checkpoint_that_is_not_finite_is_not_gone_on_from(images, votes, tmp_path, monkeypatch):
    monkeypatch.setattr("galaxymill.training.train._write", None)
    with pytest.raises(TypeError):
        run(votes, images, tmp_path, **QUICK)
    monkeypatch.undo()
    path = tmp_path / ".member-0.safetensors"
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        note = file.metadata()
    tensors = load_file(path)
    next(value for name, value in tensors.items() if "weight" in name)[:] = torch.nan
    save_file(tensors, path, note)
    out = run(votes, images, tmp_path, **QUICK)
    assert all(value.isfinite().all() for value in weights(out).values())


def test_every_process_stops_and_the_first_one_says_why(votes, images, tmp_path):
    settings = {**FEW, **QUICK, **EXPLODES, "devices": 2}
    status, told = ended(start((votes, images), tmp_path, settings))
    assert status == 2, told
    assert told.count("not finite") == 1
    assert "Traceback" not in told


def test_so_do_those_of_srun(images, tmp_path, monkeypatch):
    numbers = write_numbers(tmp_path / "numbers.parquet", np.full(N, 1e40))
    (status, first), (other, second) = map(ended, start_by_srun((numbers, images), tmp_path))
    assert (status, other) == (2, 0), first + second
    assert "the loss is not finite" in first
    assert "Traceback" not in first + second


def spoil(folder, value):
    """Put a number into the weights, and have the card name them as they are now."""
    file = folder / "weights.safetensors"
    tensors = load_file(file)
    tensors["0.head.linear.weight"][0, 0] = value
    save_file(tensors, file)
    card = yaml.safe_load((folder / "model.yaml").read_text())
    card["weights_sha256"] = sha256_file(file)
    (folder / "model.yaml").write_text(yaml.safe_dump(card))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_model_that_is_not_finite_is_refused(images, votes, tmp_path, value):
    out = run(votes, images, tmp_path, **{**QUICK, "epochs": 1})
    spoil(out, value)
    told = r"weights\.safetensors: 0\.head\.linear\.weight holds NaN or infinity"
    with pytest.raises(UserError, match=told):
        load_networks(out / "model.yaml")
    with pytest.raises(UserError, match=told):
        run(votes, images, tmp_path / "next", **QUICK, weights=str(out / "model.yaml"))


def test_an_encoder_that_is_not_finite_is_refused(images, votes, tmp_path):
    folder = tmp_path / "published"
    encoder = timm.create_model("test_resnet", num_classes=3)
    encoder.conv1[0].weight.data[0] = torch.inf
    save_for_hf(encoder, folder, safe_serialization=True)
    given = {"encoder": f"local-dir:{folder}", "weights": "published"}
    with pytest.raises(UserError, match=r"model\.safetensors: conv1\.0\.weight holds NaN"):
        run(votes, images, tmp_path / "out", **given)


def test_finite_weights_whose_outputs_are_not_predict_nothing(images, votes, tmp_path):
    out = run(votes, images, tmp_path, **{**QUICK, "epochs": 1})
    file = out / "weights.safetensors"
    tensors = load_file(file)
    tensors["0.head.log_scale"][:] = 1e4
    save_file(tensors, file)
    spoil(out, 0.0)
    pictures = pq.read_table(images)
    files = [image["bytes"] for image in pictures["image"].to_pylist()]
    predictor = Predictor.load(out, PredictSettings(samples=2, device="cpu"))
    with pytest.raises(UserError, match="g000: the model's outputs are not finite"):
        predictor.predict(pictures["object_id"].to_pylist(), files)

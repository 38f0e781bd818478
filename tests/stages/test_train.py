"""Training learns what there is to learn, from every kind of label, and writes it whole."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from timm.models import save_for_hf

from galaxymill.errors import UserError
from galaxymill.inference.engine import Engine
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import load_networks, read_card
from galaxymill.training.optimiser import stages

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from training_sets import (
    TASKS,
    brightness,
    history,
    run,
    tree,
    weights,
    write_images,
    write_votes,
)

from galaxymill.tasks import VoteTask

N = 64
LEARN = {"epochs": 8, "learning_rate": 5e-3, "ema": 0.8, "dropout": 0.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def images(place):
    return write_images(place / "images.parquet", N)


@pytest.fixture(scope="module")
def votes(place):
    return {kind: write_votes(place / f"{kind}.parquet", N, task) for kind, task in TASKS.items()}


@pytest.fixture(scope="module")
def model(place, images, votes):
    return run(votes["votes"], images, place / "model", members=2, epochs=2)


def pictures(images):
    table = pq.read_table(images)
    return table["object_id"].to_pylist(), [row["bytes"] for row in table["image"].to_pylist()]


def test_what_is_written(model):
    assert sorted(path.name for path in model.iterdir()) == [
        "history.csv",
        "model.yaml",
        "weights.safetensors",
    ]
    rows = history(model)
    assert [(row["member"], row["epoch"]) for row in rows] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
    ]
    assert all(np.isfinite(float(row[key])) for row in rows for key in ("train_nll", "val_nll"))
    assert all("True" in {row["kept"] for row in rows if row["member"] == m} for m in "01")
    card = read_card(model / "model.yaml")
    assert card.counts == {"train": 48, "val": 16, "test": 0}


def test_an_ensemble_predicts_as_its_members_together(model, images):
    ids, files = pictures(images)
    settings = PredictSettings(samples=3, device="cpu")
    whole = Predictor.load(model, settings)
    drawn, embedded = whole.predict(ids, files)
    assert drawn.shape == (N, 6, 5)
    twice = PredictSettings(samples=6, device="cpu")
    single = [Predictor([net], whole.card, twice, whole.engine) for net in whole.networks]
    apart = [one.predict(ids, files) for one in single]
    np.testing.assert_allclose(drawn[:, :3], apart[0][0][:, :3], rtol=1e-5)
    np.testing.assert_allclose(drawn[:, 3:], apart[1][0][:, 3:], rtol=1e-5)
    np.testing.assert_allclose(embedded, apart[0][1], atol=1e-6)
    other = settings.model_copy(update={"member": 2})
    second = Predictor(whole.networks, whole.card, other, whole.engine)
    np.testing.assert_allclose(second.predict(ids, files)[1], apart[1][1], atol=1e-6)
    assert not np.allclose(drawn[:, :3], drawn[:, 3:])


def test_one_byte_of_the_weights_is_missed(model, tmp_path):
    for name in ("model.yaml", "weights.safetensors"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    with (tmp_path / "weights.safetensors").open("r+b") as file:
        file.seek(-10, 2)
        old = file.read(1)
        file.seek(-10, 2)
        file.write(bytes([old[0] ^ 1]))
    with pytest.raises(UserError, match="not the weights that"):
        load_networks(tmp_path / "model.yaml")


def test_an_encoder_from_a_folder_outlives_the_folder(place, images, votes, tmp_path):
    folder = tmp_path / "published"
    save_for_hf(timm.create_model("test_resnet", num_classes=3), folder, safe_serialization=True)
    out = run(
        votes["votes"],
        images,
        tmp_path / "out",
        encoder=f"local-dir:{folder}",
        weights="published",
        epochs=1,
    )
    ids, files = pictures(images)
    before = Predictor.load(out, PredictSettings(samples=2, device="cpu")).predict(
        ids[:3], files[:3]
    )
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    after = Predictor.load(out, PredictSettings(samples=2, device="cpu")).predict(
        ids[:3], files[:3]
    )
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", TASKS)
def test_each_kind_of_label_is_learned(place, images, votes, kind):
    out = run(votes[kind], images, place / f"learned-{kind}", **LEARN)
    ids, files = pictures(images)
    drawn, _ = Predictor.load(out, PredictSettings(samples=1, device="cpu")).predict(ids, files)
    bright, told = brightness(N), drawn[:, 0, 0]
    if kind == "votes":
        told = drawn[:, 0, 0] / drawn[:, 0, :3].sum(1)
    val = np.arange(N) % 4 == 0
    if kind == "class":
        assert ((told > 0.5) == (bright > 0.5))[val].mean() > 0.75
        np.testing.assert_allclose(drawn.sum(2), 1, rtol=1e-5)
        return
    truth = 10 * bright if kind == "number" else 0.95 * bright
    constant = np.sqrt(np.mean((truth[val] - truth[~val].mean()) ** 2))
    assert np.sqrt(np.mean((told[val] - truth[val]) ** 2)) < 0.6 * constant


def test_a_joint_model_learns_both_trees(place, images, votes):
    other = VoteTask(tree("deep"))
    more = write_images(place / "deep.parquet", N, "d", seed=2)
    deep = write_votes(place / "deep-votes.parquet", N, other, "d", seed=2)
    out = run([votes["votes"], deep], [images, more], place / "joint", **LEARN)
    card = read_card(out / "model.yaml")
    assert [q.name for q in card.task.tree.questions] == [
        "shape-toy",
        "bar-toy",
        "shape-deep",
        "bar-deep",
    ]
    for source, seed in ((images, 1), (more, 2)):
        ids, files = pictures(source)
        drawn = Predictor.load(out, PredictSettings(samples=1, device="cpu")).predict(ids, files)[
            0
        ][:, 0]
        for start in (0, 5):
            told = drawn[:, start] / drawn[:, start : start + 3].sum(1)
            assert np.corrcoef(told, brightness(N, seed))[0, 1] > 0.7


def test_votes_of_another_tree_give_no_gradient(place, images, votes):
    (network,), _ = load_networks(
        run(votes["votes"], images, place / "one", epochs=1) / "model.yaml"
    )
    outputs = network(torch.zeros(2, 3, 32, 32)).detach().requires_grad_()
    labels = torch.tensor([[3.0, 1, 0, 0, 0], [0, 0, 0, 2, 1]])
    network.head.loss(outputs, labels).sum().backward()
    assert outputs.grad[0, 3:].abs().max() == 0
    assert outputs.grad[1, :3].abs().max() == 0
    assert outputs.grad[0, :3].abs().min() > 0


def test_galaxies_without_a_fit_image_are_left_out_and_counted(place, votes, tmp_path, caplog):
    some = write_images(tmp_path / "images.parquet", N, unfit=(1, 2, 4))
    with caplog.at_level("INFO", logger="galaxymill"):
        out = run(votes["votes"], some, tmp_path / "out", epochs=1)
    assert "train: train: 48 galaxies, 46 with a fit image" in caplog.text
    assert "train: val: 16 galaxies, 15 with a fit image" in caplog.text
    assert read_card(out / "model.yaml").counts == {"train": 46, "val": 15, "test": 0}


@pytest.mark.parametrize("cache_gb", [1, 0])
def test_a_flag_that_is_allowed_gives_no_image_to_those_without(votes, tmp_path, cache_gb):
    some = write_images(tmp_path / "images.parquet", N, unfit=(1, 2, 4))
    out = run(votes["votes"], some, tmp_path / "out", epochs=1, unfit=[], cache_gb=cache_gb)
    assert read_card(out / "model.yaml").counts == {"train": 46, "val": 15, "test": 0}


def test_the_rate_warms_up_and_falls(images, votes, tmp_path):
    """The last of 6 steps of each of 3 epochs: 5 of 18 rise, 13 follow half a cosine."""
    out = run(votes["votes"], images, tmp_path, warm_up=0.28, learning_rate=0.01)
    told = [float(row["learning_rate"]) for row in history(out)]
    expected = [0.01 * np.cos(np.pi / 2 * (step - 5) / 13) ** 2 for step in (5, 11, 17)]
    np.testing.assert_allclose(told, expected, rtol=1e-9)


def test_nothing_to_learn_from_is_refused(place, votes, tmp_path):
    strangers = write_images(tmp_path / "images.parquet", 4, "stranger")
    with pytest.raises(UserError) as refusal:
        run(votes["votes"], strangers, tmp_path / "out")
    assert "0 of 64 labelled galaxies can be learned from" in str(refusal.value)
    told = "64 of 64 are in no images product: check that object_id is the same in both, e.g. g000"
    assert told in str(refusal.value)


def test_what_has_no_image_is_told_with_its_reason(votes, tmp_path):
    reason = "a JPEG or PNG has its colours already: use recipe passthrough"
    lost = write_images(tmp_path / "images.parquet", N, unfit=range(N), reason=reason)
    told = f"64 of 64 images are invalid_payload: {reason}, e.g. g000, g001, g002, ..."
    with pytest.raises(UserError) as refusal:
        run(votes["votes"], lost, tmp_path / "out")
    assert told in str(refusal.value)


def test_cuda_without_a_gpu_is_refused(images, votes, model, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = PredictSettings(device="cuda")
    with pytest.raises(UserError, match="device: cuda, but "):
        run(votes["votes"], images, tmp_path, device="cuda")
    assert not list(tmp_path.glob("*"))
    with pytest.raises(UserError, match="device: cuda, but "):
        Predictor.load(model, settings)
    with pytest.raises(UserError, match="device: cuda, but "):
        Engine.choose(settings, 1)


def start_and_end(model, place, images, votes, **given):
    out = run(
        votes["votes"], images, place, weights=str(model / "model.yaml"), epochs=1, ema=0, **given
    )
    before, after = weights(model), weights(out)
    return {
        name: torch.equal(before[name], after[name]) for name in after if name.startswith("0.enc")
    }


def test_the_head_alone_leaves_the_encoder_bit_by_bit(model, images, votes, tmp_path):
    same = start_and_end(model, tmp_path, images, votes, trainable="head")
    assert all(same.values())
    assert any("running_mean" in name for name in same)


def test_one_stage_changes_that_stage_only(model, images, votes, tmp_path):
    same = start_and_end(model, tmp_path, images, votes, trainable=1)
    encoder = timm.create_model("test_efficientnet", num_classes=0)
    numbers = stages(encoder)
    last = {name for name, number in numbers.items() if number == max(numbers.values())}
    # Its batch statistics follow.
    modules = {name.rpartition(".")[0] for name in last}
    changed = {name.removeprefix("0.encoder.") for name, equal in same.items() if not equal}
    assert changed >= last
    assert {name.rpartition(".")[0] for name in changed} == modules


def test_streaming_learns_as_well(images, votes, tmp_path, caplog):
    with caplog.at_level("INFO", logger="galaxymill"):
        out = run(votes["votes"], images, tmp_path, cache_gb=0)
    assert "they are streamed" in caplog.text
    assert all(np.isfinite(float(row["val_nll"])) for row in history(out))


def test_without_an_average_and_without_validation(images, place, tmp_path):
    all_train = write_votes(tmp_path / "v.parquet", N, TASKS["votes"], val_every=0)
    out = run(all_train, images, tmp_path / "out", ema=0, epochs=2)
    rows = history(out)
    assert [row["val_nll"] for row in rows] == ["", ""]
    assert [row["kept"] for row in rows] == ["True", "True"]
    assert len(load_networks(out / "model.yaml")[0]) == 1

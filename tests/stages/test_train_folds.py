"""Cross-validation: every galaxy is judged by the one network that has not learned from it."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from galaxymill.errors import UserError
from galaxymill.evaluation.evaluate import evaluate
from galaxymill.inference.engine import Engine
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.table import read_votes
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import load_networks, read_card
from galaxymill.splits import assign_folds
from galaxymill.tasks.calibrate import fit_log_scale, mixture_nll
from galaxymill.training import train as stage

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from training_sets import TASKS, history, run, write_images, write_votes

N, FOLDS = 40, 3
PREDICTING = PredictSettings(samples=5, device="cpu")
LEARN = {"encoder": "test_efficientnet_gn", "epochs": 2, "folds": FOLDS}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    votes = write_votes(folder / "votes.parquet", N, TASKS["votes"], val_every=0)
    return votes, write_images(folder / "images.parquet", N, unfit=[3])


@pytest.fixture(scope="module")
def model(sets, tmp_path_factory):
    return run(*sets, tmp_path_factory.mktemp("model"), **LEARN)


@pytest.fixture(scope="module")
def labelled(sets):
    """Names, images, labels and folds of the galaxies that have an image."""
    votes = read_votes(sets[0])
    images = {row["object_id"]: row["image"] for row in pq.read_table(sets[1]).to_pylist()}
    keys = [key for key in votes.object_ids if images[key]]
    rows = votes.rows()
    labels = torch.from_numpy(votes.values[[rows[key] for key in keys]])
    return keys, [images[key]["bytes"] for key in keys], labels, assign_folds(keys, None, FOLDS)


def test_a_network_a_fold_and_nobody_learns_from_its_own(sets, tmp_path, monkeypatch, model):
    seen = []
    real = stage._fit_member

    def spy(work, network, opened, member, machine):
        seen.append({name: set(data.split.labels) for name, data in opened.items()})
        return real(work, network, opened, member, machine)

    monkeypatch.setattr(stage, "_fit_member", spy)
    again = run(*sets, tmp_path, **LEARN)
    keys = [f"g{row:03d}" for row in range(N)]
    folds = dict(zip(keys, assign_folds(keys, None, FOLDS).tolist(), strict=True))
    pool = set(keys) - {"g003"}
    for fold, own in enumerate(seen):
        assert own["val"] == {key for key in pool if folds[key] == fold}
        assert own["train"] == pool - own["val"]
    assert (again / "weights.safetensors").read_bytes() == (
        model / "weights.safetensors"
    ).read_bytes()
    assert read_card(model / "model.yaml").counts == {"train": N - 1, "val": 0, "test": 0}
    assert {row["member"] for row in history(model)} == {"0", "1", "2"}
    assert len(load_networks(model / "model.yaml")[0]) == FOLDS


def test_it_is_evaluated_out_of_fold(sets, model, labelled, tmp_path):
    keys, images, labels, folds = labelled
    drawn, _ = Predictor.load(model, PredictSettings(samples=5, device="cpu")).predict(keys, images)
    own = np.stack([drawn[row, 5 * fold : 5 * fold + 5] for row, fold in enumerate(folds)])
    head = load_networks(model / "model.yaml")[0][0].head
    nll = mixture_nll(head, torch.from_numpy(own).double(), labels)[:, 0].mean().item()
    place = tmp_path / "metrics.json"
    evaluate([sets[0]], [sets[1]], model / "model.yaml", place, PREDICTING)
    found = json.loads(place.read_text())
    assert (found["split"], found["n_test"], found["n_train"]) == ("folds", N - 1, 0)
    assert found["questions"]["shape-toy"]["nll"] == pytest.approx(nll, rel=1e-4)
    page = (tmp_path / "report.html").read_text()
    assert "each by the one member that has not learned from it (cross-validation)" in page
    assert "Every galaxy is judged: the constants are fitted to the evaluated galaxies" in page


def test_no_galaxy_has_a_part_in_the_scale_that_it_is_judged_by(model, labelled):
    keys, images, labels, folds = labelled
    networks, card = load_networks(model / "model.yaml")
    scales = [network.head.log_scale.clone() for network in networks]
    samples = torch.empty(len(keys), 5, 5, dtype=torch.float64)
    for fold, network in enumerate(networks):
        network.head.log_scale.zero_()
        settings = PredictSettings(samples=5, device="cpu")
        alone = Predictor([network], card, settings, Engine(torch.device("cpu")))
        drawn = torch.from_numpy(alone.predict(keys, images)[0]).double()
        samples[folds == fold] = drawn[folds == fold]
    for fold, scale in enumerate(scales):
        others = torch.from_numpy(folds != fold)
        expected = fit_log_scale(networks[0].head, samples[others], labels[others])
        torch.testing.assert_close(scale, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("given", "told"),
    [({"folds": 1}, "at least 2"), ({"folds": 3, "members": 2}, "leave members away")],
)
def test_folds_that_make_no_sense_are_refused(given, told):
    with pytest.raises(ValueError, match=told):
        TrainSettings(encoder="resnet18", **given)


def test_too_many_folds_for_the_galaxies_are_refused(tmp_path):
    votes = write_votes(tmp_path / "votes.parquet", 6, TASKS["votes"], val_every=0)
    images = write_images(tmp_path / "images.parquet", 6)
    with pytest.raises(UserError, match="6 labelled galaxies are too few; give fewer folds"):
        run(votes, images, tmp_path / "out", **{**LEARN, "folds": 32})


@pytest.mark.parametrize(
    ("split", "told"), [("val", "use --split folds"), ("test", "the model folds")]
)
def test_other_splits_of_a_cross_validated_model(sets, model, tmp_path, split, told):
    votes, images = sets
    with pytest.raises(UserError, match=told):
        evaluate([votes], [images], model, tmp_path / "metrics.json", PREDICTING, split=split)

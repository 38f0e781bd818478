"""A stored model predicts each galaxy from its image and its id alone."""

import io

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxymill.errors import UserError
from galaxymill.inference.engine import Engine
from galaxymill.inference.predictor import Predictor, dropout_masks
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, load_networks, read_card, write_model, write_weights
from galaxymill.tasks import VoteTask
from galaxymill.trees.tree import parse_tree

TREE = parse_tree(
    {
        "name": "toy",
        "questions": {
            "shape": {"answers": ["smooth", "featured", "star"]},
            "bar": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        },
    },
    "toy",
)
TASK = VoteTask(TREE)
SETTINGS = TrainSettings(
    encoder="test_efficientnet", image_size=32, dropout=0.3, concentrations=(0.5, 41.0)
)
ENCODER = describe_encoder(SETTINGS.encoder)
SAMPLES = 3
IDS = [f"g{number}" for number in range(9)]


def asked(samples, **others):
    return PredictSettings(samples=samples, device="cpu", **others)


def note(shown, pixels, network):
    shown.append(tuple(pixels.shape))
    return torch.zeros((len(pixels), network.encoder.num_features))


def store(folder):
    torch.manual_seed(1)
    network = Network(ENCODER, TASK, SETTINGS).eval()
    torch.nn.init.normal_(network.head.linear.weight, std=0.5)
    origin = {"stage": "train", "domain": {"survey": "toy"}}
    digest = write_weights(folder, [network])
    card = ModelCard(TASK, SETTINGS, ENCODER.to_dict(), digest, origin, {"train": 9})
    write_model(folder, card)
    return network, card


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    store(folder)
    return folder


@pytest.fixture
def fresh(tmp_path):
    store(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor.load(model, asked(SAMPLES))


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(1)
    files = []
    for _ in IDS:
        file = io.BytesIO()
        pixels = generator.integers(0, 256, (48, 48, 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files


@pytest.fixture(scope="module")
def whole(predictor, images):
    return predictor.predict(IDS, images)


def test_shapes_and_range(predictor, whole):
    alpha, features = whole
    assert alpha.shape == (9, SAMPLES, 5)
    assert features.shape == (9, predictor.networks[0].encoder.num_features)
    assert alpha.dtype == features.dtype == np.float32
    assert ((alpha >= 0.5) & (alpha <= 41)).all()
    assert alpha.std(axis=1).min() > 0


@settings(max_examples=15)
@given(st.lists(st.sampled_from(range(9)), min_size=1, unique=True), st.integers(1, 9))
def test_order_subset_and_batch_do_not_matter(predictor, images, whole, chosen, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor.engine, "batch_size", batch)
        alpha, features = predictor.predict([IDS[i] for i in chosen], [images[i] for i in chosen])
    np.testing.assert_allclose(alpha, whole[0][chosen], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(features, whole[1][chosen], rtol=1e-4, atol=1e-5)


def test_no_galaxies_give_no_rows(predictor, whole):
    alpha, features = predictor.predict([], [])
    assert alpha.shape == (0, SAMPLES, 5)
    assert features.shape == (0, whole[1].shape[1])


def test_another_process_predicts_the_same(model, images, whole):
    again = Predictor.load(model / "model.yaml", asked(SAMPLES)).predict(IDS, images)
    np.testing.assert_allclose(again[0], whole[0], rtol=1e-6)


def test_the_id_seeds_the_samples(predictor, images):
    one, _ = predictor.predict(["a"], images[:1])
    other, _ = predictor.predict(["b"], images[:1])
    assert not np.allclose(one, other)


def test_more_samples_leave_the_first_as_they_are(model, images, whole):
    more, _ = Predictor.load(model, asked(SAMPLES + 4)).predict(IDS, images)
    np.testing.assert_allclose(more[:, :SAMPLES], whole[0], rtol=1e-5)


def test_masks_depend_on_the_id_alone():
    masks = dropout_masks(IDS, 4, 50, 0.3)
    np.testing.assert_array_equal(dropout_masks(IDS[3:5], 4, 50, 0.3), masks[3:5])
    assert len({mask.tobytes() for mask in masks.reshape(-1, 50)}) == 36
    assert dropout_masks(["x"], 2, 50, 0.0).all()


def test_masks_keep_the_share_they_should():
    masks = dropout_masks([f"{i}" for i in range(200)], 5, 200, 0.3)
    assert masks.mean() == pytest.approx(0.7, abs=0.005)
    assert np.abs(np.corrcoef(masks.reshape(-1, 200)[:, :20].T) - np.eye(20)).max() < 0.15


def test_samples_are_those_of_dropout_on_the_head(predictor, whole):
    """Two moments of each answer, compared with torch's own dropout on the same features."""
    n = 6000
    head, features = predictor.networks[0].head, torch.from_numpy(whole[1][:1])
    masks = torch.from_numpy(dropout_masks(["g0"], n, features.shape[1], SETTINGS.dropout))
    with torch.no_grad():
        ours = head(features, masks)[0].numpy()
        torch.manual_seed(3)
        dropped = torch.nn.functional.dropout(features.repeat(n, 1), SETTINGS.dropout, True)
        theirs = (0.5 + 40.5 * torch.sigmoid(head.linear(dropped))).numpy()
    error = theirs.std(axis=0) * np.sqrt(2 / n)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error).all()
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.08)


def test_head_stays_in_float32_under_autocast(predictor, whole):
    features = torch.from_numpy(whole[1])
    with torch.no_grad():
        plain = predictor.networks[0].head(features)
        with torch.autocast("cpu", torch.bfloat16):
            cast = predictor.networks[0].head(features)
    assert torch.equal(plain, cast)


def test_what_is_stored_is_what_is_loaded(tmp_path):
    network, card = store(tmp_path)
    (loaded,), read = load_networks(tmp_path / "model.yaml")
    assert read == card
    assert read.digest == card.digest
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_tampered_weights_are_refused(fresh):
    weights = fresh / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="not the weights that"):
        Predictor.load(fresh, asked(1))


def test_absent_weights_are_refused(fresh):
    (fresh / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="are missing"):
        Predictor.load(fresh, asked(1))


def test_weights_of_another_network_are_refused(fresh):
    card = fresh / "model.yaml"
    plain = yaml.safe_load(card.read_text(encoding="utf-8"))
    plain["encoder"]["architecture"] = plain["settings"]["encoder"] = "test_resnet"
    card.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with pytest.raises(UserError, match="does not fit test_resnet"):
        Predictor.load(fresh, asked(1))


@pytest.mark.parametrize(
    "content",
    ["", "a: [", "[]", "5", "task: 5", "task: {}\nsettings: {}", "!!python/object:os.system {}"],
)
def test_garbage_is_no_model(fresh, content):
    (fresh / "model.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.yaml"):
        read_card(fresh / "model.yaml")


@pytest.mark.parametrize(
    "key", ["task", "encoder", "settings", "weights_sha256", "origin", "splits"]
)
@pytest.mark.parametrize("value", [None, 5, "text", []])
def test_a_card_with_a_spoilt_key_is_refused(fresh, key, value):
    card = fresh / "model.yaml"
    plain = yaml.safe_load(card.read_text(encoding="utf-8"))
    plain[key] = value
    card.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.yaml|weights"):
        load_networks(card)


def test_absent_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such model; train it first"):
        Predictor.load(tmp_path, asked(1))


@pytest.mark.parametrize("zoom", [(0.5, 0.8), (1.0, 1.0), (1.2, 1.4)])
def test_any_zoom_that_is_allowed_fills_the_frame(tmp_path, images, zoom):
    from pydantic import ValidationError

    try:
        chosen = TrainSettings(encoder="test_efficientnet", image_size=32, zoom=zoom)
    except ValidationError:
        return
    network = Network(ENCODER, TASK, chosen).eval()
    card = ModelCard(TASK, chosen, ENCODER.to_dict(), "", {}, {})
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Engine, "features", lambda self, net, encoder, pixels: note(shown, pixels, net)
        )
        Predictor([network], card, asked(1), Engine(torch.device("cpu"))).predict(["a"], images[:1])
    assert shown == [(1, 3, 32, 32)]

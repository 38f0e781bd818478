"""The fast ways of predicting agree with the plain network, for a trained model on real images."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from galaxymill.images.pixels import central_pixels, to_pixels
from galaxymill.images.settings import RecipeSettings
from galaxymill.inference.predict import predict
from galaxymill.inference.predictor import dropout_masks
from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.counts import CountSettings
from galaxymill.labels.images import collect_images
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, TrainSettings
from galaxymill.models.store import load_networks
from galaxymill.models.views import central_view
from galaxymill.splits import SplitSettings
from galaxymill.tasks.checks import CheckSettings
from galaxymill.tasks.votes.posterior import mean_fractions
from galaxymill.training.train import train

SAMPLES = 5
MOST, MEAN = 0.01, 0.002


@pytest.fixture(scope="module")
def real(shared_data, trees, tmp_path_factory):
    """Some hundred real pictures with votes, and a model that has learned from them."""
    folder = tmp_path_factory.mktemp("real")
    source = shared_data / "gz2_sdss_jpeg"
    lines = (source / "votes.csv").read_text().splitlines()
    table = folder / "votes.csv"
    table.write_text("\n".join([lines[0], *lines[1:161]]) + "\n")
    splits = SplitSettings(train=0.8, val=0.2, test=0)
    labels = LabelSettings("counts", CountSettings(), splits, CheckSettings())
    collect_labels([table], trees / "gz2.yaml", folder / "votes.parquet", labels)
    collect_images([table], source, folder / "images.parquet", "gz2", "object_id", RecipeSettings())
    settings = TrainSettings(
        encoder=PACKAGE_ENCODER,
        weights=PACKAGE,
        trainable=2,
        image_size=128,
        epochs=6,
        batch_size=16,
        learning_rate=2e-3,
    )
    model = folder / "model" / "model.yaml"
    train([folder / "votes.parquet"], [folder / "images.parquet"], model, settings)
    return folder


@pytest.fixture(scope="module")
def plain(real):
    """Fractions by the plain network in float32, each image decoded and resized by itself."""
    (network,), card = load_networks(real / "model" / "model.yaml")
    rows = pq.read_table(real / "images.parquet").to_pylist()
    settings = card.settings
    fractions = []
    for row in rows:
        pixels = torch.from_numpy(to_pixels(row["image"]["bytes"], settings.side))[None]
        masks = dropout_masks(
            [row["object_id"]], SAMPLES, network.encoder.num_features, settings.dropout
        )
        with torch.inference_mode():
            features = network.features(central_view(pixels, settings.image_size))
            alpha = network.head(features, torch.from_numpy(masks))
        fractions.append(mean_fractions(alpha.numpy(), card.task.tree)[0])
    return np.array(fractions), card.task.tree


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_fractions_agree(real, plain, tmp_path, precision):
    settings = PredictSettings(samples=SAMPLES, device="cpu", precision=precision)
    predict(real / "images.parquet", real / "model", tmp_path / "p.parquet", None, settings)
    expected, tree = plain
    table = pq.read_table(tmp_path / "p.parquet")
    found = np.stack([table[f"{name}_fraction"].to_numpy() for name in tree.columns], axis=1)
    off = np.abs(found - expected)
    assert expected.std(axis=0).max() > 0.05, "the model has not learned anything"
    assert off.max() <= MOST
    assert off.mean() <= MEAN


def test_pixels_are_those_of_the_whole_image_resized(real):
    """The middle that is computed alone differs from the middle of the whole by rounding."""
    for row in pq.read_table(real / "images.parquet").slice(0, 5).to_pylist():
        image = row["image"]["bytes"]
        for side, size in ((291, 224), (182, 128), (424, 224), (500, 301), (424, 424)):
            whole = to_pixels(image, side)
            start = (side - size) // 2
            wanted = whole[:, start : start + size, start : start + size].transpose(1, 2, 0)
            found = central_pixels(image, side, size).astype(int)
            off = np.abs(found - wanted)
            assert off.max() <= 2
            assert off.mean() < 0.05


def test_resizing_is_pillow_s(real):
    image = pq.read_table(real / "images.parquet")["image"][0].as_py()["bytes"]
    with Image.open(io.BytesIO(image)) as opened:
        wanted = np.asarray(opened.resize((291, 291), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(to_pixels(image, 291), wanted.transpose(2, 0, 1))

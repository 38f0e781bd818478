"""Which way a spiral winds is learned only where training shows no galaxy in a mirror."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import ClassTask
from galaxymill.training.train import Resources, train
from galaxymill.trees.tree import parse_tree

N, SIDE = 160, 42
DOMAIN = {"survey": "toy", "recipe": "decals", "render_version": 1}
HANDED = ["clockwise", "anticlockwise"]


def task_of(answers):
    return ClassTask(parse_tree({"name": "w", "questions": {"winding": {"answers": answers}}}, "w"))


def spirals(seed):
    """Two-armed spirals in any position angle, as PNG files, and which way each winds."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    ways = rng.integers(0, 2, N)
    files = []
    for way in ways:
        arms = np.cos(2 * angle + (2 * way - 1) * radius / 3 + rng.uniform(0, 2 * np.pi))
        light = 120 * (1 + arms) * np.exp(-radius / 20) + rng.normal(0, 4, x.shape)
        file = io.BytesIO()
        Image.fromarray(light.clip(0, 255).astype(np.uint8)).convert("RGB").save(file, "PNG")
        files.append(file.getvalue())
    return files, ways


def sets(folder, answers):
    """Labels and images of 160 spirals, a quarter of which validate."""
    files, ways = spirals(seed=1)
    task = task_of(answers)
    rows, labels = [], []
    for number, (file, way) in enumerate(zip(files, ways, strict=True)):
        name = f"s{number:03d}"
        rows.append({"object_id": name, "image": {"bytes": file, "path": None}, "flags": 0})
        counts = dict(zip(task.columns, (int(way == 0), int(way == 1)), strict=True))
        split = "val" if number % 4 == 0 else "train"
        labels.append({"object_id": name, **counts, "split": split})
    images, votes = folder / "images.parquet", folder / "votes.parquet"
    table = pa.Table.from_pylist(rows, products.IMAGES)
    write_product(images, table, Origin("render", domain=DOMAIN), products.IMAGES)
    schema = products.votes(task, with_positions=False)
    origin = Origin("labels", {"task": task.to_dict()})
    write_product(votes, pa.Table.from_pylist(labels, schema), origin, schema)
    return votes, images


def accuracy(folder, answers):
    """Share of other spirals whose own way is more probable, after training with 4 views."""
    votes, images = sets(folder, answers)
    settings = TrainSettings(
        encoder="resnet10t",
        image_size=32,
        batch_size=16,
        epochs=8,
        learning_rate=0.003,
        precision="fp32",
        device="cpu",
        views=4,
    )
    train([votes], [images], folder / "model.yaml", settings, Resources(threads=1))
    files, ways = spirals(seed=2)
    predictor = Predictor.load(folder, PredictSettings(device="cpu"))
    found, _ = predictor.predict([f"n{number}" for number in range(N)], files)
    return float((found.mean(axis=1).argmax(axis=1) == ways).mean())


def test_the_way_that_spirals_wind_is_learned(tmp_path):
    assert accuracy(tmp_path, HANDED) > 0.95


def test_it_is_not_learned_when_training_mirrors(tmp_path):
    """The same labels under names that do not say it: training then takes them for one kind."""
    assert 0.35 < accuracy(tmp_path, ["one", "other"]) < 0.65


def test_mirrored_views_of_such_labels_are_refused(tmp_path):
    votes, images = sets(tmp_path, HANDED)
    settings = TrainSettings(encoder="resnet10t", image_size=32, views=8, device="cpu")
    with pytest.raises(UserError, match=r"train: views: 8: winding tells .* give views: 4"):
        train([votes], [images], tmp_path / "model.yaml", settings)

"""A task of one's own: where in the image the light is, learned from maps, predicted as maps.

Its labels, samples and one summary column are no single numbers, its head takes the encoder's map.
Nothing but this file knows it.
"""

import csv
import json
from typing import ClassVar
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from galaxymill import products
from galaxymill.cli import main
from galaxymill.storage.columns import field
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.tasks.heads import Head
from galaxymill.tasks.released import Answer, ColumnGroup, Panel, ReleaseText
from galaxymill.tasks.report import ReportContent
from galaxymill.tasks.task import Task

N, SIDE = 48, 64
SHARES = ColumnGroup("light", "share of the light", "", (0.0, 1.0))


class QuadrantTask(Task):
    """The share of the light in each quarter of the image."""

    kind = "quadrants"
    pooled = False
    sample_column = "quadrants"
    groups: ClassVar = {
        "map": SHARES,
        "top": ColumnGroup("top", "upper half", "", (0.0, 1.0), friendly=True),
    }

    @property
    def columns(self):
        return ("light",)

    def label_fields(self):
        return [field("light", pa.list_(pa.float32(), 4), "shares of the light by quarter")]

    def read_labels(self, table):
        flat = table["light"].combine_chunks().flatten().to_numpy()
        return flat.reshape(-1, 2, 2).astype(np.float64)

    def sample_width(self):
        return 4, "shares of the light"

    def summary_fields(self):
        return [
            field("light_map", pa.list_(pa.float32(), 4), "mean share of each quarter"),
            field("light_top", pa.float32(), "share of the upper half"),
        ]

    def summarise(self, samples):
        mean = samples.mean(axis=1)
        return {"light_map": mean, "light_top": mean[:, 0].sum(axis=-1)}

    def head(self, features, settings):
        return QuadrantHead(features, settings.dropout)

    def panels(self):
        return [Panel("light", (Answer("light_top", "up", "light_top"),), adds_up=False)]

    def release_text(self):
        return ReleaseText(
            "the share of the light in each quarter",
            figures=lambda metrics: f"Mean error {metrics['error']:.2f}.",
        )

    def report(self, material):
        error = np.abs(material.samples.mean(axis=1) - material.labels).mean()
        return ReportContent({"error": float(error)}, f"The mean error is {error:.2f}.", [])

    def difference(self, one, other):
        return float(np.abs(one - other).max())

    def to_dict(self):
        return {"kind": self.kind}

    @classmethod
    def from_dict(cls, plain, place):
        return cls()

    def __eq__(self, other):
        return type(self) is type(other)

    __hash__ = None


class QuadrantHead(Head):
    """One number a place of the map, averaged by quarter."""

    def __init__(self, features, dropout):
        super().__init__(1, dropout)
        self.one = nn.Conv2d(features, 1, 1)

    def forward(self, features, masks=None):
        features = features.float()
        if masks is None:
            return self._shares(features)
        kept = features[:, None] * masks[..., None, None] / (1 - self.dropout)
        return self._shares(kept.flatten(0, 1)).unflatten(0, masks.shape[:2])

    def _shares(self, features):
        quarters = nn.functional.adaptive_avg_pool2d(self.one(features), 2)[:, 0]
        shares = quarters.flatten(1).softmax(1).unflatten(1, (2, 2))
        return self.rescaled(shares, self.log_scale)

    def rescaled(self, outputs, log_scale):
        sharper = outputs.clamp_min(1e-9) ** log_scale.exp()
        return sharper / sharper.sum((-2, -1), keepdim=True)

    def loss(self, outputs, labels):
        return -(labels * outputs.clamp_min(1e-9).log()).flatten(1).sum(1, keepdim=True)


def draw(folder):
    """Pictures with a bright quarter each; give the shares of their light."""
    folder.mkdir()
    shares, generator = {}, np.random.default_rng(1)
    for number in range(N):
        light = np.full((2, 2), 0.1)
        light[divmod(number % 4, 2)] = 0.7
        pixels = np.kron(light, np.full((SIDE // 2, SIDE // 2), 300))
        pixels = (pixels + generator.normal(0, 5, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(np.stack([pixels] * 3, -1)).save(folder / f"g{number}.png")
        shares[f"g{number}"] = light.ravel().tolist()
    return shares


def call(*words):
    with patch("sys.argv", ["galaxymill", *map(str, words)]):
        try:
            main()
        except SystemExit as end:
            return end.code or 0
    return 0


def make(*words):
    assert call(*words) == 0, words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A survey of pictures, and everything that the stages make of it."""
    root = tmp_path_factory.mktemp("task")
    shares = draw(root / "pics")
    with (root / "catalog.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["object_id", "ra", "dec", "file_loc"])
        writer.writerows([f"g{n}", 10 + n / 100, 5, f"g{n}.png"] for n in range(N))
    make("ingest", root / "catalog.csv", root / "objects.parquet", "--set", "file_loc=file_loc")
    make("partition", root / "objects.parquet", root / "partitions.csv")
    (tile,) = (root / "tiles").glob("*.parquet")
    for made in ("cutouts", "images", "predictions/light"):
        (root / made).mkdir(parents=True)
    files = ("--service", "files", "--set", f"folder={root / 'pics'}")
    make("fetch", tile, root / "cutouts" / tile.name, *files)
    images = root / "images" / tile.name
    drawn = ("--survey", "toy", "--recipe", "passthrough", "--set", f"size={SIDE}")
    make("render", root / "cutouts" / tile.name, images, *drawn)
    task, splits = QuadrantTask(), ("train", "train", "val", "test")
    rows = [
        {"object_id": key, "light": light, "split": splits[place // 4 % 4]}
        for place, (key, light) in enumerate(shares.items())
    ]
    schema = products.votes(task, with_positions=False)
    origin = Origin("labels", {"task": task.to_dict()})
    write_product(root / "votes.parquet", pa.Table.from_pylist(rows, schema), origin, schema)
    learned = ("--votes", root / "votes.parquet", "--images", images)
    chosen = {"encoder": "test_efficientnet", "image_size": SIDE, "epochs": 12, "batch_size": 8}
    chosen |= {"learning_rate": 0.01, "zoom": "1,1", "shift": 0}
    sets = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
    torch.manual_seed(1)
    make("train", root / "models/light/model.yaml", *learned, *sets, "--device", "cpu")
    model = root / "models/light/model.yaml"
    make("evaluate", root / "evaluation/metrics.json", *learned, "--model", model)
    made = ("--out", root / "predictions/light" / tile.name)
    make("predict", images, "--model", model, *made, "--embeddings", root / "embeddings.parquet")
    merged = {"cutouts": "cutouts", "images": "images", "predictions": "predictions/light"}
    folders = [word for key, name in merged.items() for word in (f"--{key}", root / name)]
    metrics = ("--metrics", root / "evaluation/metrics.json")
    out = root / "release/SHA256SUMS"
    make(
        "release",
        root / "partitions.csv",
        out,
        "--name",
        "toy",
        *folders,
        "--model",
        model,
        *metrics,
    )
    return root


def test_maps_are_predicted(folder):
    (file,) = (folder / "predictions/light").glob("*.parquet")
    table = pq.read_table(file)
    maps = np.array(table["light_map"].to_pylist())
    assert maps.shape == (N, 4)
    np.testing.assert_allclose(maps.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(maps[:, :2].sum(axis=1), table["light_top"].to_numpy(), atol=1e-6)
    samples = np.array(table["quadrants"].to_pylist()).reshape(N, 5, 4)
    np.testing.assert_allclose(samples.mean(axis=1), maps, atol=1e-6)
    embeddings = pq.read_table(folder / "embeddings.parquet")["embedding"]
    assert embeddings.type.list_size > 4


def test_it_is_evaluated_and_released(folder):
    metrics = json.loads((folder / "evaluation/metrics.json").read_text())
    # Even shares would be off by 0.225; what is learned is where the light is.
    assert 0 < metrics["error"] < 0.2
    assert metrics["n_test"] == 12
    friendly, advanced = (
        pq.read_table(folder / "release" / f"{table}.parquet") for table in ("friendly", "advanced")
    )
    assert "light_top" in friendly.column_names
    assert "light_map" not in friendly.column_names
    assert {"light_map", "quadrants"} <= set(advanced.column_names)
    text = (folder / "release/README.md").read_text()
    assert "the share of the light in each quarter" in text
    assert f"Mean error {metrics['error']:.2f}." in text


def test_turned_views_of_a_map_are_refused(folder, capsys):
    (images,) = (folder / "images").glob("*.parquet")
    model, out = folder / "models/light/model.yaml", folder / "turned.parquet"
    words = ["predict", images, "--model", model, "--out", out, "--set", "views=8"]
    assert call(*words) == 2
    assert "views: 8" in capsys.readouterr().err

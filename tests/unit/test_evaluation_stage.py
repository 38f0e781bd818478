"""The stage, its plots and its page, with a stand-in for the trained model."""

import csv
import io
import json
import re
import sys
from html import unescape
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.evaluation.evaluate import evaluate
from galaxymill.evaluation.page import headline
from galaxymill.evaluation.plots import short_names
from galaxymill.models.settings import TrainSettings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.votes.tree import parse_tree

NASTY = "<script>alert('$x^$')</script>&"
TREE = parse_tree(
    {
        "name": "nasty",
        "questions": {
            "shape": {"answers": ["smooth", "featured"]},
            NASTY: {"answers": ["yes", "no", "<b>"], "asked_after": ["shape_featured"]},
            "never": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        },
    },
    "test",
)
FILES = {
    *("metrics.json", "metrics.csv", "report.html", "gallery.png", "rmse.png"),
    *("calibration.png", "predicted_vs_observed.png"),
}


class StandIn:
    """Knows each galaxy's truth from the last digits of its name."""

    tree, digest = TREE, "0" * 64
    card = SimpleNamespace(settings=TrainSettings(encoder="resnet10t"))

    @classmethod
    def load(cls, model, samples, device="auto"):
        predictor = cls()
        predictor.samples = samples
        return predictor

    def predict(self, object_ids, images):
        assert len(object_ids) == len(images) > 0
        alpha = np.ones((len(object_ids), self.samples, len(TREE.columns)), np.float32)
        for row, key in enumerate(object_ids):
            alpha[row, :, 0], alpha[row, :, 1] = 60 * fraction(key), 60 * (1 - fraction(key))
        return alpha, np.zeros((len(object_ids), 3), np.float32)


def fraction(key):
    return (int(key[-3:]) % 10 + 0.5) / 10


@pytest.fixture
def stand_in(monkeypatch):
    module = ModuleType("galaxymill.inference.predictor")
    module.Predictor = StandIn
    monkeypatch.setitem(sys.modules, module.__name__, module)


def picture(key):
    """A disc whose size tells its smooth fraction."""
    y, x = np.indices((48, 48)) - 23.5
    disc = 200 * np.exp(-np.hypot(x, y) / (2 + 5 * fraction(key)))
    file = io.BytesIO()
    Image.fromarray(np.repeat(disc[..., None], 3, axis=2).astype(np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def write_votes(path, keys, splits):
    rng = np.random.default_rng(1)
    rows = []
    for key, split in zip(keys, splits, strict=True):
        smooth, featured = rng.multinomial(30, [fraction(key), 1 - fraction(key)])
        counts = [smooth, featured, *rng.multinomial(featured, [0.5, 0.3, 0.2]), 0, 0]
        rows.append(
            {"object_id": key, "split": split} | dict(zip(TREE.columns, counts, strict=True))
        )
    schema = products.votes(TREE, with_positions=False)
    write_product(path, pa.Table.from_pylist(rows, schema), Origin("labels"), schema)


def write_images(path, keys, unfit=()):
    rows = [
        {
            "object_id": key,
            "image": picture(key),
            "flags": flags.BITS["band_empty"] if key in unfit else flags.BITS["domain_shift"],
            "bad_pixel_fraction": 0.0,
        }
        for key in keys
    ]
    table = pa.Table.from_pylist(rows, products.IMAGES)
    write_product(path, table, Origin("render"), products.IMAGES)


KEYS = [f"g<{index:03d}" for index in range(100)]
SPLITS = ["train"] * 60 + ["val"] * 10 + ["test"] * 30


@pytest.fixture
def inputs(tmp_path, stand_in):
    """Two image files that hold all labelled galaxies but one, and another galaxy."""
    write_votes(tmp_path / "votes.parquet", KEYS, SPLITS)
    write_images(tmp_path / "a.parquet", ["unlabelled-001", *KEYS[:50]])
    write_images(tmp_path / "b.parquet", KEYS[50:-1], unfit=(KEYS[70], KEYS[55]))
    return tmp_path


def run(folder, out="evaluations", images=("a", "b")):
    target = folder / out / "metrics.json"
    paths = [folder / f"{name}.parquet" for name in images]
    model = folder / "models" / "first & best" / "model.yaml"
    evaluate(folder / "votes.parquet", paths, model, target, 3)
    return target


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_stage_writes_all_it_promises(inputs):
    out = run(inputs)
    assert {path.name for path in out.parent.iterdir()} == FILES
    metrics = json.loads(out.read_text(), parse_constant=refuse_constant)
    assert metrics["model"] == "first & best"
    assert (metrics["n_test"], metrics["n_train"]) == (28, 59)
    assert metrics["skipped"] == {"unfit": 2, "absent": 1}
    shape = metrics["questions"]["shape"]
    assert shape["rmse"] < 0.5 * shape["baselines"]["constant"]["rmse"]
    assert shape["baselines"]["ridge"]["rmse"] < shape["baselines"]["constant"]["rmse"]
    assert shape["nll"] < shape["nll_constant"]
    assert metrics["questions"]["never"]["n"] == 0
    assert metrics["origin"]["parameters"] == {"samples": 3}
    assert set(metrics["origin"]["inputs"]) == {"votes", "images", "model"}
    with (out.parent / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"{row['question']}_{row['answer']}" for row in rows] == list(TREE.columns)
    assert float(rows[0]["rmse"]) == shape["answers"]["smooth"]["rmse"]


def test_outputs_do_not_depend_on_the_order_of_images(inputs):
    first, again = run(inputs), run(inputs, out="again")
    for name in FILES:
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes()
    turned = run(inputs, out="turned", images=("b", "a"))
    content = [json.loads(path.read_text())["questions"] for path in (first, turned)]
    assert content[0] == content[1]


def test_the_page_is_self_contained_and_escaped(inputs):
    page = (run(inputs).parent / "report.html").read_text()
    addresses = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"'>\s]{1,30})", page)
    assert len(addresses) == 4
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "<script" not in page
    assert "<b>" not in page
    assert "first &amp; best" in page

    text = unescape(re.sub(r"<[^>]*>", "", page))
    assert NASTY in text
    assert "On 28 test galaxies the model's RMSE on shape is" in text


def test_an_image_given_twice_is_refused(inputs):
    write_images(inputs / "c.parquet", KEYS[80:82])
    with pytest.raises(UserError, match=r"c\.parquet: object_id 'g<080' has an image"):
        run(inputs, images=("a", "b", "c"))
    assert not (inputs / "evaluations" / "metrics.json").exists()


def test_without_test_galaxies_the_way_out_is_named(inputs):
    write_votes(inputs / "votes.parquet", KEYS, ["train"] * 90 + ["val"] * 10)
    with pytest.raises(UserError, match="test: 0"):
        run(inputs)


def test_without_a_fit_test_image_the_stage_refuses(inputs):
    with pytest.raises(UserError, match="none of the 30 test galaxies has a fit image"):
        run(inputs, images=("a",))


def test_votes_of_another_tree_are_refused(inputs):
    other = parse_tree({"name": "o", "questions": {"bar": {"answers": ["a", "b"]}}}, "test")
    schema = products.votes(other, with_positions=False)
    row = {"object_id": "x", "bar_a": 1, "bar_b": 2, "split": "test"}
    table = pa.Table.from_pylist([row], schema)
    write_product(inputs / "votes.parquet", table, Origin("labels"), schema)
    with pytest.raises(UserError, match="no column shape_smooth"):
        run(inputs)


def scores(rmse, constant, ridge):
    baselines = {"constant": {"rmse": constant}, "ridge": {"rmse": ridge}}
    return {"n": 9, "rmse": rmse, "baselines": baselines, "noise_floor_rmse": 0.05}


def test_the_headline_says_better_worse_and_level():
    text = headline({"n_test": 9, "questions": {"bar": scores(0.1, 0.2, 0.08)}})
    assert "50 % below the constant prediction, 25 % above ridge" in text
    text = headline({"n_test": 9, "questions": {"bar": scores(0.1, 0.1, 0.0)}})
    assert "level with the constant prediction, not comparable with ridge" in text
    assert "None of the 3" in headline({"n_test": 3, "questions": {"bar": {"n": 0}}})


def test_questions_lose_the_ending_they_share():
    questions = {name: {"answers": ["a", "b"]} for name in ("disk-edge-on-dr5", "bar-dr5")}
    tree = parse_tree({"name": "t", "questions": questions}, "test")
    assert set(short_names(tree).values()) == {"disk-edge-on", "bar"}
    assert short_names(TREE)["shape"] == "shape"

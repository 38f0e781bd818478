"""The stage, its plots and its page, with a stand-in for the trained model."""

import csv
import io
import json
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.evaluation import evaluate as stage
from galaxymill.evaluation import measure
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.reporting.plots import short_names
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.tasks.votes.report import headline
from galaxymill.trees.tree import parse_tree

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
RINGS = parse_tree({"name": "rings", "questions": {"ring": {"answers": ["yes", "no"]}}}, "test")
VOTES, CLASSES, NUMBER = VoteTask(TREE), ClassTask(RINGS), NumberTask("$z$")
COMMON = {
    *("metrics.json", "metrics.csv", "report.html", "calibration.csv", "errors_by.csv"),
    *("gallery.png", "gallery_best.png", "gallery_worst.png", "gallery_uncertain.png"),
    *(
        f"{name}.{kind}"
        for name in ("errors", "predictions", "calibration", "errors_by")
        for kind in ("png", "svg")
    ),
}
FILES = {
    "votes": COMMON | {"answers.csv", "classification.csv", "confusion.png", "confusion.svg"},
    "class": COMMON | {"classes.csv", "confusion.png", "confusion.svg"},
    "number": COMMON,
}


def fraction(key):
    return (int(key[-3:]) % 10 + 0.5) / 10


class StandIn:
    """Knows each galaxy's truth from the last digits of its name."""

    task, learned = VOTES, {}
    engine = SimpleNamespace(device=torch.device("cpu"))

    @classmethod
    def load(cls, model, settings):
        predictor = cls()
        predictor.samples = settings.samples
        settings = TrainSettings(encoder="test_efficientnet_gn", image_size=32)
        origin = {"inputs": cls.learned}
        predictor.card = SimpleNamespace(
            settings=settings, task=cls.task, origin=origin, digest="0" * 64
        )
        return predictor

    def predict(self, object_ids, images):
        assert len(object_ids) == len(images) > 0
        width = 2 if self.task.kind == "number" else len(self.task.columns)
        drawn = np.ones((len(object_ids), self.samples, width), np.float32)
        for row, key in enumerate(object_ids):
            first = fraction(key)
            pair = (first, 0.3) if self.task.kind == "number" else (first, 1 - first)
            drawn[row, :, :2] = np.array(pair) * (60 if self.task.kind == "votes" else 1)
        return drawn, np.zeros((len(object_ids), 3), np.float32)


@pytest.fixture
def stand_in(monkeypatch):
    predictor = type("Predictor", (StandIn,), {})
    monkeypatch.setattr(stage, "Predictor", predictor)
    return predictor


def picture(key):
    """A disc whose size tells its smooth fraction."""
    y, x = np.indices((48, 48)) - 23.5
    disc = 200 * np.exp(-np.hypot(x, y) / (2 + 5 * fraction(key)))
    file = io.BytesIO()
    Image.fromarray(np.repeat(disc[..., None], 3, axis=2).astype(np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def label(task, key, rng):
    if task.kind == "number":
        return [rng.normal(fraction(key), 0.3)]
    if task.kind == "class":
        yes = rng.random() < fraction(key)
        return [int(yes), int(not yes)]
    smooth, featured = rng.multinomial(30, [fraction(key), 1 - fraction(key)])
    return [smooth, featured, *rng.multinomial(featured, [0.5, 0.3, 0.2]), 0, 0]


def write_votes(path, keys, splits, task=VOTES, positions=None):
    rng = np.random.default_rng(1)
    rows = []
    for place, (key, split) in enumerate(zip(keys, splits, strict=True)):
        row = dict(zip(task.columns, label(task, key, rng), strict=True))
        row |= {"object_id": key, "split": split}
        if positions is not None:
            row |= {"ra": positions[place][0], "dec": positions[place][1]}
        rows.append(row)
    schema = products.votes(task, with_positions=positions is not None)
    origin = Origin("labels", {"task": task.to_dict()})
    write_product(path, pa.Table.from_pylist(rows, schema), origin, schema)


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


def run(folder, out="evaluations", images=("a", "b"), votes=("votes",), **options):
    target = folder / out / "metrics.json"
    paths = [folder / f"{name}.parquet" for name in images]
    labels = [folder / f"{name}.parquet" for name in votes]
    model = folder / "models" / "first & best" / "model.yaml"
    stage.evaluate(labels, paths, model, target, PredictSettings(samples=3), **options)
    return target


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def read_metrics(out):
    return json.loads(out.read_text(), parse_constant=refuse_constant)


def test_stage_writes_all_it_promises(inputs):
    out = run(inputs)
    assert {path.name for path in out.parent.iterdir()} == FILES["votes"]
    metrics = read_metrics(out)
    assert metrics["model"] == "first & best"
    assert (metrics["n_test"], metrics["n_train"], metrics["n_fitted"]) == (28, 60, 59)
    assert metrics["skipped"] == {"near_training": 0, "without_image": 2}
    shape = metrics["questions"]["shape"]
    assert set(shape["baselines"]) == {"constant", "dirichlet", "ridge", "ridge_encoder"}
    assert shape["rmse"] < 0.5 * shape["baselines"]["constant"]["rmse"]
    assert shape["baselines"]["ridge"]["rmse"] < shape["baselines"]["constant"]["rmse"]
    assert shape["nll"] < shape["nll_constant"]
    assert metrics["questions"]["never"]["n"] == 0
    # What the README of a release quotes.
    for scores in metrics["questions"].values():
        assert {"n", "rmse", "noise_floor_rmse", "coverage_90", "nll", "nll_constant"} <= set(
            scores
        )
    assert metrics["origin"]["parameters"] == {"posterior": {"samples": 3}, "split": "test"}
    assert set(metrics["origin"]["inputs"]) == {"votes_1", "images", "model"}
    with (out.parent / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"{row['question']}_{row['answer']}" for row in rows] == list(TREE.columns)
    assert float(rows[0]["rmse"]) == shape["answers"]["smooth"]["rmse"]
    with (out.parent / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == ["shape", NASTY, "never", "all questions"]
    assert float(rows[0]["constant_rmse"]) == shape["baselines"]["constant"]["rmse"]
    assert rows[2]["rmse"] == ""


@pytest.mark.parametrize("task", [CLASSES, NUMBER], ids=["class", "number"])
def test_classes_and_numbers_are_evaluated_too(inputs, stand_in, task):
    stand_in.task = task
    write_votes(inputs / "votes.parquet", KEYS, SPLITS, task)
    out = run(inputs)
    assert {path.name for path in out.parent.iterdir()} == FILES[task.kind]
    overall = read_metrics(out)["overall"]
    score = "rmse" if task.kind == "number" else "log_loss"
    assert overall["n"] == 28
    assert overall[score] < overall["baselines"]["constant"][score]
    assert set(overall["baselines"]) == {"constant", "ridge", "ridge_encoder"}
    page = (out.parent / "report.html").read_text()
    assert "On 28 galaxies the model" in page
    if task.kind == "class":
        classes = read_metrics(out)["classes"]
        assert sum(scores["support"] for scores in classes.values()) == 28
        table = pq.read_table(inputs / "votes.parquet")
        learned = table.filter(pc.equal(table["split"], "train"))
        for name, column in zip(RINGS.questions[0].answers, RINGS.columns, strict=True):
            assert classes[name]["n_train"] == pc.sum(learned[column]).as_py()


def test_a_class_that_is_not_tested_is_told(inputs, stand_in):
    stand_in.task = CLASSES
    write_votes(inputs / "votes.parquet", KEYS, SPLITS, CLASSES)
    table = pq.read_table(inputs / "votes.parquet")
    first, second = RINGS.columns[:2]
    tested = pc.equal(table["split"], "test")
    for column, value in ((first, 0), (second, 1)):
        index = table.schema.get_field_index(column)
        changed = pc.if_else(tested, value, table[column]).cast(pa.int32())
        table = table.set_column(index, table.schema.field(column), changed)
    origin = Origin("labels", {"task": CLASSES.to_dict()})
    write_product(inputs / "votes.parquet", table, origin, table.schema)
    page = (run(inputs).parent / "report.html").read_text()
    name = RINGS.questions[0].answers[0]
    assert f"No galaxy here is of class {name}: how well it is found is not known." in page


def test_outputs_do_not_depend_on_the_order_of_images(inputs):
    first, again = run(inputs), run(inputs, out="again")
    for name in FILES["votes"]:
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes(), name
    turned = run(inputs, out="turned", images=("b", "a"))
    content = [read_metrics(path)["questions"] for path in (first, turned)]
    assert content[0] == content[1]


def test_the_page_is_self_contained_and_escaped(inputs):
    page = (run(inputs).parent / "report.html").read_text()
    addresses = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"'>\s]{1,30})", page)
    assert len(addresses) == 9
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "<script" not in page
    assert "<b>" not in page
    assert "first &amp; best" in page

    text = unescape(re.sub(r"<[^>]*>", "", page))
    assert NASTY in text
    assert "On 28 galaxies the model's RMSE on shape is" in text
    assert "Table 1. " in text
    assert "Figure 9. " in text


def test_an_image_given_twice_is_refused(inputs):
    write_images(inputs / "c.parquet", KEYS[80:82])
    with pytest.raises(UserError, match=r"c\.parquet: 'g<080' is in another images product"):
        run(inputs, images=("a", "b", "c"))
    assert not (inputs / "evaluations" / "metrics.json").exists()


def test_without_test_galaxies_the_way_out_is_named(inputs):
    write_votes(inputs / "votes.parquet", KEYS, ["train"] * 90 + ["val"] * 10)
    with pytest.raises(UserError, match="test: 0"):
        run(inputs)
    assert read_metrics(run(inputs, split="val"))["n_test"] == 9


def test_without_a_fit_test_image_the_stage_refuses(inputs):
    with pytest.raises(UserError, match="none of the 30 galaxies to evaluate has a fit image"):
        run(inputs, images=("a",))


def test_votes_of_another_tree_are_refused(inputs):
    other = parse_tree({"name": "o", "questions": {"bar": {"answers": ["a", "b"]}}}, "test")
    task = VoteTask(other)
    schema = products.votes(task, with_positions=False)
    row = {"object_id": "x", "bar_a": 1, "bar_b": 2, "split": "test"}
    table = pa.Table.from_pylist([row], schema)
    origin = Origin("labels", {"task": task.to_dict()})
    write_product(inputs / "votes.parquet", table, origin, schema)
    with pytest.raises(UserError, match=r"votes\.parquet: labels 'bar_a', but the model predicts"):
        run(inputs)


def test_labels_of_another_kind_are_refused(inputs):
    write_votes(inputs / "votes.parquet", KEYS, SPLITS, NUMBER)
    with pytest.raises(UserError, match="the model predicts votes"):
        run(inputs)


def test_galaxies_near_a_training_one_are_left_out_and_counted(inputs):
    # The last test galaxies lie 10 arcsec from the first training ones.
    positions = [(150 + index / 10, 2.0) for index in range(len(KEYS))]
    positions[-5:] = [(ra, dec + 10 / 3600) for ra, dec in positions[:5]]
    write_votes(inputs / "votes.parquet", KEYS, SPLITS, positions=positions)
    metrics = read_metrics(run(inputs))
    assert metrics["skipped"]["near_training"] == 5
    assert metrics["n_test"] == 24
    assert "5 within 30 arcsec of a training" in (inputs / "evaluations/report.html").read_text()


def test_labels_kept_apart_are_evaluated_whole(inputs, stand_in):
    write_votes(inputs / "apart.parquet", KEYS[60:], ["train"] * 20 + ["test"] * 20)
    write_votes(inputs / "votes.parquet", KEYS[:65], ["train"] * 65)
    stand_in.learned = {"votes": read_record(inputs / "votes.parquet").digest}
    metrics = read_metrics(run(inputs, votes=("apart",), split="all"))
    assert (metrics["n_test"], metrics["n_train"]) == (38, 0)
    assert set(metrics["questions"]["shape"]["baselines"]) == {"constant", "dirichlet"}
    page = (inputs / "evaluations" / "report.html").read_text()
    assert "labels that were kept apart from training" in page
    assert "No training galaxies were given" in page
    # With the training labels the baselines learn, and five galaxies prove to be known.
    train = [inputs / "votes.parquet"]
    metrics = read_metrics(run(inputs, "second", votes=("apart",), split="all", train=train))
    assert (metrics["n_test"], metrics["n_train"]) == (33, 65)
    assert metrics["skipped"]["near_training"] == 5
    assert "ridge_encoder" in metrics["questions"]["shape"]["baselines"]


def test_labels_that_the_model_learned_from_are_not_kept_apart(inputs, stand_in):
    stand_in.learned = {"votes": [read_record(inputs / "votes.parquet").digest]}
    with pytest.raises(UserError, match=r"votes\.parquet: the model learned from these labels"):
        run(inputs, split="all")
    assert read_metrics(run(inputs))["known_votes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": "tset"}, "allowed: test, val, all"), ({"train": ["x"]}, "goes with --split all")],
)
def test_options_that_do_not_go_are_refused(inputs, options, message):
    with pytest.raises(UserError, match=message):
        run(inputs, **options)


def test_a_joint_model_is_evaluated_on_one_of_its_sets(inputs, stand_in):
    joint = {"name": "j", "questions": {}}
    joint["questions"] = TREE.to_dict()["questions"] | RINGS.to_dict()["questions"]
    stand_in.task = VoteTask(parse_tree(joint, "test"))
    metrics = read_metrics(run(inputs))
    assert metrics["questions"]["shape"]["n"] == 28
    assert metrics["questions"]["ring"]["n"] == 0


def test_a_catalogue_gives_covariates(inputs):
    schema = products.objects(kept=[pa.field("mag_$r$", pa.float32())])
    row = {"ra": 1.0, "dec": 2.0, "_healpix_29": 3}
    rows = [{**row, "object_id": key, "mag_$r$": i / 9} for i, key in enumerate(KEYS)]
    table = pa.Table.from_pylist(rows, schema)
    write_product(inputs / "objects.parquet", table, Origin("ingest"), schema)
    write_votes(inputs / "votes.parquet", KEYS, ["train"] * 50 + ["test"] * 50)
    out = run(inputs, catalogs=[inputs / "objects.parquet"])
    with (out.parent / "errors_by.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {row["covariate"] for row in found if row["question"] == "shape"} == {"mag_$r$"}
    assert "catalog_1" in read_metrics(out)["origin"]["inputs"]


def test_weights_that_cannot_be_had_leave_their_baseline_out(inputs, monkeypatch):
    def fail(settings, task):
        raise UserError("the hub cannot be asked")

    monkeypatch.setattr(measure, "initial_network", fail)
    out = run(inputs)
    assert "ridge_encoder" not in read_metrics(out)["questions"]["shape"]["baselines"]
    page = (out.parent / "report.html").read_text()
    assert "The baseline on the frozen encoder is left out: the hub cannot be asked." in page


def scores(rmse, constant, ridge):
    baselines = {"constant": {"rmse": constant}, "ridge": {"rmse": ridge}}
    plain = {"n": 9, "rmse": rmse, "baselines": baselines, "noise_floor_rmse": 0.05}
    return plain | {"rmse_interval": [0.1, 0.2]}


def test_the_headline_says_better_worse_and_level():
    text = headline({"questions": {"bar": scores(0.1, 0.2, 0.08)}})
    assert "50 % below the constant, 25 % above the linear fit to hand features" in text
    text = headline({"questions": {"bar": scores(0.1, 0.1, 0.0)}})
    assert "level with the constant, not comparable with the linear fit" in text
    assert "No test galaxy" in headline({"questions": {"bar": {"n": 0}}})


def test_questions_lose_the_ending_they_share():
    assert set(short_names(["disk-edge-on-dr5", "bar-dr5"]).values()) == {"disk-edge-on", "bar"}
    assert short_names([question.name for question in TREE.questions])["shape"] == "shape"

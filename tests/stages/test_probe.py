"""A probe from features to predictions and their evaluation, by commands."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from galaxymill import flags, products
from galaxymill.cli import app
from galaxymill.errors import UserError
from galaxymill.paths import fill
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import ClassTask
from galaxymill.trees.tree import parse_tree

SPEC = importlib.util.spec_from_file_location("found", Path(__file__).with_name("test_find.py"))
found = importlib.util.module_from_spec(SPEC)
sys.modules["found"] = found
SPEC.loader.exec_module(found)

TASK = ClassTask(
    parse_tree({"name": "k", "questions": {"kind": {"answers": ["k0", "k1", "k2"]}}}, "k")
)


def write_votes(path, turned=False):
    """Label all galaxies, of which the class is the kind; and one that no survey has."""
    rows = [{"object_id": "stranger", "kind": 0}]
    for number in range(len(found.PARTS)):
        names = [
            f"kind{kind}-{number}-{row}"
            for row, kind in enumerate(np.repeat(range(3), found.EACH // len(found.PARTS)))
        ]
        rows += [{"object_id": name, "kind": int(name[4])} for name in names]
    labels = [
        {
            "object_id": row["object_id"],
            **{
                column: int(place == (2 - row["kind"] if turned else row["kind"]))
                for place, column in enumerate(TASK.columns)
            },
            "split": "test" if place % 4 == 0 else "train",
        }
        for place, row in enumerate(rows)
    ]
    schema = products.votes(TASK, with_positions=False)
    origin = Origin("labels", {"task": TASK.to_dict()})
    write_product(path, pa.Table.from_pylist(labels, schema), origin, schema)
    return path


def call(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def listed_features(results):
    listed = fill("<features>/features.csv", results, space="dr1")
    listed.write_text("part\n" + "".join(f"{part}\n" for part in found.PARTS))
    return listed


def fit(results, votes, out, *words):
    out.parent.mkdir(parents=True, exist_ok=True)
    space = fill("<space>/space.yaml", results, space="dr1")
    named = ("--votes", votes, "--features", listed_features(results), "--space", space)
    call("probe", out, *named, "--set", "features=dr1", *words)
    return out


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    space = found.fit(folder, found.write_survey(folder))
    found.project_all(folder, space)
    votes = write_votes(folder / "votes.parquet")
    model = fit(folder, votes, fill("<model>/model.yaml", folder, model="kinds"))
    for part in found.PARTS:
        features = fill(f"<features>/{part}.parquet", folder, space="dr1")
        out = fill(f"<predictions>/{part}.parquet", folder, prediction="kinds")
        call("apply", features, "--model", model, "--out", out)
    return folder


def test_the_card_says_what_it_stands_on(results):
    card = yaml.safe_load(fill("<model>/model.yaml", results, model="kinds").read_text())
    space = yaml.safe_load(fill("<space>/space.yaml", results, space="dr1").read_text())
    assert card["probe"]["space"] == space["digest"]
    assert card["origin"]["inputs"]["space"] == space["digest"]
    assert card["origin"]["domain"] == found.DOMAIN
    assert sum(card["splits"].values()) == 3 * found.EACH - 3
    history = fill("<model>/history.csv", results, model="kinds")
    with history.open(newline="") as file:
        assert [row["member"] for row in csv.DictReader(file)] == list("01234")


def test_every_galaxy_has_one_row_and_its_class(results):
    for part in found.PARTS:
        path = fill(f"<predictions>/{part}.parquet", results, prediction="kinds")
        rows = pq.read_table(path)
        features = pq.read_table(fill(f"<features>/{part}.parquet", results, space="dr1"))
        assert rows["object_id"].equals(features["object_id"])
        values = rows.select([f"{c}_probability" for c in TASK.columns]).to_pandas().to_numpy()
        absent = np.asarray(features["features"].is_null())
        assert (np.isnan(values).all(axis=1) == absent).all()
        kinds = np.array([int(name[4]) for name in rows["object_id"].to_pylist()])
        assert (values[~absent].argmax(axis=1) == kinds[~absent]).all()
        assert rows["probabilities"].type.list_size == 5 * 3
        assert rows.schema.equals(products.predictions(TASK, 5))
        inputs = read_record(path).origin["inputs"]
        assert inputs["images"] == str(found.PARTS.index(part))


def test_flags_of_galaxies_without_features_are_kept(results):
    bits = [
        flags.names(
            pq.read_table(fill(f"<predictions>/{part}.parquet", results, prediction="kinds"))[
                "flags"
            ][0].as_py()
        )
        for part in found.PARTS
    ]
    assert bits == [["no_coverage"], ["no_features"], []]


def test_the_same_labels_give_the_same_probe(results, tmp_path):
    first = fill("<model>/model.yaml", results, model="kinds")
    again = fit(results, results / "votes.parquet", tmp_path / "again" / "model.yaml")
    assert again.read_text() == first.read_text()


def test_an_evaluation_has_a_learning_curve(results, tmp_path):
    images = tmp_path / "images.csv"
    folder = fill("<images>", results, survey="field")
    images = folder.parent / "images.csv"
    images.write_text("part\n" + "".join(f"{part}\n" for part in found.PARTS))
    model = fill("<model>/model.yaml", results, model="kinds")
    named = ("--votes", results / "votes.parquet", "--images", images, "--model", model)
    for split in ("", "test"):
        out = tmp_path / f"evaluation{split}" / "metrics.json"
        words = ("--split", split) if split else ()
        call("evaluate", out, *named, "--features", listed_features(results), *words)
        metrics = json.loads(out.read_text())
        assert metrics["split"] == (split or "folds")
        assert metrics["overall"]["accuracy"] > 0.95
        curve = metrics["learning_curve"]
        assert [row["labels"] for row in curve[:2]] == [25, 50]
        assert curve[-1]["balanced accuracy"] > 0.95
        assert (out.parent / "learning_curve.png").stat().st_size > 5000
        assert "Learning curve" in (out.parent / "report.html").read_text()
    with pytest.raises(UserError, match=r"is a probe, which takes features: .*--features"):
        call("evaluate", tmp_path / "no" / "metrics.json", *named)


def test_what_cannot_be_learned_is_refused(results, tmp_path):
    schema = products.votes(TASK, with_positions=False)
    rows = [
        {"object_id": f"stranger{n}", "kind_k0": 1, "kind_k1": 0, "kind_k2": 0, "split": "train"}
        for n in range(9)
    ]
    votes = tmp_path / "votes.parquet"
    origin = Origin("labels", {"task": TASK.to_dict()})
    write_product(votes, pa.Table.from_pylist(rows, schema), origin, schema)
    with pytest.raises(UserError, match=r"0 labelled galaxies .* have features, of 9"):
        fit(results, votes, tmp_path / "none" / "model.yaml")


def test_features_of_another_space_are_refused(results, tmp_path):
    part = found.PARTS[0]
    space = found.fit(tmp_path, found.write_survey(tmp_path, parts=(part,)), components=4)
    found.project_all(tmp_path, space, (part,))
    features = fill(f"<features>/{part}.parquet", tmp_path, space="dr1")
    model = fill("<model>/model.yaml", results, model="kinds")
    with pytest.raises(UserError, match=r"features of space .* project this partition again"):
        call("apply", features, "--model", model, "--out", tmp_path / "out.parquet")


def test_a_network_cannot_start_from_a_probe(results):
    from galaxymill.models.store import load_networks

    with pytest.raises(UserError, match="a probe takes features, not images"):
        load_networks(fill("<model>/model.yaml", results, model="kinds"))

"""Volunteers as individuals in the workflow: which jobs there are, and what a new export runs."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxymill.models.store import read_card
from galaxymill.simulation.crowd import CrowdSettings, classify, recruit, user, write_export
from galaxymill.storage.origin import read_record
from galaxymill.trees.tree import load_tree

FIT = {"fit_volunteers": 1, "report_volunteers": 1}
TABLE = "object_id,volunteer,question,answer,created_at\n"
TREE = """
name: toy
questions: {featured: {answers: ["yes", "no"]}}
"""


def write_answers(mill, names, last="yes"):
    """Twelve answers a galaxy, of thirty volunteers; those of the last can be chosen."""
    with (mill.folder / "answers.csv").open("w") as file:
        file.write(TABLE)
        for row, name in enumerate(names):
            for vote in range(12):
                who, answer = (5 * row + vote) % 30, "yes" if (row + vote) % 3 else "no"
                answer = last if row == vote == 0 else answer
                file.write(f"{name},ann{who},featured,{answer},2026-01-01 00:00:00 UTC\n")


@pytest.fixture
def config(simulated_config, change):
    """The config of the survey, with labels by individuals and a model of effective votes."""
    labels = {"votes": "answers.csv", "format": "answers", "tree": "toy.yaml"}
    plain = change(simulated_config, "labels.crowd", {**labels, "images": {"survey": "mini"}})
    train = {**plain["models"]["mini"]["train"], "counts": "individuals"}
    return change(plain, "models.crowd", {"labels": "crowd", "train": train})


def test_a_new_export_runs_volunteers_labels_and_what_follows(new_mill, config):
    new_mill.folder.mkdir(parents=True)
    (new_mill.folder / "toy.yaml").write_text(TREE)
    names = [f"sim-{number:06d}" for number in range(1, 31)]
    write_answers(new_mill, names)
    new_mill.finish("volunteers", config=config)
    made = new_mill.folder / "results/labels/crowd"
    assert (made / "volunteers/report.html").is_file()
    assert new_mill.dry("volunteers", config=config) == {}
    model = "results/models/crowd/model.yaml"
    before = new_mill.dry(model, config=config)
    assert before["train_model"] == 1
    assert not {"collect_answers", *FIT} & set(before)
    write_answers(new_mill, names, last="no")
    labels = {"collect_answers": 1, **FIT, "volunteers": 1}
    assert new_mill.dry("volunteers", config=config) == labels
    after = new_mill.dry(model, config=config)
    assert after == before | {"collect_answers": 1, "fit_volunteers": 1}
    raised = new_mill.dry("results/labels/volunteers/votes.parquet", config=config)
    assert "collect_answers" not in raised


def test_a_network_learns_individuals_and_nobody_is_named(working_copy, mini_config, change, trees):
    """From an export to a release: who answered is in no file below results, logs included."""
    mill, rng = working_copy, np.random.default_rng(1)
    tiles = mill.files("surveys/mini/catalog/tiles/*.parquet")
    names = [name for tile in tiles for name in pq.read_table(tile)["object_id"].to_pylist()]
    tree = load_tree(trees / "decals_dr5.yaml")
    shares = [rng.dirichlet(np.ones(len(q.answers)), len(names)) for q in tree.questions]
    fractions = np.clip(np.concatenate(shares, axis=1), 0.01, 1)
    people = recruit(CrowdSettings(volunteers=60), tree, rng)
    answers = classify(people, fractions, tree, 15, rng)
    write_export(mill.folder, names, answers, tree)
    labels = {"votes": "export.csv", "format": "panoptes", "tasks": "tasks.yaml"}
    labels |= {"object_id": "name", "tree": "decals_dr5", "images": {"survey": "mini"}}
    config = change(mini_config, "labels.crowd", labels)
    train = {**config["models"]["mini"]["train"], "counts": "individuals"}
    config = change(config, "models.crowd", {"labels": "crowd", "train": train})
    config = change(config, "predictions.crowd", {"survey": "mini", "model": "crowd"})
    config = change(config, "releases.crowd", {"predictions": "crowd"})
    mill.finish("all", "volunteers", config=config)
    assert mill.dry("all", "volunteers", config=config) == {}
    results = mill.folder / "results"
    learned = read_card(results / "models/crowd/model.yaml").origin["inputs"]
    individual = read_record(results / "labels/crowd/individual.parquet", "volunteers")
    assert learned["votes_1"] == individual.digest
    assert learned["counted_1"] == read_record(results / "labels/crowd/votes.parquet").digest
    metrics = json.loads((results / "evaluations/crowd/metrics.json").read_text())
    judged = metrics["origin"]["inputs"]
    assert learned["counted_1"] in judged.values()
    assert individual.digest not in judged.values()
    words = {user(who)["user_name"].encode() for who in np.unique(answers.volunteer)}
    words |= {word.removeprefix(b"not-logged-in-") for word in words}
    assert len(words) > 60
    files = [path for path in results.rglob("*") if path.is_file()]
    assert {"answers.parquet", "crowd.log", "README.md"} <= {path.name for path in files}
    for path in files:
        text = path.read_bytes()
        if path.suffix == ".parquet":
            read = pq.read_table(path)
            texts = [one.to_pylist() for one in read.columns if one.type == pa.string()]
            text += str([texts, read.schema.metadata]).encode()
        assert not any(word in text for word in words), path

"""Rounds in the config: what they stand for, and what is refused before anything runs."""

from pathlib import Path

import pytest
import yaml

from galaxymill.config.files import input_files, load_config
from galaxymill.config.rounds import subject_keys
from galaxymill.errors import UserError

PLAIN = """
surveys:
  field: &field
    catalog: {path: galaxies.csv}
    cutouts: {service: legacy}
    images: {recipe: decals}
  cells: *field
labels:
  votes:
    votes: start.csv
    format: panoptes
    object_id: iauname
    tasks: tasks.yaml
    tree: decals_dr5
    images: {survey: field}
  z: {votes: galaxies.csv, format: number, column: redshift, images: {survey: field}}
models:
  net: {labels: votes, train: {encoder: resnet18}}
  z: {labels: z, train: {encoder: resnet18}}
  joint: {labels: [votes, z], train: {encoder: resnet18}}
"""
ROUND = {
    "model": "net",
    "survey": "field",
    "budget": 100,
    "featured": "smooth-or-featured-dr5_featured-or-disk",
}


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "start.csv", "week1.csv", "week2.csv", "tasks.yaml", "one.pq"):
        (tmp_path / name).touch()

    def load(change=None, **own):
        plain = yaml.safe_load(PLAIN) | {"rounds": {"weekly": ROUND | own}}
        if change:
            change(plain)
        return load_config(plain, "mine.yaml", trees)

    return load


def test_rounds_stand_for_labels_challengers_and_a_champion(load):
    config = load(exports=["week1.csv", "week2.csv"])
    votes = {name: list(map(str, one.votes)) for name, one in config.labels.items()}
    assert votes["weekly-0001"] == ["start.csv", "week1.csv"]
    assert votes["weekly-0002"] == ["start.csv", "week1.csv", "week2.csv"]
    assert config.models["weekly-0002"].labels == ("weekly-0002",)
    assert config.models["weekly"].labels == ("weekly-0002",)
    assert config.predictions["weekly"].survey == "field"
    assert config.rounds["weekly"].asking == 3
    assert subject_keys(config, config.rounds["weekly"]) == {
        "object_id": "iauname",
        "ra": "ra",
        "dec": "dec",
    }
    # Each of the user's files is named once, whatever stands for it.
    files = [str(path) for _, path in input_files(config)]
    assert files.count("week1.csv") == files.count("start.csv") == 1


def set_labels(**changes):
    return lambda plain: plain["labels"]["votes"].update(changes)


@pytest.mark.parametrize(
    ("own", "change", "message"),
    [
        ({"model": "nets"}, None, "rounds.weekly.model: unknown model 'nets'; allowed: joint, net"),
        ({"survey": "sky"}, None, "rounds.weekly.survey: unknown survey 'sky'; allowed: cells, fi"),
        ({"survey": "cells"}, None, "weekly.survey: cells, but the images of labels votes, which"),
        ({}, set_labels(object_id="subject_id"), "subject_id is Zooniverse's own number"),
        ({"model": "joint"}, None, "joint has 2 labels; rounds add to one"),
        ({"model": "z"}, None, "rounds.weekly.model: z predicts number; rounds ask a tree"),
        (
            {"exports": "week1.csv"},
            lambda plain: plain["models"].update({"weekly-0001": plain["models"]["net"]}),
            "models has weekly-0001, which the rounds are to add; rename",
        ),
        ({"exports": ["week1.csv", "week1.csv"]}, None, "exports: one is named twice"),
        ({"exports": "week9.csv"}, None, "rounds.weekly.exports: no such file: week9.csv"),
        ({"exports": "week1.csv", "subjects": ["one.pq", "one.pq"]}, None, "2, of 1 rounds"),
        ({"overrule": {1: {"promote": True, "reason": "seen by eye"}}}, None, "1: no such round"),
        (
            {"exports": "week1.csv", "overrule": {1: {"promote": True, "reason": "so"}}},
            None,
            "reas",
        ),
        ({"choose": ["bald"]}, None, "choose: 'bald'; allowed: not_confidently_smooth, mutual_in"),
        ({"featured": ""}, None, "name the answer whose volunteers see features, such as"),
        (
            {"featured": "smooth_or_featured"},
            None,
            "weekly.featured: 'smooth_or_featured' is no ans",
        ),
        ({"diverse": "looks"}, None, "rounds.weekly.diverse: unknown"),
        ({"budget": 0}, None, "rounds.weekly.budget"),
        ({"budget": 10**7}, None, "rounds.weekly.budget"),
        ({"random": 0}, None, "rounds.weekly.random"),
        ({"random": 1.5}, None, "rounds.weekly.random"),
        ({"fraction": 1}, None, "rounds.weekly.fraction"),
        ({"probability": 0}, None, "rounds.weekly.probability"),
        ({"margin": 0}, None, "rounds.weekly.margin"),
        ({"acquire": ["random"]}, None, "acquire: unknown key; allowed: budget, choose, diverse"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_run(load, own, change, message):
    with pytest.raises(UserError) as refused:
        load(change, **own)
    assert message in str(refused.value)


def test_labels_of_pictures_in_a_folder_are_refused(load, tmp_path):
    (tmp_path / "pictures").mkdir()
    counts = {"format": "counts", "images": {"folder": "pictures"}}

    def change(plain):
        plain["labels"]["votes"] = {"votes": "start.csv", "tree": "decals_dr5", **counts}

    with pytest.raises(UserError, match="are in a folder; give labels of galaxies of field"):
        load(change)


def test_a_table_of_counts_needs_no_keys(load):
    def change(plain):
        plain["labels"]["votes"] = {
            "votes": "start.csv",
            "tree": "decals_dr5",
            "images": {"survey": "field"},
        }

    config = load(change, exports="week1.csv")
    assert subject_keys(config, config.rounds["weekly"]) == {}
    assert Path("week1.csv") in config.labels["weekly-0001"].votes

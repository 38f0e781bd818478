"""The record of a run names every file of the user's, and nothing else by a file's name."""

import json

import pytest
import yaml

from galaxymill.reproduction import run

CONFIG = {
    "surveys": {
        "pics": {
            "catalog": {"path": "./cat.csv", "ra": None, "dec": None, "file_loc": "pics"},
            "cutouts": {"service": "files", "folder": "pics"},
            "images": {"recipe": "passthrough", "origin": "pics"},
        }
    },
    "labels": {
        "v": {
            "votes": ["one.csv", "more/one.csv"],
            "tree": "decals_dr5",
            "images": {"folder": "pics", "origin": "pics"},
        }
    },
    "models": {"m": {"labels": "v", "train": {"encoder": "resnet18"}}},
    "predictions": {"pics": {"survey": "pics", "model": "m"}},
    "releases": {"r": {"predictions": "pics"}},
}


@pytest.fixture
def recorded(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    for name in ("pics", "more"):
        (tmp_path / name).mkdir()
    for name in ("cat.csv", "one.csv", "more/one.csv"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(run, "_rule_graph", lambda *_: "")
    run.record_run(json.dumps(CONFIG), "r", root, tmp_path / "run" / "config.yaml")
    return tmp_path / "run"


def test_paths_are_renamed_where_they_are_paths(recorded):
    config = yaml.safe_load((recorded / "config.yaml").read_text())
    survey, labels = config["surveys"]["pics"], config["labels"]["v"]
    assert survey["catalog"]["path"] == "inputs/cat.csv"
    assert survey["catalog"]["file_loc"] == "pics"
    assert "ra" in survey["catalog"]
    assert survey["cutouts"]["folder"] == labels["images"]["folder"] == "inputs/pics"
    assert survey["images"]["origin"] == labels["images"]["origin"] == "pics"
    assert config["predictions"] == {"pics": {"survey": "pics", "model": "m"}}
    assert config["releases"]["r"]["predictions"] == "pics"
    assert labels["votes"][0] == "inputs/one.csv"
    assert len(set(labels["votes"])) == 2


def test_every_file_of_a_list_is_told(recorded):
    told = json.loads((recorded / "inputs.json").read_text())
    votes = [entry for entry in told if entry["key"] == "labels.v.votes"]
    assert [entry["bytes"] for entry in votes] == [len("one.csv"), len("more/one.csv")]
    assert len({entry["name"] for entry in told}) == 4

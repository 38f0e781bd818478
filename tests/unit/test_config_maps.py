"""Maps of spaces in releases: what of them a config may name, and what a record of a run keeps."""

import json
from copy import deepcopy

import pytest

from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.reproduction.closure import describe_run

SURVEY = {
    "catalog": {"path": "galaxies.csv"},
    "cutouts": {"service": "legacy"},
    "images": {"recipe": "decals"},
}
LABELS = {
    "votes": "votes.csv",
    "format": "counts",
    "tree": "decals_dr5",
    "images": {"survey": "field"},
}
PLAIN = {
    "surveys": {"field": SURVEY, "deep": SURVEY, "unused": SURVEY},
    "labels": {"votes": LABELS},
    "models": {"votes": {"labels": "votes", "train": {"encoder": "resnet18"}}},
    "predictions": {
        "shown": {"survey": "field", "model": "votes"},
        "looks": {"survey": "field", "model": "votes", "keep": ["embeddings"]},
        "far": {
            "survey": "deep",
            "model": "votes",
            "keep": ["embeddings"],
            "allow_domain_shift": True,
        },
    },
    "spaces": {
        "looks": {"predictions": "looks", "maps": {"all": {}}},
        "again": {"predictions": "looks", "maps": {"all": {}}},
        "bare": {"predictions": "looks"},
        "far": {"predictions": "far", "maps": {"all": {}}},
    },
    "releases": {"r": {"predictions": "shown", "maps": ["looks"]}},
}


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).touch()
    return lambda plain: load_config(plain, "mine.yaml", trees)


def released(**more):
    plain = deepcopy(PLAIN)
    plain["releases"]["r"].update(more)
    return plain


def test_a_run_keeps_the_spaces_of_its_release_and_their_predictions(load):
    kept = json.loads(describe_run(PLAIN, load(PLAIN), "r").config)
    assert set(kept["spaces"]) == {"looks"}
    assert set(kept["predictions"]) == {"shown", "looks"}
    assert set(kept["surveys"]) == {"field"}


def test_a_release_without_maps_has_the_same_settings_as_before(load):
    settings = load(released(maps=[])).releases["r"].settings()
    assert load(PLAIN).releases["r"].settings().to_flags() == settings.to_flags()


def test_cuts_may_be_in_the_places(load):
    cut = {"column": "map_all_x", "at_most": 0.5}
    chosen = {"description": "left", "source": "here", "cuts": [cut]}
    assert load(released(selections={"left": chosen}))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (["look"], r"releases.r.maps.*'look'.*looks"),
        (["bare"], "space bare has no maps; name spaces with maps of field"),
        (["far"], "space far is of survey deep; name spaces with maps of field"),
        (["looks", "again"], "maps of looks and maps of again would both give column map_all_x"),
        (["looks", "looks"], "releases.r.maps: one is named twice"),
    ],
)
def test_maps_that_there_will_not_be_are_refused(load, maps, message):
    with pytest.raises(UserError, match=message):
        load(released(maps=maps))

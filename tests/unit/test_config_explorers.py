"""Explorers in a config: what cannot be shown is refused, and showing changes no release."""

from copy import deepcopy

import pytest

from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.reproduction.closure import describe_run

SURVEY = {
    "catalog": {"path": "galaxies.csv", "keep": ["mag_r"]},
    "cutouts": {"service": "legacy"},
    "images": {"recipe": "decals"},
}
PLAIN = {
    "surveys": {"field": SURVEY, "deep": SURVEY},
    "labels": {
        "votes": {"votes": "votes.csv", "tree": "decals_dr5", "images": {"survey": "field"}}
    },
    "models": {"votes": {"labels": "votes", "train": {"encoder": "resnet18"}}},
    "predictions": {
        "field": {"survey": "field", "model": "votes", "keep": ["embeddings"]},
        "deep": {
            "survey": "deep",
            "model": "votes",
            "keep": ["embeddings"],
            "allow_domain_shift": True,
        },
    },
    "spaces": {"field": {"predictions": "field"}, "deep": {"predictions": "deep"}},
    "releases": {"dr1": {"predictions": "field"}},
}


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).write_text("")

    def load(**explorer):
        plain = {**deepcopy(PLAIN), "explorers": {"look": {"release": "dr1", **explorer}}}
        return plain, load_config(plain, "mine.yaml", trees)

    return load


def test_a_space_may_be_named_alone(load):
    _, config = load(maps="field")
    assert config.explorers["look"].maps == ("field",)


@pytest.mark.parametrize(
    ("explorer", "said"),
    [
        ({"release": "dr2"}, "unknown release 'dr2'; allowed: dr1"),
        ({"maps": ["fields"]}, "allowed: deep, field"),
        ({"maps": ["deep"]}, "deep is of survey deep, but release dr1 of field"),
        ({"columns": ["mag_x"]}, "explorers.look.columns: unknown column 'mag_x'; nearest: mag_r"),
        ({"thumbnails": 4096}, "explorers.look.thumbnails"),
        ({"viewer": "javascript:alert(1)"}, "explorers.look.viewer"),
        ({"column": ["mag_r"]}, "unknown key; allowed: columns, maps, release"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(load, explorer, said):
    with pytest.raises(UserError, match=r"mine\.yaml") as refused:
        load(**explorer)
    assert said in str(refused.value)


def test_an_explorer_is_no_part_of_what_a_release_is_made_from(load, trees):
    plain, config = load(maps=["field"], columns=["mag_r"])
    bare = {key: value for key, value in plain.items() if key != "explorers"}
    run = describe_run(plain, config, "dr1")
    assert run == describe_run(bare, load_config(bare, "mine.yaml", trees), "dr1")

"""Detectability in the config: what is refused before anything runs, and what follows from it."""

from copy import deepcopy

import pytest
import yaml

from galaxymill.config.detectability import view_of
from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.reproduction.closure import closure

PLAIN = """
surveys:
  near: &near
    catalog: {path: galaxies.csv, petro_r50: r, own_redshift: z, keep: [mag_r]}
    cutouts: {service: legacy}
    images: {recipe: decals}
    telescope: {seeing: {g: 1.3, r: 1.2, z: 1.1}, depth: {g: 24.7, r: 23.9, z: 23.0}}
  far: {cutouts: {service: observed, survey: near, farther: 2}, images: {recipe: decals}}
  farther: {cutouts: {service: observed, survey: near, redshift: 0.2}, images: {recipe: decals}}
  other: *near
labels:
  votes: {votes: votes.csv, tree: decals_dr5, images: {survey: near}}
models:
  one: {labels: votes, train: {encoder: resnet18}}
predictions:
  near: {survey: near, model: one}
  far: {survey: far, model: one, allow_domain_shift: true}
  farther: {survey: farther, model: one, allow_domain_shift: true}
  other: {survey: other, model: one, allow_domain_shift: true}
detectability:
  seen: {near: near, far: [far, farther], magnitude: mag_r, answers: [bar-dr5_strong]}
releases:
  dr1: {predictions: near, detectability: seen}
"""


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).touch()

    def load(change=lambda plain: None):
        plain = deepcopy(yaml.safe_load(PLAIN))
        change(plain)
        return load_config(plain, "mine.yaml", trees), plain

    return load


def seen(**given):
    """Change the section."""
    return lambda plain: plain["detectability"]["seen"].update(given)


def test_views_are_those_of_the_surveys(load):
    config, _ = load()
    assert view_of(config, "near", "r").product_settings() == {"seeing": 1.2, "depth": 23.9}
    assert view_of(config, "far", "g").farther == 2
    assert view_of(config, "farther", "r").redshift == 0.2
    assert view_of(config, "near", "i") is None


def test_what_a_release_needs_to_be_made_again_has_the_far_surveys(load):
    config, plain = load()
    own = closure(plain, config, "dr1")
    assert set(own["surveys"]) == {"near", "far", "farther"}
    assert set(own["predictions"]) == {"near", "far", "farther"}
    assert list(own["detectability"]) == ["seen"]

    def by_volunteers(plain):
        plain["detectability"]["seen"] |= {"near": None, "labels": "votes"}
        del plain["releases"]["dr1"]["detectability"]

    config, plain = load(by_volunteers)
    assert "detectability" not in closure(plain, config, "dr1")


def test_a_release_may_be_of_another_survey_and_select_by_what_is_seen(load):
    def change(plain):
        cut = {"column": "bar-dr5_strong_detectable", "at_least": 0.5}
        clear = {"clear": {"description": "clear", "source": "me", "cuts": [cut]}}
        plain["releases"]["dr1"] |= {"predictions": "other", "selections": clear}

    load(change)


def drop_telescope(plain):
    own = plain["surveys"]["other"]
    plain["surveys"]["other"] = {key: own[key] for key in own if key != "telescope"}
    plain["releases"]["dr1"]["predictions"] = "other"


def keep_nothing(plain):
    plain["surveys"]["near"]["catalog"]["keep"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (seen(near="no"), "detectability.seen.near: unknown near 'no'; allowed: far"),
        (seen(far="no"), "detectability.seen.far: unknown far 'no'; allowed: far"),
        (seen(far=[]), "detectability.seen.far"),
        (seen(near=None), "give near, a prediction, or labels, a labelled set: one of them"),
        (seen(labels="votes"), "give near, a prediction, or labels, a labelled set: one of them"),
        (seen(far="other"), "other is of survey other, which is not of service observed"),
        (seen(near="other"), "far is of survey far, which shows near, not other"),
        (seen(magnitude=None), "detectability.seen.magnitude: this key is required"),
        (seen(size="petro_r90"), "seen: column petro_r90: is not kept of the catalogue of near"),
        (
            seen(redshift="zz"),
            "column zz: is not kept of the catalogue of near; allowed: petro_r50",
        ),
        (seen(band="i"), "surveys.near.telescope: band i: detectability needs its seeing and its"),
        (seen(lower_limit=1), "detectability.seen.lower_limit"),
        (keep_nothing, "column mag_r: is not kept of the catalogue of near"),
        (drop_telescope, "surveys.other.telescope: band r: detectability needs its seeing"),
        (
            lambda plain: plain["releases"]["dr1"].update(detectability="no"),
            "releases.dr1.detectability: unknown detectability 'no'; allowed: seen",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_run(load, change, message):
    with pytest.raises(UserError, match=r"^mine.yaml: ") as raised:
        load(change)
    assert message in str(raised.value)

"""Interests in the config: what is refused before anything runs, and ratings yet to come."""

import pytest
import yaml

from galaxymill.config.files import load_config, rated_interests
from galaxymill.errors import UserError

PLAIN = """
surveys:
  field:
    catalog: {path: galaxies.csv}
    cutouts: {service: legacy}
    images: {recipe: decals}
  cells:
    catalog: {path: galaxies.csv}
    cutouts: {service: legacy}
    images: {recipe: decals}
labels:
  z: {votes: galaxies.csv, format: number, column: redshift, images: {survey: field}}
models:
  z: {labels: z, train: {encoder: resnet18}}
predictions:
  dr1: {survey: field, model: z, keep: [embeddings]}
  cells: {survey: cells, model: z, keep: [embeddings], allow_domain_shift: true}
spaces:
  dr1: {predictions: dr1}
  cells: {predictions: cells}
"""
RELEASE = "releases: {dr1: {predictions: dr1, interests: odd}}"
SELECTION = """
releases:
  dr1:
    predictions: dr1
    interests: odd
    selections:
      interest_odd: {description: odd, source: me, cuts: [{column: flags, at_most: 0}]}
"""


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "mine.csv"):
        (tmp_path / name).touch()

    def load(interest, more="{}"):
        plain = yaml.safe_load(PLAIN) | {"interests": {"odd": yaml.safe_load(interest)}}
        return load_config(plain | yaml.safe_load(more), "mine.yaml", trees)

    return load


@pytest.mark.parametrize(
    ("interest", "more", "message"),
    [
        ("{space: dr2, ratings: mine.csv}", "{}", "interests.odd.space: unknown space 'dr2'; all"),
        ("{space: dr1}", "{}", "interests.odd.ratings: this key is required"),
        ("{space: dr1, ratings: []}", "{}", "interests.odd.ratings"),
        ("{space: dr1, ratings: mine.csv, kernel: 3}", "{}", "kernel: unknown key; allowed: rat"),
        ("{space: dr1, ratings: [mine.csv, no.csv]}", "{}", "odd.ratings: no such file: no.csv"),
        ("{space: cells, ratings: mine.csv}", RELEASE, "odd is of survey cells; name interests of"),
        (
            "{space: dr1, ratings: mine.csv}",
            RELEASE.replace("odd", "[odd, odd]"),
            "releases.dr1.interests: one is named twice",
        ),
        (
            "{space: dr1, ratings: mine.csv}",
            RELEASE.replace("odd", "even"),
            "releases.dr1.interests: unknown interests 'even'; allowed: odd",
        ),
    ],
)
def test_what_cannot_be_rated_is_refused_before_a_run(load, interest, more, message):
    with pytest.raises(UserError, match=r"^mine.yaml: ") as raised:
        load(interest, more)
    assert message in str(raised.value)


def test_nobody_need_have_rated_before_galaxies_can_be_looked_at(load, tmp_path):
    assert rated_interests(load("{space: dr1, ratings: later.csv}")) == []
    (tmp_path / "later.csv").touch()
    assert rated_interests(load("{space: dr1, ratings: later.csv}")) == ["odd"]


def test_columns_of_an_interest_have_names_of_their_own(load):
    with pytest.raises(UserError, match="selection interest_odd and interest odd would both give"):
        load("{space: dr1, ratings: mine.csv}", SELECTION)

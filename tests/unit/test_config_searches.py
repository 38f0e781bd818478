"""Searches in the config: what is refused before anything runs, and how they are spelled."""

import shlex

import pytest
import yaml
from typer.testing import CliRunner

from galaxymill.commands.finding import app
from galaxymill.config.files import load_config
from galaxymill.errors import UserError

PLAIN = """
surveys:
  field:
    catalog: {path: galaxies.csv}
    cutouts: {service: legacy}
    images: {recipe: decals}
  cells:
    catalog: {path: galaxies.csv, positions: false, file_loc: file_loc}
    cutouts: {service: files}
    images: {recipe: passthrough}
labels:
  z: {votes: galaxies.csv, format: number, column: redshift, images: {survey: field}}
models:
  z: {labels: z, train: {encoder: resnet18}}
predictions:
  dr1: {survey: field, model: z}
  cells: {survey: cells, model: z, allow_domain_shift: true}
spaces:
  dr1: {predictions: dr1}
  cells: {predictions: cells}
"""


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "mine.csv", "one.jpg"):
        (tmp_path / name).touch()

    def load(search):
        plain = yaml.safe_load(PLAIN) | {"searches": {"mine": yaml.safe_load(search)}}
        return load_config(plain, "mine.yaml", trees).searches["mine"]

    return load


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{space: dr1}", "one of to, table, image, position (given: none)"),
        ("{space: dr1, to: [a], position: [1, 2]}", "(given: to and position)"),
        ("{space: dr1, to: []}", "(given: none)"),
        ("{to: [a]}", "searches.mine.space: this key is required"),
        ("{space: dr2, to: [a]}", "searches.mine.space: unknown space 'dr2'; allowed: cells, dr1"),
        ("{space: dr1, table: absent.csv}", "searches.mine.table: no such file: absent.csv"),
        ("{space: dr1, image: [one.jpg, two.jpg]}", "searches.mine.image: no such file: two.jpg"),
        ("{space: dr1, position: [400, 2]}", "ra is 0 to 360"),
        ("{space: dr1, position: [4]}", "searches.mine.position"),
        ("{space: dr1, to: a, count: 0}", "searches.mine.count"),
        ("{space: dr1, to: a, distinct: 2 arcmin}", "searches.mine.distinct"),
        ("{space: dr1, to: a, radius: 2}", "radius: unknown key; allowed: columns, count, dist"),
        ("{space: cells, position: [4, 2]}", "position: the galaxies of survey cells have no pos"),
        ("{space: cells, to: a, distinct: 2}", "distinct: the galaxies of survey cells have no"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_a_run(load, search, message):
    with pytest.raises(UserError, match=r"^mine.yaml: ") as raised:
        load(search)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "search",
    [
        '{to: ["it\'s; $(echo)", -b, 587732578312454276], count: 7, whiten: true}',
        "{table: mine.csv, where: \"a > 1 and b <> 'x'\", distinct: 2arcsec}",
        "{image: [one.jpg], columns: [flags, map_all_x]}",
        "{position: [1.5, -2.25], distinct: 0.5}",
    ],
)
def test_the_command_takes_what_the_workflow_spells(load, monkeypatch, search):
    # A search that stops as it begins shows what it was asked.
    asked = []
    monkeypatch.setattr("galaxymill.search.folders.folders_of", asked.append)
    monkeypatch.setattr("dataclasses.replace", lambda one, **_: one)
    monkeypatch.setattr(
        "galaxymill.search.search.Search.run", lambda self, out: asked.append(self.settings) or []
    )
    settings = load(search.replace("{", "{space: dr1, ", 1)).settings()
    words = ["similar", "o.csv", "--space", "s.yaml", *shlex.split(settings.to_flags())]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert asked[1] == settings


def test_whole_numbers_are_names(load):
    assert load("{space: dr1, to: [587732578312454276]}").to == ("587732578312454276",)

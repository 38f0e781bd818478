"""The recipes of published catalogues: what they name exists, and they read what is published.

The published tables are gigabytes behind a network: small ones of the same layout stand in for
them, behind a local server.
"""

import hashlib
import io
import re
from copy import deepcopy
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from galaxymill.catalog.ingest import ingest
from galaxymill.config.config import Config
from galaxymill.config.files import load_config
from galaxymill.downloads.download import download
from galaxymill.errors import UserError
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.models.settings import is_encoder
from galaxymill.storage.origin import read_record
from galaxymill.trees.tree import load_tree

ROWS = 40
RNG = np.random.default_rng(1)
NAMES = ["euclid_q1", "gz_decals", "gz_desi"]
CAMPAIGN = re.compile(r"-(dr5|dr12|desi)(?=_)")
IAU = [f"J{100000 + row}.00+000000.0" for row in range(ROWS)]
DR8 = [f"{300000 + row}_{row}" for row in range(ROWS)]
MER = [-585598010511040774 + row for row in range(ROWS)]
PLACES = {"ra": np.linspace(150, 210, ROWS), "dec": np.linspace(-5, 5, ROWS)}
EUCLID_PLACES = {"right_ascension": PLACES["ra"], "declination": PLACES["dec"]}


def counts(trees, tree):
    """Votes as published: no survey in the questions' names; a question is asked after another."""
    known = load_tree(trees / f"{tree}.yaml")
    votes = {}
    for question in known.questions:
        for number, column in enumerate(question.columns):
            # Whoever gives the first answer comes to what follows it; nobody else is asked.
            first = number == 0 and not question.asked_after
            votes[CAMPAIGN.sub("", column)] = np.full(ROWS, 12 if first else 0)
    return votes


def fractions(trees, tree):
    columns = load_tree(trees / f"{tree}.yaml").columns
    return {f"{column}_fraction": RNG.random(ROWS).astype(np.float32) for column in columns}


def published(trees):
    """Tables of the published layouts, by the name of their file."""
    nsa = {
        "iauname": IAU,
        **PLACES,
        "redshift": RNG.random(ROWS),
        "elpetro_absmag_r": -20 - RNG.random(ROWS),
        "petro_th50": 2 + RNG.random(ROWS),
        "petro_th90": 5 + RNG.random(ROWS),
        "wrong_size_warning": RNG.random(ROWS) > 0.9,
    }
    desi = {"dr8_id": DR8, "brickid": np.arange(ROWS), "objid": np.arange(ROWS), **PLACES}
    halves = [
        {name: values[part] for name, values in desi.items()}
        for part in (slice(0, 20), slice(20, None))
    ]
    votes = counts(trees, "desi")
    core, extended = (
        {**half, **{name: values[:20] for name, values in votes.items()}} for half in halves
    )
    return {
        "gz_decals_auto_posteriors.parquet": {**nsa, **fractions(trees, "desi")},
        "gz_decals_volunteers_5.parquet": {**nsa, **counts(trees, "decals_dr5")},
        "gz_decals_volunteers_1_and_2.parquet": {**nsa, **counts(trees, "decals_dr12")},
        "gz_desi_deep_learning_catalog_friendly.parquet": {**desi, **fractions(trees, "desi")},
        "gz_desi_gzd8_volunteer_core_catalog.parquet": core,
        "gz_desi_gzd8_volunteer_extended_catalog.parquet": extended,
        "morphology_catalogue.parquet": {
            "release_name": ["Q1_R1"] * ROWS,
            "tile_index": np.full(ROWS, 102018667),
            "object_id": MER,
            **EUCLID_PLACES,
            **fractions(trees, "euclid"),
            "segmentation_area": RNG.integers(700, 5000, ROWS),
            "mag_segmentation": 20 + RNG.random(ROWS),
            "warning_galaxy_fails_training_cuts": RNG.random(ROWS) > 0.5,
        },
        "gz_euclid_votes.parquet": {"object_id": MER, **EUCLID_PLACES, **counts(trees, "euclid")},
    }


def as_parquet(columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.fixture(params=NAMES)
def recipe(request, root):
    """One published recipe: its text, and what YAML makes of it."""
    text = (root / "config" / "published" / f"{request.param}.yaml").read_text(encoding="utf-8")
    return text, yaml.safe_load(text)


@pytest.fixture
def served(httpserver, trees, recipe):
    """The recipe, with the addresses of a local server that has small files of the same layout."""
    plain = deepcopy(recipe[1])
    tables = published(trees)
    for name, file in plain["downloads"].items():
        body = as_parquet(tables[name])
        place = urlsplit(file["url"]).path
        httpserver.expect_request(place).respond_with_data(body)
        file["url"] = httpserver.url_for(place)
        if "md5" in file:
            file["md5"] = hashlib.md5(body).hexdigest()
    return plain


def test_no_recipe_is_left_out(root):
    assert sorted(path.stem for path in (root / "config" / "published").iterdir()) == NAMES


def test_what_a_recipe_names_exists(recipe, trees, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(recipe[1], "recipe", trees)
    assert config.releases
    for name in config.labels:
        assert config.tree_path(name, trees).is_file()
    for model in config.models.values():
        assert is_encoder(model.train.encoder)
        assert model.train.encoder.startswith("hf-hub:mwalmsley/zoobot-encoder-")
        assert model.train.weights == "published"


def test_every_file_is_used_and_checked(recipe):
    """What has no checksum says so."""
    text, plain = recipe
    for name, file in plain["downloads"].items():
        assert file["url"].startswith("https://")
        assert file["url"].endswith(f"/{name}")
        assert text.count(f"results/downloads/{name}") >= 1
        # From its address to the next one.
        after = text.split(file["url"])[1].split("url:")[0]
        told = "checksum not known here" in after or "NOT PUBLISHED" in text.split(f"{name}:")[0]
        assert "md5" in file or told, name


def test_a_recipe_reads_what_is_published(served, trees, tmp_path, monkeypatch):
    """Download, ingest and labels, as the workflow calls them."""
    monkeypatch.chdir(tmp_path)
    config = load_config(served, "recipe", trees)
    for name, file in config.downloads.items():
        download(file, Path("results/downloads", name))
    for name, survey in config.surveys.items():
        objects = Path(name, "objects.parquet")
        ingest(survey.catalog.path, objects, survey.catalog.settings())
        assert read_record(objects).rows == ROWS
    for name, labels in config.labels.items():
        votes = Path(name, "votes.parquet")
        settings = LabelSettings(labels.format, labels.settings, labels.splits, labels.checks)
        collect_labels(labels.votes, config.tree_path(name, trees), votes, settings)
        table = pq.read_table(votes)
        assert table.num_rows == ROWS
        seen = pq.read_table(Path(labels.images.survey, "objects.parquet"))
        assert set(table["object_id"].to_pylist()) == set(seen["object_id"].to_pylist())
        assert sum(table.column("ra").to_pylist()) == pytest.approx(PLACES["ra"].sum())
        first = load_tree(config.tree_path(name, trees)).questions[0].columns[0]
        assert set(table[first].to_pylist()) == {12}


def test_the_friendly_columns_have_the_published_names(recipe, trees):
    """A release can be set beside the published table without renaming."""
    config = Config.model_validate(recipe[1])
    (release,) = config.releases.values()
    (prediction,) = (config.predictions[name] for name in release.predictions)
    first, *_ = config.models[prediction.model].labels
    ours = {f"{c}_fraction" for c in load_tree(config.tree_path(first, trees)).columns}
    table = config.surveys[prediction.survey].catalog.path.name
    theirs = {name for name in published(trees)[table] if name.endswith("_fraction")}
    assert ours == theirs


# Downloads in any config


PLAIN = {
    "downloads": {"galaxies.csv": {"url": "https://example.org/a.csv"}},
    "surveys": {
        "field": {
            "catalog": {"path": "results/downloads/galaxies.csv"},
            "cutouts": {"service": "legacy"},
            "images": {"recipe": "decals"},
        }
    },
}


def refusal(trees, downloads, path="results/downloads/galaxies.csv"):
    plain = deepcopy(PLAIN)
    plain["downloads"] = downloads
    plain["surveys"]["field"]["catalog"]["path"] = path
    with pytest.raises(UserError) as refused:
        load_config(plain, "mine.yaml", trees)
    assert str(refused.value).startswith("mine.yaml: ")
    return str(refused.value)


def test_a_file_that_the_config_downloads_need_not_be_there(trees, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(PLAIN, "mine.yaml", trees)
    assert config.downloads["galaxies.csv"].checksum_flags() == ""


@pytest.mark.parametrize("key", ["md5", "sha256"])
def test_a_checksum_travels_as_an_option(key):
    digest = hashlib.new(key).hexdigest()
    file = {"url": "https://example.org/a.csv", key: digest.upper()}
    config = Config.model_validate({"downloads": {"a.csv": file}})
    assert config.downloads["a.csv"].checksum_flags() == f"--{key} {digest}"


def test_a_file_that_the_config_does_not_download_is_refused(trees, tmp_path, monkeypatch):
    """Even when another config's lies there: the recipe must stand alone."""
    monkeypatch.chdir(tmp_path)
    path = "results/downloads/stars.csv"
    told = f"surveys.field.catalog.path: {path}: the config downloads no such file; downloads has:"
    assert f"{told} galaxies.csv" in refusal(trees, PLAIN["downloads"], path)
    Path(path).parent.mkdir(parents=True)
    Path(path).touch()
    assert f"{told} galaxies.csv" in refusal(trees, PLAIN["downloads"], path)
    assert f"{told} none" in refusal(trees, {}, path)


@pytest.mark.parametrize(
    ("name", "file", "told"),
    [
        ("a.csv", {}, "downloads.a.csv.url: this key is required"),
        ("a.csv", {"url": "https://x.org/a", "size": 1}, "allowed: bytes, md5, sha256, url"),
        ("a.csv", {"url": "ftp://x.org/a"}, "downloads.a.csv.url"),
        ("a.csv", {"url": "https://me:s3cr3t@x.org/a"}, "must hold no user or password"),
        ("a.csv", {"url": "https://x.org/a", "md5": "abc"}, "downloads.a.csv.md5"),
        ("a.csv", {"url": "https://x.org/a", "bytes": 0}, "downloads.a.csv.bytes"),
        (
            "a.csv",
            {"url": "https://x.org/a", "md5": "0" * 32, "sha256": "0" * 64},
            "give md5 or sha256, not both",
        ),
        ("../a.csv", {"url": "https://x.org/a"}, "downloads.../a.csv"),
        ("a/b.csv", {"url": "https://x.org/a"}, "downloads.a/b.csv"),
        (".a.csv", {"url": "https://x.org/a"}, "downloads..a.csv"),
        ("a b.csv", {"url": "https://x.org/a"}, "downloads.a b.csv"),
    ],
)
def test_what_cannot_be_downloaded_is_refused(trees, name, file, told):
    message = refusal(trees, {name: file})
    assert told in message
    assert "s3cr3t" not in message

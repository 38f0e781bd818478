"""The page of a space's maps: who is counted, what is drawn, and what the place on a map tells."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import make_blobs
from typer.testing import CliRunner

from galaxymill import products
from galaxymill.commands.finding import app
from galaxymill.errors import UserError
from galaxymill.paths import fill
from galaxymill.spaces.map_plots import nearest_to_grid
from galaxymill.spaces.report import tell_halves
from galaxymill.storage.columns import field
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from test_find import PARTS, fit, project_all, write_survey

RNG = np.random.default_rng(2)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    space = fit(folder, write_survey(folder), maps={"all": {}})
    project_all(folder, space)
    names = [name for part in PARTS for name in tile_of(folder, part)["object_id"].to_pylist()]
    # Brightness follows the kind, which the place on the map tells; the seeing does not.
    kept = [field("mag_r", pa.float64(), "magnitude", "mag"), field("seeing", pa.float64(), "FWHM")]
    schema = products.objects(kept=kept)
    bright = np.array([float(name[4]) for name in names]) + RNG.normal(0, 0.01, len(names))
    columns = [names, np.zeros(len(names)), np.zeros(len(names)), np.arange(len(names))]
    columns += [bright, RNG.normal(1, 0.1, len(names))]
    catalog = fill("<catalog>/objects.parquet", folder, survey="field")
    write_product(catalog, pa.table(columns, schema=schema), Origin("ingest"), schema)
    return folder


def tile_of(results, part):
    return pq.read_table(fill(f"<tiles>/{part}.parquet", results, survey="field"))


def page(results, out):
    words = [fill("<embeddings>/embeddings.csv", results, prediction="dr1")]
    for option, folder in (
        ("features", fill("<features>", results, space="dr1")),
        ("predictions", fill("<predictions>", results, prediction="dr1")),
        ("images", fill("<images>", results, survey="field")),
        ("catalog", fill("<catalog>/objects.parquet", results, survey="field")),
        ("space", fill("<space>/space.yaml", results, space="dr1")),
    ):
        words += [f"--{option}", folder]
    done = CliRunner().invoke(app, ["map", str(out), *map(str, words)])
    if done.exception is not None:
        raise done.exception
    return out


def test_the_page_counts_all_and_says_what_the_place_gives_away(results):
    out = page(results, fill("<maps>/report.html", results, space="dr1"))
    text = out.read_text()
    assert "177 of 180 galaxies stand on 1 map" in text
    assert "whether its mag_r is above the median" in text
    assert "whether its seeing is above" not in text
    metrics = json.loads((out.parent / "metrics.json").read_text())
    assert metrics["without_features"] == 3
    with (out.parent / "without_features.csv").open() as file:
        counts = {row["flags"]: row["galaxies"] for row in csv.DictReader(file)}
    assert counts == {"no_features": "2", "no_coverage": "1"}
    for name in ("density", "galaxies", "predicted", "known"):
        assert (out.parent / f"{name}_all.png").stat().st_size > 1000


def test_features_of_another_space_are_refused(results, tmp_path):
    other = fit(tmp_path, write_survey(tmp_path), components=4, maps={"all": {}})
    space = fill("<space>/space.yaml", results, space="dr1")
    kept = space.read_bytes()
    weights = space.with_name("weights.safetensors")
    kept_weights = weights.read_bytes()
    try:
        space.write_bytes(other.read_bytes())
        weights.write_bytes(other.with_name("weights.safetensors").read_bytes())
        with pytest.raises(UserError, match=r"features of space .* project this partition again"):
            page(results, tmp_path / "maps" / "report.html")
    finally:
        space.write_bytes(kept)
        weights.write_bytes(kept_weights)


def test_halves_that_stand_apart_are_found():
    places, which = make_blobs(600, centers=[(0.2, 0.2), (0.8, 0.8)], cluster_std=0.02)
    accuracy, count = tell_halves(places, which + RNG.normal(0, 0.01, 600))
    assert count == 600
    assert accuracy > 0.99
    assert 0.4 < tell_halves(places, RNG.normal(size=600))[0] < 0.6
    assert tell_halves(places, np.full(600, np.nan)) == (0.0, 0)
    assert tell_halves(places, np.ones(600)) == (0.0, 0)


def test_each_square_shows_the_galaxy_nearest_to_its_middle():
    places = np.array([[0.001, 0.001], [0.024, 0.026], [0.99, 0.5], [1.0, 1.0]])
    assert nearest_to_grid(places) == {(0, 0): 1, (19, 10): 2, (19, 19): 3}

"""What `make demo` must have reached; read from its results, so that it is not run twice."""

import json
import os
from pathlib import Path

import duckdb
import lsdb
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hats.io.validation import is_valid_catalog

from galaxymill import flags
from galaxymill.catalog.partition import part_files


@pytest.fixture(scope="module")
def results(root: Path) -> Path:
    """Results of the demo in the checkout."""
    folder = root / "results"
    if not (folder / "releases/demo/SHA256SUMS").is_file():
        if os.environ.get("CI"):
            pytest.fail("run `make demo` before the tests: its release is not there")
        pytest.skip("run `make demo` first: its release is not there")
    return folder


@pytest.fixture(scope="module")
def metrics(results: Path) -> dict:
    return json.loads((results / "evaluations/demo/metrics.json").read_text())


@pytest.mark.parametrize("question", ["smooth-or-featured-dr5", "disk-edge-on-dr5"])
def test_the_model_has_really_learned(metrics: dict, question: str) -> None:
    found = metrics["questions"][question]
    baselines = found["baselines"]
    assert found["n"] >= 60
    assert found["rmse"] <= 0.75 * baselines["constant"]["rmse"]
    assert found["rmse"] < baselines["ridge"]["rmse"]
    assert 0 < found["noise_floor_rmse"] < found["rmse"]


def test_the_volunteers_look_like_real_ones(results: Path, shared_data: Path) -> None:
    votes = pq.read_table(results / "labels/volunteers/votes.parquet").to_pandas()
    real = pd.read_csv(next((shared_data / "gz_decals_q1_votes").glob("*.csv")))
    answers = ("smooth", "featured-or-disk", "artifact")
    ours = votes[[f"smooth-or-featured-dr5_{answer}" for answer in answers]]
    theirs = real[[f"smooth-or-featured_{answer}" for answer in answers]]
    fractions = [table.div(table.sum(axis=1), axis=0).to_numpy() for table in (ours, theirs)]
    assert abs(fractions[0].mean(axis=0) - fractions[1].mean(axis=0)).max() < 0.05
    assert abs(fractions[0].std(axis=0) - fractions[1].std(axis=0)).max() < 0.05
    assert 0.6 < len(votes) / 1000 < 0.73


def test_every_galaxy_is_released_once_and_opens_everywhere(results: Path) -> None:
    release = results / "releases/demo"
    catalog = pq.read_table(results / "simulations/demo/catalog.parquet")["object_id"].to_pylist()
    friendly = pd.read_parquet(release / "friendly.parquet")
    assert sorted(friendly["object_id"]) == sorted(catalog)
    assert is_valid_catalog(release / "hats", strict=True)
    opened = lsdb.open_catalog(release / "hats").compute()
    assert sorted(opened["object_id"]) == sorted(catalog)
    query = f"select count(distinct object_id) from '{release}/advanced.parquet'"
    assert duckdb.sql(query).fetchall() == [(len(catalog),)]
    columns = pyarrow.csv.read_csv(release / "columns.csv")
    assert columns.num_rows >= len(friendly.columns)


def test_the_servers_faults_are_rows_with_flags(results: Path) -> None:
    friendly = pd.read_parquet(results / "releases/demo/friendly.parquet")
    named = friendly["flags"].map(flags.names)
    assert (friendly["status"] == "no_coverage").sum() >= 2
    assert named.map(lambda found: "no_coverage" in found).sum() >= 2
    assert named.map(lambda found: "band_empty" in found).sum() == 1
    unfit = (friendly["flags"] & flags.unfit_bits(flags.UNFIT)) != 0
    assert (friendly["smooth-or-featured-dr5_smooth_fraction"].isna() == unfit).all()
    assert (friendly["flags"] == 0).mean() > 0.98


def test_every_stage_keeps_every_galaxy_in_order(results: Path) -> None:
    survey = results / "surveys/demo"
    table = survey / "catalog/partitions.csv"
    folders = [survey / "cutouts", survey / "images", results / "predictions/demo"]
    folders.append(results / "embeddings/demo")
    for tile in part_files(table, survey / "catalog/tiles"):
        ids = pq.read_table(tile, columns=["object_id"])["object_id"]
        for folder in folders:
            made = pq.read_table(folder / tile.name, columns=["object_id"])["object_id"]
            assert made.equals(ids)


def test_galaxies_like_a_spiral_are_spirals(results: Path) -> None:
    found = pd.read_csv(results / "searches/spirals/nearest.csv")
    released = pd.read_parquet(results / "releases/demo/advanced.parquet").set_index("object_id")
    spiral = released["has-spiral-arms-dr5_yes_fraction"] * (
        1 - released["smooth-or-featured-dr5_smooth_fraction"]
    )
    assert found["object_id"][0] == "sim-000130"
    assert len(found) == found["object_id"].nunique() == 100
    assert spiral[found["object_id"][:25]].mean() > spiral.mean() + spiral.std()


def test_the_release_has_an_explorer(results: Path) -> None:
    folder = results / "explorers/demo"
    head = (folder / "data/explorer.js").read_text()
    galaxies = pq.read_metadata(results / "releases/demo/friendly.parquet").num_rows
    assert f'"galaxies":{galaxies}' in head.replace(" ", "")
    assert '"demo/all"' in head
    assert (folder / "index.html").stat().st_size > 1000


def test_the_map_is_in_the_release_and_on_a_page(results: Path) -> None:
    friendly = pd.read_parquet(results / "releases/demo/friendly.parquet")
    places = friendly[["map_all_x", "map_all_y"]].dropna()
    assert len(places) > 900
    assert places.min().min() >= 0
    assert places.max().max() <= 1
    page = (results / "maps/demo/report.html").read_text()
    assert "data:image/png;base64," in page

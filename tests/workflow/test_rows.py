"""Every galaxy in, exactly one row out, at every stage; and every product knows its origin."""

import hashlib

import pyarrow.parquet as pq
import pytest
import yaml

from galaxymill import flags
from galaxymill.catalog.partition import read_partitions
from galaxymill.simulation.faults import Faults
from galaxymill.stages import STAGE_VERSIONS
from galaxymill.storage.origin import read_record

STAGES = {
    "cutouts": "surveys/mini/cutouts",
    "images": "surveys/mini/images",
    "predictions": "predictions/said",
    "embeddings": "embeddings/said",
}


@pytest.fixture(scope="module")
def results(finished):
    return finished.folder / "results"


@pytest.fixture(scope="module")
def parts(results):
    return read_partitions(results / "surveys/mini/catalog/partitions.csv")


@pytest.fixture(scope="module")
def catalogue(results):
    return pq.read_table(results / "surveys/mini/catalog/objects.parquet")


def _ids(path):
    return pq.read_table(path, columns=["object_id"])["object_id"].to_pylist()


def _tile(results, part):
    return results / "surveys/mini/catalog/tiles" / f"{part.part}.parquet"


def _rows(results, stage, parts):
    """Rows of a stage by galaxy."""
    folder = results / STAGES[stage]
    tables = [pq.read_table(folder / f"{part.part}.parquet").to_pylist() for part in parts]
    return {row["object_id"]: row for rows in tables for row in rows}


def test_tiles_hold_each_galaxy_once(results, parts, catalogue):
    assert 2 <= len(parts) <= 4
    ids = [key for part in parts for key in _ids(_tile(results, part))]
    assert sorted(ids) == sorted(catalogue["object_id"].to_pylist())
    assert len(ids) == len(set(ids)) == 60
    assert [part.n_rows for part in parts] == [len(_ids(_tile(results, part))) for part in parts]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_the_rows_of_its_tile_in_order(results, parts, stage):
    files = {path.stem for path in (results / STAGES[stage]).glob("*.parquet")}
    assert files == {part.part for part in parts}
    for part in parts:
        ids = _ids(results / STAGES[stage] / f"{part.part}.parquet")
        assert ids == _ids(_tile(results, part))


@pytest.mark.parametrize("table", ["friendly.parquet", "advanced.parquet", "hats/mini"])
def test_a_release_has_each_galaxy_once(results, catalogue, table):
    path = results / "releases/mini" / table
    files = sorted((path / "dataset").rglob("*.parquet")) if path.is_dir() else [path]
    assert files
    ids = [key for file in files for key in _ids(file)]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(catalogue["object_id"].to_pylist())


def test_faults_are_rows_with_status_and_flags(results, parts):
    """The sky's verdicts are known: what was struck is told, and nothing else is."""
    truth = pq.read_table(results / "simulations/mini/truth.parquet")
    verdicts = Faults().judge(truth, seed=1).by_index
    ids = truth["object_id"].to_pylist()
    empty = {ids[i] for i, verdict in verdicts.items() if verdict.empty_bands}
    uncovered = {ids[i] for i, verdict in verdicts.items() if not verdict.covered}
    cutouts = _rows(results, "cutouts", parts)
    images = _rows(results, "images", parts)
    predictions = _rows(results, "predictions", parts)
    assert empty
    assert uncovered
    assert empty | uncovered < set(cutouts), "choose another seed: the struck are not in it"
    for key, cutout in cutouts.items():
        expected = "partial" if key in empty else "no_coverage" if key in uncovered else "ok"
        assert cutout["status"] == expected, key
        assert bool(cutout["payload"]) == (key not in uncovered), key
        told = set(flags.names(images[key]["flags"]))
        assert ("band_empty" in told) == (key in empty), key
        assert ("no_coverage" in told) == (key in uncovered), key
        assert images[key]["flags"] == predictions[key]["flags"], key
        unfit = bool(images[key]["flags"] & flags.unfit_bits(flags.UNFIT))
        assert (predictions[key]["concentrations"] is None) == unfit, key
    for key in empty | uncovered:
        assert predictions[key]["concentrations"] is None


def test_released_flags_are_the_predictions_flags(results, parts):
    predictions = _rows(results, "predictions", parts)
    for table in ("friendly", "advanced"):
        path = results / "releases/mini" / f"{table}.parquet"
        released = pq.read_table(path, columns=["object_id", "flags"]).to_pylist()
        assert {row["object_id"]: row["flags"] for row in released} == {
            key: row["flags"] for key, row in predictions.items()
        }


def test_origins_chain_from_catalogue_to_embeddings(results, parts):
    """Each product names the digests of what it was made from, as their own footers say."""
    model = yaml.safe_load((results / "models/mini/model.yaml").read_text())
    votes = read_record(results / "labels/volunteers/votes.parquet")
    assert model["origin"]["inputs"]["votes_1"] == votes.digest
    truth = read_record(results / "simulations/mini/truth.parquet")
    shared = set()
    for part in parts:
        of = {
            stage: read_record(results / folder / f"{part.part}.parquet")
            for stage, folder in STAGES.items()
        }
        tile = read_record(_tile(results, part))
        assert of["cutouts"].origin["inputs"] == {"tile": tile.digest, "truth": truth.digest}
        assert of["images"].origin["inputs"] == {"cutouts": of["cutouts"].digest}
        for stage in ("predictions", "embeddings"):
            inputs = of[stage].origin["inputs"]
            assert inputs["images"] == of["images"].digest
            shared.add(inputs["model"])
        assert of["images"].origin["domain"] == of["predictions"].origin["domain"]
        for record in of.values():
            assert record.rows == part.n_rows
            assert record.origin["stage_version"] == STAGE_VERSIONS[record.origin["stage"]]
    assert len(shared) == 1


def test_checksums_hold(results):
    folder = results / "releases/mini"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert lines
    named = set()
    for line in lines:
        digest, name = line.split(maxsplit=1)
        named.add(name.lstrip("*"))
        content = (folder / name.lstrip("*")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files - named == {"SHA256SUMS"}


def test_nothing_is_left_behind(finished):
    """No temporary file and no lock outlives a run."""
    assert not [path for path in finished.files("**/.*") if path.name != ".snakemake_timestamp"]

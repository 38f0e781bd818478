"""Published files are jobs like others: whoever names one as a path waits for it."""

import re
from collections import Counter

import pytest
import yaml

BODY = b"object_id,ra,dec\na,150,2\nb,151,2\n"
OBJECTS = "results/surveys/field/catalog/objects.parquet"


@pytest.mark.parametrize(
    ("name", "files", "surveys", "labels"),
    [("gz_decals", 2, 1, 1), ("gz_desi", 6, 2, 3), ("euclid_q1", 2, 1, 1)],
)
def test_jobs_of_a_published_catalogue(root, new_mill, name, files, surveys, labels):
    plain = yaml.safe_load((root / "config" / "published" / f"{name}.yaml").read_text())
    printed = new_mill.finish("-n", config=plain)
    jobs = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", printed, re.MULTILINE)
    assert Counter(jobs) == {
        "download_file": files,
        "ingest_catalog": surveys,
        "partition_catalog": surveys,
        "collect_labels": labels,
        "describe_images": surveys,
        "list_images": surveys,
        "train_model": 1,
        "evaluate_model": 1,
        "record_run": 1,
        "merge_release": 1,
        "all": 1,
    }
    for rule in ("ingest_catalog", "collect_labels"):
        assert jobs.index("download_file") < jobs.index(rule)
    for file in plain["downloads"]:
        assert f"output: results/downloads/{file}\n" in printed
        assert re.search(rf"input: .*results/downloads/{re.escape(file)}\b", printed)


@pytest.fixture
def config(httpserver):
    """A survey whose catalogue a local server has."""
    httpserver.expect_request("/galaxies.csv").respond_with_data(BODY)
    httpserver.expect_request("/mirror/galaxies.csv").respond_with_data(BODY)
    return {
        "downloads": {"field.csv": {"url": httpserver.url_for("/galaxies.csv")}},
        "surveys": {
            "field": {
                "catalog": {"path": "results/downloads/field.csv"},
                "cutouts": {"service": "legacy"},
                "images": {"recipe": "decals"},
            }
        },
    }


def test_a_download_is_made_once_and_again_when_it_changes(new_mill, config, change, httpserver):
    new_mill.finish(OBJECTS, config=config)
    (file,) = new_mill.files("downloads/*")
    assert file.read_bytes() == BODY
    assert len(httpserver.log) == 1
    assert new_mill.dry(OBJECTS, config=config) == {}

    # Dots are part of a file's name: `change` takes them for steps.
    def with_(**keys):
        return {**config, "downloads": {"field.csv": {**config["downloads"]["field.csv"], **keys}}}

    assert new_mill.dry(OBJECTS, config=with_(bytes=1_000_000)) == {}
    again = {"download_file": 1, "ingest_catalog": 1}
    assert (
        new_mill.dry(OBJECTS, config=with_(url=httpserver.url_for("/mirror/galaxies.csv"))) == again
    )
    assert new_mill.dry(OBJECTS, config=with_(md5="0" * 32)) == again
    done = new_mill.snakemake(OBJECTS, config=with_(md5="0" * 32))
    assert done.returncode != 0
    (log,) = new_mill.files("logs/download/field.csv.log")
    assert f"{'0' * 32} is expected" in log.read_text()


def test_a_selection_ingests_anew(new_mill, config, change):
    new_mill.finish(OBJECTS, config=config)
    chosen = change(config, "surveys.field.catalog.select", {"ra": [150.5, None]})
    assert new_mill.dry(OBJECTS, config=chosen) == {"ingest_catalog": 1}


def test_files_of_other_names_are_not_made(new_mill, config):
    done = new_mill.snakemake("-n", "results/downloads/other.csv", config=config)
    assert done.returncode != 0
    assert "MissingRuleException" in done.stdout + done.stderr


def test_a_path_that_is_not_downloaded_is_refused(new_mill, config, change):
    wrong = change(config, "surveys.field.catalog.path", "results/downloads/other.csv")
    done = new_mill.snakemake("-n", config=wrong)
    assert done.returncode == 2
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("galaxymill: ")]
    assert "the config downloads no such file; downloads has: field.csv" in message

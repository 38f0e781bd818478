"""What runs again after a change, and what must not."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PARTS = 2
AFTER_LABELS = {
    "train_model": 1,
    "evaluate_model": 1,
    "predict_partition": PARTS,
    "record_run": 1,
    "merge_release": 1,
}
AFTER_IMAGES = {"render_images": PARTS, "list_images": 1, "describe_images": 1, **AFTER_LABELS}
AFTER_PREDICTION = {"predict_partition": PARTS, "record_run": 1, "merge_release": 1}

CHANGES = {
    "nothing": ("models.mini.train.epochs", 2, {}),
    "rate": ("network.simulated.requests_per_second", 7, {}),
    "connections": ("network.simulated.connections", 1, {}),
    "contact": ("network.simulated.contact", "me@example.org", {}),
    "image size": ("surveys.mini.images.size", 48, AFTER_IMAGES),
    "jpeg quality": ("surveys.mini.images.quality", 80, AFTER_IMAGES),
    "recipe": ("surveys.mini.images.recipe", "lupton", AFTER_IMAGES),
    "cutout size": ("surveys.mini.cutouts.size", 48, {"fetch_cutouts": PARTS, **AFTER_IMAGES}),
    "pixel scale": (
        "surveys.mini.cutouts.pixel_scale",
        0.262,
        {"fetch_cutouts": PARTS, **AFTER_IMAGES},
    ),
    "epochs": ("models.mini.train.epochs", 3, AFTER_LABELS),
    "encoder": ("models.mini.train.encoder", "resnet18", AFTER_LABELS),
    "splits": (
        "labels.volunteers.splits",
        {"train": 0.6, "val": 0.2, "test": 0.2},
        {"collect_labels": 1, **AFTER_LABELS},
    ),
    "tolerance of votes": (
        "labels.volunteers.checks.absolute",
        5,
        {"collect_labels": 1, **AFTER_LABELS},
    ),
    "samples": ("releases.mini.predict", {"samples": 3}, AFTER_PREDICTION),
    "galaxies per HATS tile": (
        "releases.mini.galaxies_per_tile",
        50,
        {"record_run": 1, "merge_release": 1},
    ),
}


@pytest.mark.parametrize(("place", "value", "jobs"), CHANGES.values(), ids=CHANGES)
def test_a_setting_runs_what_depends_on_it(finished, change, mini_config, place, value, jobs):
    assert finished.dry(config=change(mini_config, place, value)) == jobs


def test_a_vote_file_merely_touched_runs_nothing(working_copy):
    """Snakemake compares the content of small files, too."""
    os.utime(working_copy.folder / "votes.parquet")
    assert working_copy.dry() == {}


def test_votes_changed_run_from_labels_on(working_copy):
    path = working_copy.folder / "votes.parquet"
    votes = pq.read_table(path)
    column = "smooth-or-featured-dr5_smooth"
    more = pa.array([count + 1 for count in votes[column].to_pylist()], votes[column].type)
    pq.write_table(votes.set_column(votes.column_names.index(column), column, more), path)
    assert working_copy.dry() == {"collect_labels": 1, **AFTER_LABELS}


def test_a_vote_file_more_runs_from_labels_on(working_copy, change, mini_config):
    """Nothing is fetched or rendered again."""
    votes = pq.read_table(working_copy.folder / "votes.parquet")
    pq.write_table(votes.slice(0, 5), working_copy.folder / "more.parquet")
    config = change(mini_config, "labels.volunteers.votes", ["votes.parquet", "more.parquet"])
    assert working_copy.dry(config=config) == {"collect_labels": 1, **AFTER_LABELS}


def test_a_second_model_trains_beside_the_first(finished, change, mini_config):
    """It predicts for its own release; what is there stays."""
    second = {"labels": "volunteers", "train": {**mini_config["models"]["mini"]["train"]}}
    second["train"]["seed"] = 2
    config = change(mini_config, "models.second", second)
    config = change(config, "releases.second", {"survey": "mini", "model": "second"})
    assert finished.dry(config=config) == AFTER_LABELS


def _stamps(mill, patterns):
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in mill.files(pattern)}


def test_new_galaxies_run_only_their_own_partition(working_copy, grow):
    old = [
        "surveys/mini/catalog/tiles/*.parquet",
        "surveys/mini/cutouts/*.parquet",
        "surveys/mini/images/*.parquet",
        "predictions/mini/mini/*.parquet",
        "embeddings/mini/mini/*.parquet",
        "labels/volunteers/*.parquet",
        "models/mini/*",
        "evaluations/mini/*",
    ]
    before = _stamps(working_copy, old)
    added = grow(working_copy)
    printed = working_copy.finish()
    ran = {line.split()[1].rstrip(":") for line in printed.splitlines() if _starts_job(line)}
    assert ran - {"all"} == {
        "ingest_catalog",
        "partition_catalog",
        "fetch_cutouts",
        "render_images",
        "list_images",
        "predict_partition",
        "record_run",
        "merge_release",
    }
    after = _stamps(working_copy, old)
    assert {path: after[path] for path in before} == before
    new = [path.name for path in after if path not in before]
    assert len(set(new)) == 1
    assert len(new) == 5
    assert new[0].startswith("g1-")
    (tile,) = working_copy.files("surveys/mini/catalog/tiles/g1-*.parquet")
    assert sorted(pq.read_table(tile)["object_id"].to_pylist()) == sorted(added)
    (table,) = working_copy.files("releases/mini/friendly.parquet")
    released = pq.read_table(table, columns=["object_id"])["object_id"].to_pylist()
    assert len(released) == len(set(released)) == 68
    assert set(added) < set(released)
    assert working_copy.dry() == {}


def _starts_job(line):
    return line.startswith(("rule ", "localrule ", "checkpoint ", "localcheckpoint "))

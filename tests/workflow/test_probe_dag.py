"""A probe in the workflow: which jobs it has, and what new labels run."""

import csv

import pyarrow.parquet as pq
import pytest

LOOK = {"merge_release": 1, "explore_partition": 2, "build_explorer": 1}


@pytest.fixture
def config(mini_config, change):
    """The config of the survey, with a space and a probe of a class on it."""
    labels = {"votes": "rings.csv", "format": "classes", "column": "ring"}
    plain = change(mini_config, "labels.rings", {**labels, "images": {"survey": "mini"}})
    plain["labels"]["rings"]["splits"] = {"train": 1, "val": 0, "test": 0}
    plain = change(plain, "models.rings", {"labels": "rings", "train": {"features": "looks"}})
    return change(plain, "predictions.rings", {"survey": "mini", "model": "rings"})


def write_labels(mill, turned=""):
    tiles = mill.files("surveys/mini/catalog/tiles/*.parquet")
    names = [name for tile in tiles for name in pq.read_table(tile)["object_id"].to_pylist()]
    with (mill.folder / "rings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("object_id", "ring"))
        for place, name in enumerate(names):
            writer.writerow((name, "yes" if (place % 2 == 0) != (name == turned) else "no"))
    return names


def test_a_probe_from_labels_to_a_release(working_copy, config, change):
    """Its predictions stand beside the network's; other labels run it, and what follows, alone."""
    names = write_labels(working_copy)
    config = change(config, "releases.mini.predictions", ["said", "rings"])
    expected = {
        "fit_probe": 1,
        "collect_labels": 1,
        "apply_probe": 2,
        "evaluate_model": 1,
        "record_run": 1,
        **LOOK,
    }
    assert working_copy.dry(config=config) == expected
    working_copy.finish(config=config)
    assert working_copy.dry(config=config) == {}
    apply = {"apply_probe": 2, **LOOK}
    assert working_copy.dry_raised("apply", config=config) == apply
    fit = {"fit_probe": 1, "evaluate_model": 1, **apply}
    assert working_copy.dry_raised("probe", config=config) == fit
    readme = (working_copy.folder / "results/releases/mini/README.md").read_text()
    assert "on the features of space looks" in readme
    assert (working_copy.folder / "results/evaluations/rings/learning_curve.png").is_file()
    write_labels(working_copy, turned=names[5])
    assert working_copy.dry(config=config) == {"collect_labels": 1, "record_run": 1, **fit}

"""A bad config is refused before anything runs: one message, exit code 2."""

from copy import deepcopy

import pytest

from galaxymill.config.files import load_config
from galaxymill.errors import UserError

BAD = {
    "misspelt section": ("survey", {}, ["survey", "unknown key", "surveys"]),
    "misspelt key": (
        "models.mini.train.epoch",
        3,
        ["models.mini.train.epoch", "unknown key", "epochs"],
    ),
    "misspelt setting of a service": (
        "surveys.mini.cutouts.pixelscale",
        0.262,
        ["surveys.mini.cutouts", "pixelscale", "unknown key", "pixel_scale"],
    ),
    "missing catalogue": (
        "surveys.mini.catalog.path",
        "nowhere.csv",
        ["surveys.mini.catalog.path", "no such file", "nowhere.csv"],
    ),
    "missing votes": (
        "labels.volunteers.votes",
        "nowhere.parquet",
        ["labels.volunteers.votes", "no such file", "nowhere.parquet"],
    ),
    "unknown tree": ("labels.volunteers.tree", "gz9", ["labels.volunteers.tree", "gz9", "gz2"]),
    "unknown recipe": (
        "surveys.mini.images.recipe",
        "sepia",
        ["surveys.mini.images", "sepia", "decals", "lupton", "passthrough"],
    ),
    "unknown encoder": (
        "models.mini.train.encoder",
        "resnet10",
        ["models.mini.train.encoder", "resnet10", "resnet10t"],
    ),
    "unknown service": (
        "surveys.mini.cutouts.service",
        "panstars",
        ["surveys.mini.cutouts", "panstars", "panstarrs", "legacy", "simulated"],
    ),
    "unknown survey": (
        "predictions.said.survey",
        "maxi",
        ["predictions.said.survey", "maxi", "mini"],
    ),
    "a cut in no column": (
        "releases.mini.selections",
        {
            "some": {
                "description": "d",
                "source": "s",
                "cuts": [{"column": "bar-dr5_fraction", "at_least": 1}],
            }
        },
        ["releases.mini.selections.some.cuts", "unknown column 'bar-dr5_fraction'"],
    ),
    "a column twice": (
        "releases.mini.predictions",
        ["said", "again"],
        ["releases.mini", "prediction said and prediction again", "release them apart"],
    ),
    "unknown network": ("network.legcay", {}, ["network.legcay", "legcay", "legacy"]),
    "value out of range": (
        "models.mini.train.epochs",
        0,
        ["models.mini.train.epochs", "greater than or equal to 1", "0"],
    ),
    "wrong kind": ("models.mini.train.epochs", "many", ["models.mini.train.epochs", "many"]),
    "bad name": ("surveys.my survey", {}, ["my survey"]),
    "radius not named": (
        "surveys.mini.catalog.petro_r50",
        None,
        ["surveys.mini", "catalog.petro_r50 is required"],
    ),
    "splits that do not add up": (
        "labels.volunteers.splits",
        {"train": 0.7, "val": 0.7, "test": 0.2},
        ["labels.volunteers.splits", "must be 1"],
    ),
}


def spoilt(change, config, place, value):
    """The config with one value set; a second prediction is there to be named."""
    again = {**config["predictions"]["said"], "samples": 9}
    return change(change(config, "predictions.again", again), place, value)


@pytest.mark.parametrize(("place", "value", "told"), BAD.values(), ids=BAD)
def test_a_bad_config_is_refused(change, simulated_config, trees, place, value, told):
    with pytest.raises(UserError) as refused:
        load_config(spoilt(change, simulated_config, place, value), "config.yaml", trees)
    for words in ["config.yaml", *told]:
        assert words in str(refused.value)


@pytest.mark.parametrize("name", ["missing catalogue", "a cut in no column"])
def test_snakemake_ends_with_one_message(new_mill, change, simulated_config, name):
    place, value, told = BAD[name]
    done = new_mill.snakemake("-n", config=spoilt(change, simulated_config, place, value))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("galaxymill: ")]
    assert len(messages) == 1, done.stderr
    for words in ["config.yaml", *told]:
        assert words in messages[0], messages[0]
    assert not (new_mill.folder / "results").exists()


def test_a_config_without_a_key_names_it(new_mill, simulated_config):
    config = deepcopy(simulated_config)
    del config["models"]["mini"]["train"]["encoder"]
    done = new_mill.snakemake("-n", config=config)
    assert done.returncode == 2
    assert "models.mini.train.encoder: this key is required" in done.stderr


@pytest.mark.parametrize(("target", "told"), [("all", True), ("images", False)])
def test_a_config_of_images_alone_names_the_target(new_mill, simulated_config, target, told):
    kept = ("simulations", "surveys", "labels", "network")
    config = {key: deepcopy(simulated_config[key]) for key in kept}
    done = new_mill.snakemake("-n", target, config=config)
    assert done.returncode == 0, done.stderr
    assert ("all makes nothing; galaxymill run -- images fetches" in done.stderr) == told


def test_a_config_replaces_the_demo(new_mill):
    """Snakemake would merge the two: then the demo's thousand galaxies would run as well."""
    done = new_mill.snakemake("-n")
    assert done.returncode == 0
    printed = done.stdout + done.stderr
    assert "simulations/mini" in printed
    assert "/demo" not in printed
    assert "=demo" not in printed

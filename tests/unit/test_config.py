"""The config is checked whole before anything runs."""

import shlex
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from galaxymill.config.config import Config
from galaxymill.config.files import load_config
from galaxymill.errors import UserError

PLAIN = {
    "surveys": {
        "field": {
            "catalog": {"path": "galaxies.csv"},
            "cutouts": {"service": "legacy", "pixel_scale": 0.262},
            "images": {"recipe": "decals"},
        }
    },
    "labels": {
        "votes": {"votes": "votes.csv", "tree": "decals_dr5", "images": {"survey": "field"}}
    },
    "models": {"net": {"labels": "votes", "train": {"encoder": "resnet18"}}},
    "predictions": {"said": {"survey": "field", "model": "net", "allow_domain_shift": True}},
    "releases": {"dr1": {"predictions": "said"}},
    "network": {"legacy": {"connections": 2}},
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Stand beside the files that ``PLAIN`` names."""
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).touch()
    return tmp_path


def changed(path, value):
    plain = deepcopy(PLAIN)
    *way, last = path.split("/")
    place = plain
    for step in way:
        place = place.setdefault(step, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return plain


def refusal(plain, trees):
    with pytest.raises(UserError) as refused:
        load_config(plain, "mine.yaml", trees)
    message = str(refused.value)
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message
    return message


def test_the_demo_config_loads(root, trees, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = yaml.safe_load((root / "config" / "config.yaml").read_text(encoding="utf-8"))
    config = load_config(plain, "config.yaml", trees)
    assert config.releases
    assert all(config.release_survey(name) in config.surveys for name in config.releases)


def test_a_good_config_loads(files, trees):
    config = load_config(PLAIN, "mine.yaml", trees)
    assert "--network connections=2" in config.operational_flags("field")
    assert config.hosts() == {"www.legacysurvey.org": 1}
    assert config.tree_path("votes", trees) == trees / "decals_dr5.yaml"
    assert config.predictions["said"].settings().samples == 5


MISSPELT = [
    (
        "survey",
        {},
        "detectability, downloads, explorers, interests, labels, models, network, ",
    ),
    ("surveys/field/catalogue", {}, "catalog, cutouts, images, partitions"),
    ("surveys/field/catalog/radec", "x", "dec, file_loc, hdu, keep, object_id, own_redshift, path"),
    ("surveys/field/partitions", {"galaxies": 5}, "galaxies_per_partition"),
    ("surveys/field/cutouts/layr", "ls-dr9", "bands, footprint, format, invvar, layer, maskbits, "),
    (
        "surveys/field/images/colour",
        "z",
        "blue, fill, format, green, origin, quality, red, reproj",
    ),
    ("labels/votes/image", {}, "checks, columns, dec, format, images, object_id, ra, splits"),
    ("labels/votes/images/dir", "x", "depth, folder, format, origin, quality, shape, size, survey"),
    ("labels/votes/splits", {"training": 0.7}, "salt, test, train, val"),
    ("models/net/label", "x", "labels, train"),
    ("models/net/train/epoch", 3, "batch_size, cache_gb, calibrate, concentrations, counts, dev"),
    (
        "releases/dr1/modle",
        "x",
        "creators, date, description, detectability, doi, fits, ",
    ),
    ("releases/dr1/model", "net", "creators, date, description, detectability, doi, fits, "),
    ("predictions/said", {"sample": 2}, "allow_domain_shift, batch_size, compile"),
    (
        "network/legacy/rate",
        1,
        "attempts, connections, contact, jobs, max_failed, requests_per_second, stop_after, "
        "timeout_s",
    ),
    ("simulations", {"sky": {"n": 5}}, "labelled, n_galaxies, seed, votes_per_galaxy"),
]


@pytest.mark.parametrize(("path", "value", "allowed"), MISSPELT)
def test_misspelt_key_is_refused(files, trees, path, value, allowed):
    message = refusal(changed(path, value), trees)
    place = path.split("/")
    for step in [*place[:2], *(value if isinstance(value, dict) else place[-1:])]:
        assert step in message
    assert f"unknown key; allowed: {allowed}" in message


WRONG = [
    ("surveys/field/catalog/path", "no.csv", "surveys.field.catalog.path: no such file: no.csv"),
    ("surveys/field/catalog", {}, "surveys.field.catalog.path: this key is required"),
    ("labels/votes/votes", "no.csv", "labels.votes.votes: no such file: no.csv"),
    ("labels/votes/tree", "desy", "labels.votes.tree: unknown tree 'desy'; allowed: candels,"),
    ("labels/votes/tree", "my/tree.yaml", "unknown tree 'my/tree.yaml'"),
    ("labels/votes/votes", ["votes.csv", "no.csv"], "labels.votes.votes: no such file: no.csv"),
    ("labels/votes/votes", ["votes.csv", "votes.csv"], "votes: given twice: votes.csv"),
    ("labels/votes/votes", [], "labels.votes.votes: Tuple should have at least 1 item"),
    (
        "labels/votes/format",
        "gz3",
        "unknown format 'gz3'; allowed: answers, class_answers,",
    ),
    ("labels/votes/format", "classes", "column: this key is required"),
    ("labels/votes/column", "ring", "column: unknown key; allowed: checks, columns, dec, format"),
    ("labels/votes/tree", None, "tree: is required by format counts"),
    ("labels/votes/checks", {"absolut": 3}, "unknown key; allowed: absolute, lost, parents, rela"),
    ("labels/votes/checks", False, "labels.votes.checks: Input should be a valid dictionary"),
    ("labels/votes/settings", {}, "unknown key; allowed: "),
    ("labels/votes/images/survey", "fild", "unknown survey 'fild'; allowed: field"),
    ("labels/votes/images", {"folder": "no"}, "labels.votes.images.folder: no such folder: no"),
    ("labels/votes/images/folder", ".", "give either survey or folder"),
    ("labels/votes/images", {}, "give either survey or folder"),
    ("labels/votes/splits", {"train": 0.9}, "train + val + test must be 1, not 1.2"),
    ("labels/votes/splits", {"train": 0}, "labels.votes.splits.train: Input should be greater"),
    ("surveys/field/images/recipe", "lupto", "unknown recipe 'lupto'; allowed: asinh, decals"),
    (
        "surveys/field/images",
        {},
        "recipe is required; allowed: asinh, decals, euclid, hsc",
    ),
    ("surveys/field/cutouts/service", "legcy", "unknown service 'legcy'; allowed: euclid, files,"),
    ("surveys/field/cutouts/size", 8, "size: Input should be greater than or equal to 16"),
    ("surveys/field/cutouts/service", "simulated", "truth: this key is required"),
    (
        "surveys/field/cutouts",
        {"service": "simulated", "truth": "no.parquet"},
        "surveys.field.cutouts.truth: no such file: no.parquet",
    ),
    ("surveys/field/cutouts", {"service": "files"}, "catalog.file_loc is required by cutouts"),
    ("surveys/field/cutouts/pixel_scale", "gz_decals", "catalog.petro_r50 is required by cutouts"),
    ("models/net/labels", "vote", "unknown labels 'vote'; allowed: votes"),
    ("models/net/train/encoder", "resnet81", "unknown encoder 'resnet81'; nearest:"),
    ("models/net/train", None, "models.net.train: this key is required"),
    ("models/net/train/epochs", "many", "models.net.train.epochs: Input should be a valid integer"),
    ("predictions/said/survey", "fild", "unknown survey 'fild'; allowed: field"),
    ("predictions/said/model", "nett", "unknown model 'nett'; allowed: net"),
    ("predictions/said/samples", 0, "predictions.said.samples: Input should be"),
    ("releases/dr1/predictions", "sad", "unknown predictions 'sad'; allowed: said"),
    ("releases/dr1/predictions", [], "releases.dr1.predictions: Tuple should have at least 1"),
    ("releases/dr1/predictions", ["said", "said"], "releases.dr1.predictions: one is named twice"),
    ("network/legasy", {}, "unknown service 'legasy'; allowed: euclid, files,"),
    ("surveys/..", {}, "surveys."),
    ("surveys/a b", {}, "surveys.a b"),
]


@pytest.mark.parametrize(("path", "value", "expected"), WRONG)
def test_bad_value_is_refused_by_place_value_and_allowed(files, trees, path, value, expected):
    assert expected in refusal(changed(path, value), trees)


@pytest.mark.parametrize("plain", [None, [], "text", 5, {"surveys": []}, {"surveys": {"a": None}}])
def test_what_is_no_config_is_refused(files, trees, plain):
    refusal(plain, trees)


@pytest.mark.parametrize("scale", [0, -0.262, float("nan"), float("inf")])
def test_impossible_pixel_scale_is_refused(files, trees, scale):
    assert "pixel_scale" in refusal(changed("surveys/field/cutouts/pixel_scale", scale), trees)


def test_a_tree_of_ones_own_is_checked_too(files, trees):
    (files / "mine.yaml").write_text("name: x\nquestions: {}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: questions"):
        load_config(changed("labels/votes/tree", "./mine.yaml"), "config.yaml", trees)


def test_files_of_a_simulation_are_made_by_the_workflow(files, trees):
    plain = changed("surveys/field/catalog/path", "results/simulations/sky/catalog.parquet")
    assert "no such file" in refusal(plain, trees)
    load_config({**plain, "simulations": {"sky": {}}}, "mine.yaml", trees)


def test_importing_the_config_and_what_reads_tables_is_light():
    code = (
        "import sys, galaxymill.config, galaxymill.cli, galaxymill.paths, galaxymill.catalog.names;"
        "import galaxymill.release.merge, galaxymill.explorer.slices, galaxymill.explorer.build;"
        "print([m for m in ('torch', 'torchvision', 'astropy', 'timm', 'galsim', 'lightning',"
        "'hats') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "surveys/field/cutouts/bands",
            ["g", "r"],
            "decals draws band 'z', which is not among",
        ),
        (
            "surveys/field/images",
            {"recipe": "passthrough"},
            "sends FITS; choose one of asinh, decals",
        ),
        (
            "surveys/field/cutouts",
            {"service": "hips2fits", "hips": ["g", "r", "z"]},
            "give cutouts.zero_points",
        ),
        (
            "surveys/field/cutouts",
            {"service": "sdss"},
            "decals draws from FITS, but sdss sends pictures; choose passthrough",
        ),
        ("predictions/said/allow_domain_shift", False, None),
        (
            "surveys/field/cutouts",
            {"service": "files", "folder": "nowhere"},
            "catalog.file_loc is required",
        ),
    ],
)
def test_contradictions_are_refused_before_anything_runs(files, trees, path, value, expected):
    plain = changed(path, value)
    if expected is None:
        load_config(plain, "mine.yaml", trees)
    else:
        assert expected in refusal(plain, trees)


def test_a_model_of_other_images_needs_leave(files, trees):
    (files / "gz2").mkdir()
    plain = changed("labels/votes/images", {"folder": "gz2"})
    load_config(plain, "mine.yaml", trees)
    del plain["predictions"]["said"]["allow_domain_shift"]
    assert "allow_domain_shift: true" in refusal(plain, trees)


def test_a_folder_of_cutouts_that_is_not_there_is_refused(files, trees):
    plain = changed("surveys/field/cutouts", {"service": "files", "folder": "nowhere"})
    plain["surveys"]["field"]["catalog"]["file_loc"] = "file_loc"
    assert "surveys.field.cutouts.folder: no such folder: nowhere" in refusal(plain, trees)


FILES = {"service": "files", "folder": "."}


@pytest.mark.parametrize(
    ("file_loc", "cutouts", "expected"),
    [
        ("file_loc", {}, None),
        (["g", "r", "z"], {}, None),
        (None, {"pattern": "{object_id}_{band}.fits"}, None),
        (None, {"pattern": "{file_loc}.fits"}, "catalog.file_loc is required"),
        (
            ["g", "r"],
            {},
            "catalog.file_loc: 2 columns for bands g,r,z of cutouts; give one, or one",
        ),
        ("file_loc", {"bands": ["g", "r"]}, "draws band 'z', which is not among cutouts.bands g,r"),
        ("file_loc", {"pattern": "{id}.fits"}, "{id} is unknown; allowed: {file_loc}, {object_id}"),
    ],
)
def test_files_of_ones_own(files, trees, file_loc, cutouts, expected):
    plain = changed("surveys/field/cutouts", {**FILES, **cutouts})
    plain["surveys"]["field"]["catalog"]["file_loc"] = file_loc
    if expected is None:
        load_config(plain, "mine.yaml", trees)
    else:
        assert expected in refusal(plain, trees)


def test_an_empty_config_is_refused(trees):
    assert "the config is empty" in refusal({}, trees)


ZOONIVERSE = {"format": "panoptes", "tasks": "tasks.yaml"}


def labels(files, trees, **changes):
    plain = deepcopy(PLAIN)
    plain["labels"]["votes"].update(changes)
    return load_config(plain, "mine.yaml", trees).labels["votes"]


def test_one_file_or_several(files, trees):
    (files / "more.csv").touch()
    assert [str(path) for path in labels(files, trees).votes] == ["votes.csv"]
    several = labels(files, trees, votes=["votes.csv", "more.csv"])
    assert [str(path) for path in several.votes] == ["votes.csv", "more.csv"]


def test_settings_of_labels_travel_as_flags(files, trees):
    chosen = labels(files, trees, columns={"a_b": "x,y=z"}, checks={"relative": 0.1})
    words = shlex.split(chosen.to_flags())
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert type(chosen.settings).from_flags(sets, "labels") == chosen.settings
    assert words[:2] == ["--format", "counts"]
    assert words[-2:] == ["--check", "relative=0.1"]


def test_a_file_of_tasks_is_an_input_and_no_param(files, trees):
    with pytest.raises(UserError, match=r"labels.votes.tasks: no such file: tasks.yaml"):
        labels(files, trees, **ZOONIVERSE)
    (files / "tasks.yaml").touch()
    chosen = labels(files, trees, **ZOONIVERSE)
    assert "tasks.yaml" not in chosen.to_flags()
    assert chosen.settings.operational_flags() == "--set tasks=tasks.yaml"


def test_an_export_has_no_files_of_images(files, trees):
    (files / "tasks.yaml").touch()
    with pytest.raises(UserError, match="format panoptes has no column file_loc"):
        labels(files, trees, **ZOONIVERSE, images={"folder": "."})


def test_simple_labels_have_no_tree(files, trees):
    with pytest.raises(UserError, match="tree: does not go with format number"):
        labels(files, trees, format="number", column="z")


def test_the_example_of_few_labels_is_allowed(root):
    plain = yaml.safe_load((root / "config" / "few_labels.yaml").read_text())
    config = Config.model_validate(plain)
    assert config.models["mine"].train.members == 3
    train = plain["models"]["mine"]["train"]
    train["folds"] = train.pop("members") + 2
    plain["labels"]["mine"]["splits"] = {"train": 1, "val": 0, "test": 0}
    assert Config.model_validate(plain).models["mine"].train.networks == 5
    assert config.labels["mine"].votes == (Path("pictures/votes.csv"),)


PICTURES = {
    "surveys": {
        "mine": {
            "catalog": {"path": "galaxies.csv", "positions": False, "file_loc": "file"},
            "cutouts": {"service": "files"},
            "images": {"recipe": "passthrough", "origin": "sdss-gri-jpeg"},
        }
    },
    "labels": {
        "votes": {
            "votes": "votes.csv",
            "tree": "decals_dr5",
            "images": {"folder": ".", "origin": "sdss-gri-jpeg"},
        }
    },
    "models": {"net": {"labels": "votes", "train": {"encoder": "resnet18"}}},
    "predictions": {"said": {"survey": "mine", "model": "net"}},
    "releases": {"dr1": {"predictions": "said"}},
}


def with_value(plain, path, value):
    copy = deepcopy(plain)
    *way, last = path.split("/")
    place = copy
    for step in way:
        place = place[step]
    place[last] = value
    return copy


def test_pictures_without_positions_are_a_survey(files, trees):
    config = load_config(PICTURES, "mine.yaml", trees)
    assert not config.surveys["mine"].catalog.positions
    assert "--set positions=false" in config.surveys["mine"].catalog.settings().to_flags()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "surveys/mine/cutouts",
            {"service": "legacy"},
            "catalog.positions: false, but the cutout service asks for galaxies by "
            "their positions (service: legacy)",
        ),
        (
            "surveys/mine/cutouts",
            {"service": "files", "footprint": "galaxies.csv"},
            "but a footprint takes galaxies by their positions",
        ),
    ],
)
def test_what_needs_positions_is_refused_without(files, trees, path, value, told):
    assert told in refusal(with_value(PICTURES, path, value), trees)


def test_one_origin_recipe_and_settings_are_one_domain(files, trees):
    config = load_config(PICTURES, "mine.yaml", trees)
    assert config.label_domain("votes") == config.survey_domain("mine")
    assert config.survey_domain("mine")["survey"] == "sdss-gri-jpeg"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("labels/votes/images/origin", None, "survey: model 'votes', survey 'sdss-gri-jpeg'"),
        ("labels/votes/images/size", 300, "size: model 300, survey 424"),
        ("surveys/mine/images/format", "png", "format: model 'jpeg', survey 'png'"),
    ],
)
def test_another_domain_is_refused_with_what_differs(files, trees, path, value, told):
    message = refusal(with_value(PICTURES, path, value), trees)
    assert told in message
    assert "images: {origin: NAME}" in message
    assert "allow_domain_shift: true" in message


def test_an_origin_stands_with_the_survey_that_has_the_images(files, trees):
    images = {"survey": "mine", "origin": "sdss-gri-jpeg"}
    message = refusal(with_value(PICTURES, "labels/votes/images", images), trees)
    assert "that of a survey is surveys.mine.images.origin" in message

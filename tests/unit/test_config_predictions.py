"""Predictions have names; releases and evaluations are of them, and what cannot be is refused."""

import json
import logging
import shlex
from copy import deepcopy

import pytest

from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.planning.models import model_flags, model_use
from galaxymill.reproduction.closure import describe_run
from galaxymill.trees.tree import load_tree


def labels(kind, **more):
    return {"votes": "votes.csv", "format": kind, **more, "images": {"survey": "field"}}


def survey(**catalog):
    return {
        "catalog": {"path": "galaxies.csv", **catalog},
        "cutouts": {"service": "legacy"},
        "images": {"recipe": "decals"},
    }


def model(*names):
    return {"labels": list(names), "train": {"encoder": "resnet18"}}


PLAIN = {
    "surveys": {"field": survey(keep=["mag_r"]), "deep": survey()},
    "labels": {
        "votes": labels("counts", tree="decals_dr5"),
        "ring": labels("classes", column="ring", classes=["no", "yes"]),
        "kind": labels("classes", column="kind"),
        "z": labels("number", column="redshift"),
        "older": labels("counts", tree="gz2"),
    },
    "models": {name: model(name) for name in ("votes", "ring", "kind", "z")},
    "predictions": {
        name: {"survey": "field", "model": name} for name in ("votes", "ring", "kind", "z")
    },
    "releases": {"all": {"predictions": ["votes", "ring", "kind", "z"]}},
}


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).touch()
    return lambda plain: load_config(plain, "mine.yaml", trees)


def changed(**sections):
    """Copy the config with more in some sections."""
    plain = deepcopy(PLAIN)
    for section, more in sections.items():
        plain[section] |= more
    return plain


OLD = {
    "dr1": {"survey": "field", "model": "votes", "predict": {"samples": 9}, "title": "One"},
    "dr2": {"survey": "field", "model": "votes", "predict": {"samples": 9}},
    "rings": {"survey": "field", "model": "ring", "predict": None},
}
NEW = {
    "predictions": {
        "dr1": {"survey": "field", "model": "votes", "samples": 9},
        "rings": {"survey": "field", "model": "ring"},
    },
    "releases": {
        "dr1": {"predictions": "dr1", "title": "One"},
        "dr2": {"predictions": "dr1"},
        "rings": {"predictions": "rings"},
    },
}


def test_a_config_of_before_is_read_and_told_what_to_write(load, caplog):
    old = {**PLAIN, "predictions": {}, "releases": OLD}
    given = deepcopy(old)
    with caplog.at_level(logging.WARNING, "galaxymill"):
        config = load(old)
    assert old == given
    assert len(caplog.messages) == len(OLD)
    assert caplog.messages[0].startswith("mine.yaml: releases.dr1: survey, model and predict stand")
    assert "releases: {dr1: {predictions: dr1}}" in caplog.messages[0]
    caplog.clear()
    assert config == load({**PLAIN, **NEW})
    assert not caplog.messages
    assert describe_run(old, config, "dr2") == describe_run({**PLAIN, **NEW}, config, "dr2")


def test_a_name_that_is_taken_is_not_taken_over(load):
    predictions = {"dr1": {"survey": "field", "model": "z"}}
    config = load({**PLAIN, "predictions": predictions, "releases": OLD})
    assert config.predictions["dr1"].model == "z"
    (said,) = config.releases["dr1"].predictions
    assert (config.predictions[said].model, config.predictions[said].samples) == ("votes", 9)


CLASH = "{} would both give column {}; release them apart, or rename a question or column"
SPELT = {"cuts": [{"column": "ring_yes_probability", "at_least": 0.5}], "description": "rings"}


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        (
            {"predictions": {"again": {"survey": "field", "model": "z", "samples": 9}}},
            CLASH.format("prediction z and prediction again", "redshift_mean"),
        ),
        (
            {"surveys": {"field": survey(keep=["ring_entropy"])}},
            CLASH.format("catalog.keep and prediction ring", "ring_entropy"),
        ),
        (
            {"surveys": {"field": survey(keep=["Status"])}},
            CLASH.format("every release and catalog.keep", "Status"),
        ),
        (
            {"surveys": {"field": survey(keep=["mag_r", "rings"])}, "releases": {}},
            CLASH.format("catalog.keep and selection rings", "rings"),
        ),
    ],
)
def test_two_columns_of_one_name_are_refused_before_anything_runs(load, sections, told):
    plain = changed(**sections)
    plain["releases"]["all"] = {
        "predictions": list(plain["predictions"]),
        "selections": {"rings": {**SPELT, "source": "this test"}},
    }
    with pytest.raises(UserError, match=r"mine\.yaml: releases\.all: ") as refused:
        load(plain)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("column", "is_known"),
    [
        ("ring_yes_probability", True),
        ("ring_maybe_probability", False),
        ("redshift_mean", True),
        ("redshift_entropy", False),
        ("bar-dr5_strong_fraction", True),
        ("mag_r", True),
        ("mag_g", False),
        # Which classes there are, the file of labels alone knows.
        ("kind_spiral_probability", True),
    ],
)
def test_a_cut_in_a_column_that_will_not_be_is_refused_before_anything_runs(load, column, is_known):
    cut = {**SPELT, "source": "this test", "cuts": [{"column": column, "at_least": 0.5}]}
    chosen = {**PLAIN["releases"]["all"], "selections": {"some": cut}}
    plain = changed(releases={"all": chosen})
    if is_known:
        load(plain)
        return
    with pytest.raises(UserError, match=r"selections\.some\.cuts: unknown column"):
        load(plain)


def test_a_release_is_of_one_survey(load):
    deep = {"survey": "deep", "model": "z", "allow_domain_shift": True}
    plain = changed(
        predictions={"deep": deep}, releases={"all": {"predictions": ["votes", "deep"]}}
    )
    with pytest.raises(UserError) as refused:
        load(plain)
    told = "releases.all.predictions: votes of field, deep of deep; a release is of one survey"
    assert told in str(refused.value)


def test_a_model_is_evaluated_as_its_predictions_are_made(load):
    """Once where they have one posterior; what is kept, and where it is computed, is no matter."""
    same = {"survey": "field", "model": "votes", "keep": ["embeddings"], "device": "cpu"}
    found = load(changed(predictions={"same": same})).evaluations()
    assert set(found) == {"votes", "ring", "kind", "z"}
    assert found["votes"].settings.to_flags() == ""
    assert found["votes"].settings.device == "cpu"
    other = {"survey": "field", "model": "votes", "samples": 20}
    found = load(changed(predictions={"other": other})).evaluations()
    assert set(found) == {"votes", "other", "ring", "kind", "z"}
    assert {found[name].model for name in ("votes", "other")} == {"votes"}
    assert found["votes"].settings.posterior() == {}
    assert found["other"].settings.posterior() == {"samples": 20}


def test_a_model_that_predicts_nothing_is_evaluated_too(load):
    plain = {**PLAIN, "predictions": {}, "releases": {}}
    found = load(plain).evaluations()
    assert set(found) == set(PLAIN["models"])
    plain["labels"] = {**plain["labels"], "z": {**plain["labels"]["z"]}}
    plain["labels"]["z"]["splits"] = {"train": 0.8, "val": 0.2, "test": 0}
    assert set(load(plain).evaluations()) == set(PLAIN["models"]) - {"z"}


def test_an_evaluation_does_not_take_another_models_name(load):
    plain = changed(predictions={"other": {"survey": "field", "model": "votes", "samples": 20}})
    plain["predictions"]["ring"] = {"survey": "field", "model": "votes", "views": 8}
    plain["releases"] = {}
    with pytest.raises(UserError, match=r"predictions\.ring: has the name of another model"):
        load(plain)


def test_the_record_of_a_run_holds_the_predictions_of_its_release_alone(load):
    plain = changed(releases={"one": {"predictions": "z"}})
    config = load(plain)
    run = describe_run(plain, config, "one")
    assert load(json.loads(run.config)).predictions == {"z": config.predictions["z"]}
    more = changed(
        releases={"one": {"predictions": "z"}},
        predictions={"ring": {**PLAIN["predictions"]["ring"], "samples": 7}},
    )
    assert describe_run(more, load(more), "one").settings == run.settings
    more["predictions"]["z"] = {**more["predictions"]["z"], "samples": 7}
    assert describe_run(more, load(more), "one").settings != run.settings


def test_a_plan_adds_up_the_columns_of_every_tree_of_a_joint_model(load, trees):
    plain = changed(
        models={"joint": model("votes", "older")},
        predictions={"joint": {"survey": "field", "model": "joint", "keep": []}},
    )
    config = load(plain)
    columns = 0
    for name in ("decals_dr5", "gz2"):
        tree = load_tree(trees / f"{name}.yaml")
        # A fraction and two bounds an answer; asked, entropy and information a question.
        columns += 3 * len(tree.columns) + 3 * len(tree.questions)
    use = model_use(config, "joint", trees)
    assert (use.summary_bytes, use.embedding_bytes) == (4 * columns, 0)
    words = shlex.split(model_flags(config, "field", trees))
    assert words[::2] == ["--prediction"] * 5
    assert [word.split()[0] for word in words[1::2]] == [*PLAIN["predictions"], "joint"]
    assert model_flags(config, "deep", trees) == ""

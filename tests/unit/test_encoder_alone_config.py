"""A model may be an encoder alone; what a config asks of a model that it cannot do is refused."""

from copy import deepcopy

import pytest

from galaxymill.config.config import Config
from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER
from galaxymill.planning.models import model_use
from galaxymill.rates import ModelUse
from galaxymill.reproduction.closure import describe_run

ALONE = {"encoder": PACKAGE_ENCODER, "weights": PACKAGE, "image_size": 128, "views": 8}
PLAIN = {
    "surveys": {
        "field": {
            "catalog": {"path": "galaxies.csv"},
            "cutouts": {"service": "legacy"},
            "images": {"recipe": "decals"},
        }
    },
    "labels": {
        "votes": {"votes": "votes.csv", "tree": "decals_dr5", "images": {"survey": "field"}},
        "winding": {"votes": "votes.csv", "tree": "winding.yaml", "images": {"survey": "field"}},
        "hand": {
            "votes": "votes.csv",
            "format": "classes",
            "column": "hand",
            "classes": ["cw", "acw"],
            "images": {"survey": "field"},
        },
    },
    "models": {
        "alone": ALONE,
        "votes": {"labels": "votes", "train": {"encoder": "resnet18", "members": 2}},
    },
    "predictions": {
        "seen": {"survey": "field", "model": "alone", "pool": "mean_std"},
        "said": {"survey": "field", "model": "votes"},
    },
    "spaces": {"dr1": {"predictions": "seen"}},
    "releases": {"dr1": {"predictions": "said"}},
}
WINDING = "name: w\nquestions:\n  way-wound: {answers: [clockwise, anticlockwise]}\n"


@pytest.fixture
def load(tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).touch()
    (tmp_path / "winding.yaml").write_text(WINDING)
    return lambda plain: load_config(plain, "mine.yaml", trees)


def changed(section, name, value):
    plain = deepcopy(PLAIN)
    plain[section][name] = value
    return plain


def test_an_encoder_alone_is_not_evaluated(load):
    config = load(PLAIN)
    assert set(config.evaluations()) == {"votes"}
    assert config.models["alone"].labels == ()
    assert config.models["alone"].network.side == round(1.3 * 128)
    flags = config.models["alone"].to_flags()
    others = f"--set encoder={PACKAGE_ENCODER} --set image_size=128 --set views=8"
    assert flags == f"{others} --set weights={PACKAGE}"


def test_an_encoder_alone_costs_its_views_and_its_embeddings(load, trees):
    use = model_use(load(PLAIN), "seen", trees)
    assert use.passes == 8
    assert use.summary_bytes == 0
    assert use.embedding_bytes == 2 * ModelUse().embedding_bytes


def test_a_model_may_start_from_an_encoder_alone(load):
    train = {"encoder": PACKAGE_ENCODER, "weights": "results/models/alone/model.yaml"}
    plain = changed("models", "votes", {"labels": "votes", "train": train})
    config = load(plain)
    assert '"alone"' in describe_run(plain, config, "dr1").config
    assert Config.model_validate(plain).models["votes"].network.weights_file is not None


def votes_model(labels, **train):
    return changed("models", "votes", {"labels": labels, "train": {"encoder": "resnet18", **train}})


def seen(**chosen):
    return changed("predictions", "seen", {"survey": "field", "model": "alone", **chosen})


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (
            changed("models", "alone", ALONE | {"weights": "random"}),
            r"models\.alone: weights: .*must have learned elsewhere.*published",
        ),
        (
            changed("models", "alone", {"encoder": PACKAGE_ENCODER}),
            r"models\.alone: weights: this key is required",
        ),
        (
            changed("models", "alone", ALONE | {"epochs": 3}),
            r"models\.alone: epochs: unknown key; allowed: encoder, image_size, views, weights",
        ),
        (
            changed("models", "alone", ALONE | {"labels": "votes"}),
            r".*models\.alone\.encoder: unknown key; allowed: labels, train",
        ),
        (
            changed("models", "alone", ALONE | {"weights": "lost/model.yaml"}),
            r"models\.alone\.weights: no such file: lost/model\.yaml",
        ),
        (
            changed("models", "alone", ALONE | {"encoder": "resnet18"}),
            rf"models\.alone: weights: {PACKAGE} are those of encoder {PACKAGE_ENCODER}",
        ),
        (
            changed("releases", "dr1", {"predictions": ["said", "seen"]}),
            r"releases\.dr1\.predictions: seen holds embeddings only.*alone is an encoder alone",
        ),
        (
            seen(keep=["samples"]) | {"spaces": {}},
            r"predictions\.seen: model alone gives embeddings only",
        ),
        (seen(views=1, pool="mean_std"), r"predictions\.seen: pool: mean_std: one view"),
        (seen(member=2), r"predictions\.seen: member: 2: the model has 1 network"),
        (
            changed("predictions", "said", {"survey": "field", "model": "votes", "member": 3}),
            r"predictions\.said: member: 3: the model has 2 network",
        ),
        (votes_model("winding", views=8), r"models\.votes\.train: views: 8: way-wound tells .*: 4"),
        (votes_model(["votes", "winding"], views=8), r"models\.votes\.train: views: 8: way-wound"),
        (votes_model("hand", views=8), r"models\.votes\.train: views: 8: hand tells clockwise"),
    ],
)
def test_what_cannot_be_is_refused(load, plain, message):
    with pytest.raises(UserError, match=rf"^mine\.yaml: {message}"):
        load(plain)


def test_mirrored_views_of_a_handed_model_are_refused_in_predictions(load):
    plain = votes_model("winding")
    load(plain)
    plain["predictions"]["said"]["views"] = 8
    with pytest.raises(UserError, match=r"predictions\.said: views: 8: way-wound .* views: 4"):
        load(plain)
    plain["predictions"]["said"]["views"] = 4
    load(plain)

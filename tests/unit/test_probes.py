"""Probes: heads fitted to features, against scikit-learn, and on labels that say little."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import betaln, gammaln
from sklearn.linear_model import LogisticRegression, Ridge

from galaxymill.config.config import Config
from galaxymill.errors import UserError
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.probes.fit import Labelled, fit_members
from galaxymill.probes.network import (
    PENALTIES,
    choose_penalties,
    feature_scale,
    fit_probe,
    make_probe,
    predict_all,
)
from galaxymill.splits import assign_folds
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.trees.tree import parse_tree

WIDTH = 6
SETTINGS = ProbeSettings(features="dr1")
RNG = np.random.default_rng(5)


def tree(*answers):
    return parse_tree({"name": "t", "questions": {"q": {"answers": list(answers)}}}, "t")


CLASSES, VOTES, NUMBER = (
    ClassTask(tree("a", "b", "c")),
    VoteTask(tree("yes", "no")),
    NumberTask("z"),
)


def fitted(task, features, labels, penalty, **given):
    chosen = ProbeSettings(features="dr1", **given)
    labels = torch.from_numpy(labels.astype(float))
    probe = make_probe(task, chosen, torch.ones(features.shape[1]).double(), labels)
    fit_probe(probe, torch.from_numpy(features), labels, penalty)
    return probe


@pytest.mark.parametrize("penalty", [0.1, 3.0, 100.0])
def test_classes_as_scikit_learn(penalty):
    features = RNG.normal(size=(300, WIDTH))
    truth = (features @ RNG.normal(size=(WIDTH, 3)) + RNG.gumbel(size=(300, 3))).argmax(1)
    probe = fitted(CLASSES, features, np.eye(3)[truth], penalty)
    oracle = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000).fit(features, truth)
    with torch.no_grad():
        found = probe(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(found, oracle.predict_proba(features), atol=1e-3)


@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_numbers_as_ridge(penalty):
    """The means are those of a ridge whose noise is what the head says of each galaxy."""
    features = RNG.normal(size=(200, WIDTH))
    labels = 5 + features @ RNG.normal(size=(WIDTH, 1)) + RNG.normal(0, 0.7, (200, 1))
    probe = fitted(NUMBER, features, labels, penalty)
    with torch.no_grad():
        mean, deviation = probe(torch.from_numpy(features)).numpy().T
    spread = float(probe.head.spread)
    oracle = Ridge(alpha=penalty).fit(
        features, (labels[:, 0] - labels.mean()) / spread, (deviation / spread) ** -2
    )
    expected = labels.mean() + spread * oracle.predict(features)
    np.testing.assert_allclose(mean, expected, atol=1e-3 * spread)


def test_votes_as_scipy():
    """The beta–binomial likelihood written again, minimised by another solver."""
    features = RNG.normal(size=(150, 2))
    yes = RNG.binomial(40, 1 / (1 + np.exp(-features[:, 0])))
    labels = np.column_stack([yes, 40 - yes])

    def loss(flat):
        weights, bias = flat[:4].reshape(2, 2), flat[4:]
        alpha = 0.1 + 100.9 / (1 + np.exp(-(features @ weights.T + bias)))
        terms = betaln(*(labels + alpha).T) - betaln(*alpha.T)
        constant = gammaln(41) - gammaln(labels + 1).sum(axis=1)
        return -(terms + constant).sum() + 0.5 * 2.0 * (weights**2).sum()

    oracle = minimize(loss, np.full(6, -2.0), options={"gtol": 1e-6})
    probe = fitted(VOTES, features, labels, 2.0)
    with torch.no_grad():
        found = probe(torch.from_numpy(features))
    weights = np.concatenate([probe.head.linear.weight.detach().numpy().ravel()])
    np.testing.assert_allclose(weights, oracle.x[:4], atol=5e-3)
    assert float(probe.head.loss(found, torch.from_numpy(labels.astype(float))).sum()) + (
        weights**2
    ).sum() == pytest.approx(oracle.fun, rel=1e-4)


def test_a_hidden_layer_learns_what_no_plane_can():
    features = RNG.uniform(-2, 2, size=(400, 2))
    truth = (features.prod(axis=1) > 0).astype(int)
    labels = np.eye(3)[truth]
    right = {}
    for hidden in (0, 16):
        probe = fitted(CLASSES, features, labels, 0.01, hidden=hidden)
        with torch.no_grad():
            right[hidden] = (probe(torch.from_numpy(features)).numpy().argmax(1) == truth).mean()
    assert right[0] < 0.7
    assert right[16] > 0.95


def labelled(task, features, labels, folds=5):
    home = assign_folds([f"g{n}" for n in range(len(labels))], None, folds)
    tensors = (features.astype(float), labels.astype(float), home.astype(np.int64))
    return Labelled(*map(torch.from_numpy, tensors))


def members(task, features, labels):
    scale = feature_scale(np.maximum(features.std(axis=0), 1e-3))
    return fit_members(labelled(task, features, labels), task, SETTINGS, scale)


def test_noise_is_penalised_more_than_what_is_clear():
    features = RNG.normal(size=(120, 20))
    clear = np.eye(3)[(features[:, 0] > 0).astype(int)]
    noise = np.eye(3)[RNG.integers(0, 2, 120)]
    chosen = []
    for labels in (clear, noise):
        data = labelled(CLASSES, features, labels)

        def start(given):
            return make_probe(CLASSES, SETTINGS, torch.ones(20).double(), given)

        chosen.append(choose_penalties(start, data.features, data.labels, data.folds, 5))
    assert max(chosen[0]) < 3
    assert min(chosen[1]) >= 10
    assert set(chosen[0] + chosen[1]) <= set(PENALTIES)


def test_no_member_learns_from_its_own_fold():
    """Labels of one fold are turned around: its member alone stays as it is, but for scaling."""
    features = RNG.normal(size=(100, WIDTH))
    labels = np.eye(3)[(features[:, 0] > 0).astype(int)]
    home = assign_folds([f"g{n}" for n in range(100)], None, 5)
    turned = np.where((home == 2)[:, None], labels[:, [1, 0, 2]], labels)
    before, after = (members(CLASSES, features, one)[0] for one in (labels, turned))
    weights = [
        [torch.equal(a.head.linear.weight, b.head.linear.weight)]
        for a, b in zip(before, after, strict=True)
    ]
    assert [same for (same,) in weights] == [False, False, True, False, False]


@settings(max_examples=8, deadline=None)
@given(
    kind=st.sampled_from([CLASSES, VOTES, NUMBER]),
    count=st.integers(3, 12),
    constant=st.booleans(),
    same=st.booleans(),
    seed=st.integers(0, 99),
)
def test_labels_that_say_little_give_finite_predictions(kind, count, constant, same, seed):
    """Three labels, one class only, features that are all the same."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, WIDTH)) * (not constant)
    columns = len(kind.columns)
    if kind is CLASSES:
        labels = np.eye(3)[np.zeros(count, int) if same else generator.integers(0, 3, count)]
    elif kind is VOTES:
        labels = np.tile([20, 0], (count, 1)) if same else generator.integers(0, 20, (count, 2))
    else:
        labels = np.full((count, columns), 3.0) if same else generator.normal(size=(count, 1))
    probes, penalties = members(kind, features, labels)
    outputs = predict_all(probes, generator.normal(size=(7, WIDTH)).astype(np.float16))
    assert outputs.shape[:2] == (7, 5)
    assert np.isfinite(outputs.numpy()).all()
    assert set(penalties) <= set(PENALTIES)


def test_scores_of_a_learning_curve():
    from sklearn.metrics import balanced_accuracy_score

    truth = np.array([0, 0, 0, 1, 1, 2])
    samples = np.eye(3)[[0, 0, 1, 1, 0, 2]][:, None]
    expected = balanced_accuracy_score(truth, samples[:, 0].argmax(1))
    assert CLASSES.scores(samples, np.eye(3)[truth]) == {
        "balanced accuracy": pytest.approx(expected)
    }
    gaussians = np.array([[[1.0, 0.1]], [[3.0, 0.1]]])
    assert NUMBER.scores(gaussians, np.array([[0.0], [3.0]])) == {
        "RMS error": pytest.approx(0.5**0.5)
    }
    votes = VOTES.scores(np.array([[[3.0, 1.0]], [[1.0, 1.0]]]), np.array([[4, 4], [0, 0]]))
    assert votes == {"RMS error of fractions": pytest.approx(0.25)}


SURVEY = {
    "catalog": {"path": "c.csv"},
    "cutouts": {"service": "legacy", "layer": "ls-dr9", "pixel_scale": 0.262},
    "images": {"recipe": "decals"},
}
PLAIN = {
    "surveys": {"sky": SURVEY, "other": SURVEY},
    "labels": {
        "votes": {"votes": "v.csv", "tree": "gz2", "images": {"survey": "sky"}},
        "rings": {
            "votes": "r.csv",
            "format": "classes",
            "column": "ring",
            "images": {"survey": "sky"},
        },
        "others": {
            "votes": "r.csv",
            "format": "classes",
            "column": "ring",
            "images": {"survey": "other"},
        },
    },
    "models": {
        "net": {"labels": "votes", "train": {"encoder": "resnet18"}},
        "rings": {"labels": "rings", "train": {"features": "dr1"}},
    },
    "predictions": {
        "net": {"survey": "sky", "model": "net"},
        "rings": {"survey": "sky", "model": "rings"},
    },
    "spaces": {"dr1": {"predictions": "net"}},
}


def changed(place, value):
    from copy import deepcopy

    plain = deepcopy(PLAIN)
    *way, last = place.split(".")
    inner = plain
    for step in way:
        inner = inner[step]
    inner[last] = value
    return plain


def test_a_config_with_a_probe():
    config = Config.model_validate(PLAIN)
    assert config.models["rings"].probe == ProbeSettings(features="dr1")
    assert config.models["net"].probe is None
    assert set(config.evaluations()) == {"net", "rings"}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("models.rings.train.features", "dr2", "models.rings.train.features.*dr2.*dr1"),
        ("models.rings.labels", "others", "space dr1 is of survey sky, but .* of survey other"),
        ("predictions.rings.survey", "other", "predictions.rings.survey: other, but probe rings"),
        ("predictions.rings.views", 8, "predictions.rings.views: a probe sees features"),
        ("spaces.dr1.predictions", "rings", "prediction rings is of probe rings, which has no"),
        ("models.rings.train.epochs", 3, "epochs: unknown key; allowed: features, folds, hidden"),
        (
            "models.net.train.weights",
            "results/models/rings/model.yaml",
            "models.net.train.weights: .* is a probe",
        ),
    ],
)
def test_what_a_probe_cannot_do_is_refused(place, value, message):
    plain = changed(place, value)
    if "other" in str(value):
        plain["predictions"]["rings"]["allow_domain_shift"] = True
    with pytest.raises(ValueError, match=message):
        Config.model_validate(plain)


def test_a_task_of_places_is_refused():
    class Places:
        kind, pooled = "places", False

    with pytest.raises(UserError, match="features are of whole images"):
        make_probe(Places(), SETTINGS, torch.ones(3), torch.zeros(1, 1))

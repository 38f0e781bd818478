"""Hand-made features and the baselines that use them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad
from scipy.stats import dirichlet_multinomial

from galaxymill.evaluation.features import KINDS, RINGS, image_features
from galaxymill.statistics.baselines import (
    class_frequencies,
    fit_dirichlet,
    mean_fractions,
    predict_baselines,
    predict_logistic,
    predict_number,
    predict_ridge,
)
from galaxymill.trees.tree import parse_tree

TREE = parse_tree({"name": "bars", "questions": {"bar": {"answers": ["yes", "no"]}}}, "test")


def galaxy(axis_ratio=1.0, radius=10.0, shift=0.0, side=97, tint=(1.0, 1.0, 1.0), spot=0.0):
    """An exponential disc on a dark sky, with an optional bright spot on one side."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    light = np.exp(-np.hypot((x - shift) / radius, y / (radius * axis_ratio)))
    light += spot * np.exp(-(((x - 12) ** 2 + y**2) / 18))
    colour = 10 + 200 * np.minimum(light, 1)[..., None] * np.array(tint)
    return np.clip(colour, 0, 255).astype(np.uint8)


def features(rgb):
    return dict(zip(KINDS, image_features(rgb).reshape(len(KINDS), RINGS), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)),
        elements=st.integers(0, 255),
    )
)
def test_features_of_any_picture_are_finite(rgb):
    values = image_features(rgb)
    assert values.shape == (len(KINDS) * RINGS,)
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("level", [0, 17, 255])
@pytest.mark.parametrize("side", [1, 2, 64, 424])
def test_a_constant_picture_has_no_structure(level, side):
    found = features(np.full((side, side, 3), level, np.uint8))
    if side > 2:  # where every ring has pixels
        np.testing.assert_allclose(found["green"] ** 2, level / 255)
    for kind in KINDS[3:]:
        np.testing.assert_allclose(found[kind], 0, atol=1e-6)


def test_features_say_what_they_are_named_for():
    plain, flat = features(galaxy()), features(galaxy(axis_ratio=0.4))
    assert (flat["mode_2"][2:5] > plain["mode_2"][2:5] + 0.1).all()
    assert (flat["scatter"][2:5] > plain["scatter"][2:5] + 0.03).all()
    lopsided = features(galaxy(spot=0.8))
    assert lopsided["mode_1"].max() > plain["mode_1"].max() + 0.1
    red = features(galaxy(tint=(1.0, 0.7, 0.5)))
    assert (red["red"] > red["green"]).all()
    assert (red["green"] > red["blue"]).all()


def test_the_profile_of_an_exponential_disc():
    y, x = np.indices((401, 401)) - 200
    disc = 10 + 200 * np.exp(-np.hypot(x, y) / 20)
    found = features(np.repeat(disc[..., None], 3, axis=2).round().astype(np.uint8))
    edges = np.linspace(0, 1, RINGS + 1) ** 1.5 * 401 / 2
    for ring, (inner, outer) in enumerate(pairwise(edges)):
        total, _ = quad(lambda r: 2 * r * (10 + 200 * np.exp(-r / 20)), inner, outer)
        expected = total / (outer**2 - inner**2) / 255
        assert found["green"][ring] ** 2 == pytest.approx(expected, rel=0.02)


def test_a_bar_is_its_fourier_mode():
    # Light 0.5 + 0.3 cos 2φ: the mean of light × cos 2φ over a ring is 0.15.
    y, x = np.indices((301, 301)) - 150
    light = 255 * (0.5 + 0.3 * np.cos(2 * np.arctan2(y, x)))
    found = features(np.repeat(light[..., None], 3, axis=2).round().astype(np.uint8))
    np.testing.assert_allclose(found["mode_2"][1:] ** 2, 0.15, atol=0.005)
    np.testing.assert_allclose(found["scatter"][1:] ** 2, 0.3 / np.sqrt(2), atol=0.005)


def test_a_picture_that_is_turned_or_mirrored_measures_the_same():
    rgb = galaxy(axis_ratio=0.5, spot=0.5)
    for other in (np.rot90(rgb), rgb[::-1], rgb[:, ::-1]):
        np.testing.assert_allclose(image_features(other), image_features(rgb), atol=1e-6)


def test_larger_pictures_of_the_same_galaxy_measure_the_same():
    large = np.repeat(np.repeat(galaxy(side=96), 4, axis=0), 4, axis=1)
    small, large = features(galaxy(side=96)), features(large)
    for kind in KINDS:
        # The inmost ring of the small one is a dozen pixels.
        np.testing.assert_allclose(large[kind][1:], small[kind][1:], atol=0.05)


def linear_votes(n=400, total=40, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    yes = np.clip(0.5 + 0.2 * x[:, 0] - 0.1 * x[:, 3], 0.02, 0.98)
    votes = rng.binomial(total, yes)
    return x, np.stack([votes, total - votes], axis=1)


def test_ridge_beats_the_constant_where_features_matter():
    x, votes = linear_votes()
    features = {"ridge": (x[:300], x[300:]), "ridge_encoder": (x[:300, 1:], x[300:, 1:])}
    baselines = predict_baselines(TREE, votes[:300], votes[:300], features, 100)
    rmse = {
        name: np.sqrt(np.mean((fractions - votes[300:] / 40) ** 2))
        for name, fractions in baselines.fractions.items()
    }
    assert set(rmse) == {"constant", "dirichlet", "ridge", "ridge_encoder"}
    # Without the one feature that matters most a fit is worse, but still of use.
    assert rmse["ridge"] < 0.6 * rmse["constant"]
    assert rmse["ridge"] < rmse["ridge_encoder"] < rmse["constant"]
    assert baselines.fractions["ridge"].min() >= 0
    assert baselines.fractions["ridge"].max() <= 1


def test_ridge_ignores_galaxies_without_votes():
    x, votes = linear_votes()
    spoiled = np.vstack([votes, np.zeros((200, 2), int)])
    more = np.vstack([x, np.full((200, 6), 50.0)])
    np.testing.assert_allclose(
        predict_ridge(spoiled, more, x[:5]), predict_ridge(votes, x, x[:5]), rtol=1e-8
    )


def test_ridge_with_few_galaxies_is_the_constant():
    x, votes = linear_votes(10)
    np.testing.assert_array_equal(predict_ridge(votes, x, x[:2]), [mean_fractions(votes)] * 2)


def test_the_constant_weighs_galaxies_equally():
    votes = np.array([[1, 0], [0, 99], [0, 0]])
    np.testing.assert_allclose(mean_fractions(votes), [0.5, 0.5])


def test_baselines_without_votes_know_nothing():
    none = np.empty((0, 2), int)
    features = {"ridge": (np.empty((0, 3)), np.zeros((4, 3)))}
    baselines = predict_baselines(TREE, none, none, features, 4)
    for fractions in baselines.fractions.values():
        np.testing.assert_array_equal(fractions, np.full((4, 2), 0.5))
    np.testing.assert_array_equal(baselines.dirichlet, [1, 1])


def test_the_fitted_dirichlet_is_the_one_that_made_the_votes():
    rng = np.random.default_rng(5)
    alpha = np.array([4.0, 1.5, 0.5])
    votes = np.stack([rng.multinomial(30, rng.dirichlet(alpha)) for _ in range(3000)])
    fitted = fit_dirichlet(votes)
    np.testing.assert_allclose(fitted, alpha, rtol=0.1)
    best = dirichlet_multinomial(fitted, 30).logpmf(votes).sum()
    for other in (fitted * 1.05, fitted * [1.05, 1, 1], fitted * [1, 1, 0.95]):
        assert dirichlet_multinomial(other, 30).logpmf(votes).sum() < best


def test_the_fit_of_unanimous_votes_stays_finite():
    fitted = fit_dirichlet(np.tile([30, 0, 0], (50, 1)))
    assert np.isfinite(fitted).all()
    assert fitted[0] / fitted.sum() > 0.99


def linear_classes(n=300, seed=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    return x, np.argmax(x[:, :3] + 0.3 * rng.normal(size=(n, 3)), axis=1)


def test_logistic_regression_finds_classes_that_features_tell():
    x, classes = linear_classes()
    probabilities = predict_logistic(classes[:200], 3, x[:200], x[200:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.mean(probabilities.argmax(axis=1) == classes[200:]) > 0.8


def test_a_class_that_training_lacks_gets_no_probability():
    x, classes = linear_classes()
    probabilities = predict_logistic(classes, 5, x, x[:7])
    assert probabilities.shape == (7, 5)
    assert not probabilities[:, 3:].any()


def test_logistic_regression_of_a_rare_class_is_the_frequencies():
    x, classes = linear_classes()
    classes = np.where(np.arange(300) < 2, 2, classes % 2)
    np.testing.assert_array_equal(
        predict_logistic(classes, 3, x, x[:2]), [class_frequencies(classes, 3)] * 2
    )


def test_no_class_is_impossible():
    np.testing.assert_allclose(class_frequencies(np.array([0, 0]), 2), [0.75, 0.25])


def test_a_number_is_regressed_on_features():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 5))
    values = 3 + x @ [2.0, 0, 0, -1, 0]
    np.testing.assert_allclose(
        predict_number(values[:150], x[:150], x[150:]), values[150:], atol=0.1
    )
    np.testing.assert_array_equal(predict_number(values[:4], x[:4], x[:2]), [values[:4].mean()] * 2)
    np.testing.assert_array_equal(predict_number(np.empty(0), x[:0], x[:2]), [0, 0])

"""Hand-made features and the baselines that use them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import dirichlet_multinomial

from galaxymill.evaluation.features import FEATURE_NAMES, image_features
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
    return dict(zip(FEATURE_NAMES, image_features(rgb), strict=True))


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
    assert values.shape == (len(FEATURE_NAMES),)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("level", [0, 17, 255])
@pytest.mark.parametrize("side", [1, 2, 64, 424])
def test_a_constant_picture_has_no_features(level, side):
    assert not image_features(np.full((side, side, 3), level, np.uint8)).any()


def test_features_say_what_they_are_named_for():
    plain = features(galaxy())
    assert plain["asymmetry"] < 0.02
    assert plain["ellipticity"] < 0.02
    assert abs(plain["r_minus_g"]) < 0.02
    assert features(galaxy(axis_ratio=0.4))["ellipticity"] > 0.4
    assert features(galaxy(radius=5))["size"] < plain["size"]
    assert features(galaxy(spot=0.8))["asymmetry"] > plain["asymmetry"] + 0.1
    assert features(galaxy(spot=0.8))["m20"] > plain["m20"]
    red = features(galaxy(tint=(1.0, 0.7, 0.5)))
    assert red["r_minus_g"] > 0.1
    assert red["g_minus_b"] > 0.1


def test_concentration_of_an_exponential_disc():
    # r80/r20 of an infinite exponential disc is 3.63, hence C = 2.80 (Conselice 2003 has 2.7).
    assert features(galaxy(radius=5, side=201))["concentration"] == pytest.approx(2.7, abs=0.15)


def test_a_shift_changes_shape_features_little():
    moved, plain = features(galaxy(shift=4)), features(galaxy())
    for name in ("concentration", "asymmetry", "gini", "ellipticity", "size"):
        assert moved[name] == pytest.approx(plain[name], abs=0.05)


def test_larger_pictures_of_the_same_galaxy_measure_the_same():
    large = np.repeat(np.repeat(galaxy(side=96), 4, axis=0), 4, axis=1)
    assert image_features(large) == pytest.approx(image_features(galaxy(side=96)), abs=1e-6)


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

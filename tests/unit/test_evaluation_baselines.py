"""Hand-made features and the baselines that use them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import dirichlet_multinomial

from galaxymill.evaluation.baselines import (
    fit_dirichlet,
    mean_fractions,
    predict_baselines,
    predict_ridge,
)
from galaxymill.evaluation.features import FEATURE_NAMES, image_features
from galaxymill.votes.tree import parse_tree

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
    baselines = predict_baselines(TREE, votes[:300], x[:300], x[300:])
    observed = votes[300:] / 40
    ridge = np.sqrt(np.mean((baselines.ridge - observed) ** 2))
    constant = np.sqrt(np.mean((baselines.constant - observed) ** 2))
    assert ridge < 0.6 * constant
    assert baselines.ridge.min() >= 0
    assert baselines.ridge.max() <= 1


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
    baselines = predict_baselines(TREE, np.empty((0, 2), int), np.empty((0, 3)), np.zeros((4, 3)))
    np.testing.assert_array_equal(baselines.constant, [0.5, 0.5])
    np.testing.assert_array_equal(baselines.ridge, np.full((4, 2), 0.5))
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

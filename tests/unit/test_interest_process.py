"""The process of ratings beside scikit-learn's, and what it does where little is known."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from galaxymill.interest import process
from galaxymill.interest.process import cover, directions, feature_scale, fit_process

RNG = np.random.default_rng(4)
DEVIATIONS = 4 * np.arange(1, 25) ** -0.5
SCALE = feature_scale(DEVIATIONS)


def galaxies(count):
    return (RNG.normal(size=(count, 24)) * DEVIATIONS).astype(np.float16)


def ways(features):
    """Directions, in double precision."""
    return directions(features, SCALE).astype(float)


def rated(features):
    return (features[:, 0] > 2).astype(float) * 3 + np.round(RNG.uniform(0, 2, len(features)))


def test_it_predicts_as_scikit_learn_does():
    features, others = galaxies(80), galaxies(500)
    ratings = rated(features)
    ours = fit_process(features, ratings, SCALE)
    kernel = ConstantKernel(ours.variance) * Matern(ours.length, nu=1.5) + WhiteKernel(ours.noise)
    theirs = GaussianProcessRegressor(kernel, optimizer=None)
    theirs.fit(ways(features), (ratings - ratings.mean()) / ratings.std())
    mean, deviation = theirs.predict(ways(others), return_std=True)
    found = ours.predict(others)
    np.testing.assert_allclose(found[0], ratings.mean() + ratings.std() * mean, atol=2e-3)
    without_noise = np.sqrt(deviation**2 - ours.noise) * ratings.std()
    np.testing.assert_allclose(found[1], without_noise, atol=2e-3)


def test_the_kernel_is_the_most_likely_one(monkeypatch):
    """Without priors it is scikit-learn's maximum."""
    monkeypatch.setattr(process, "_SPREAD", np.full(3, 1e6))
    features = galaxies(120)
    ratings = rated(features)
    ours = fit_process(features, ratings, SCALE)
    kernel = ConstantKernel(1, (0.05, 20)) * Matern(0.8, (0.05, 20), nu=1.5)
    kernel += WhiteKernel(0.3, (1e-3, 2))
    theirs = GaussianProcessRegressor(kernel, n_restarts_optimizer=3, random_state=1)
    theirs.fit(ways(features), (ratings - ratings.mean()) / ratings.std())
    wanted = theirs.log_marginal_likelihood_value_
    logs = np.log([ours.variance, ours.length, ours.noise])
    assert theirs.log_marginal_likelihood(logs) == pytest.approx(wanted, abs=1e-3)


def test_every_galaxy_is_predicted_by_itself():
    ours = fit_process(galaxies(60), rated(galaxies(60)), SCALE)
    others = galaxies(700)
    whole = ours.predict(others)
    order = RNG.permutation(700)
    for kind in range(2):
        pieces = [ours.predict(others[start : start + 37])[kind] for start in range(0, 700, 37)]
        assert (np.concatenate(pieces) == whole[kind]).all()
        assert (ours.predict(others[order])[kind] == whole[kind][order]).all()


@pytest.mark.parametrize("count", [1, 7])
def test_where_all_ratings_are_alike_it_gives_the_distance(count):
    features, others = galaxies(count), galaxies(50)
    mean, deviation = fit_process(features, np.full(count, 3.0), SCALE).predict(others)
    assert (mean == 3).all()
    scaled = ways(features)[None] - ways(others)[:, None]
    np.testing.assert_allclose(deviation, np.sqrt((scaled**2).sum(2)).min(1), atol=1e-3)


def test_of_many_ratings_those_that_cover_the_others_are_learned_from(monkeypatch):
    monkeypatch.setattr(process, "MOST", 30)
    features = galaxies(400)
    ours = fit_process(features, rated(features), SCALE)
    assert len(ours.points) == 30
    chosen = cover(directions(features, SCALE), 30)
    assert len(set(chosen.tolist())) == 30
    points = ways(features)
    far = process.distances(points, points[chosen]).min(axis=1)
    random = points[RNG.choice(400, 30, replace=False)]
    assert far.max() < process.distances(points, random).min(axis=1).max()


def test_it_learns_what_is_liked():
    features, others = galaxies(200), galaxies(1000)
    mean, _ = fit_process(features, rated(features), SCALE).predict(others)
    best = others[np.argsort(-mean)[:50], 0]
    assert (best > 2).mean() > 2 * (others[:, 0] > 2).mean()


def test_what_the_others_let_expect_is_what_is_fitted_without_one():
    features = galaxies(30)
    ratings = rated(features)
    ours = fit_process(features, ratings, SCALE)
    given, expected = ours.left_out()
    np.testing.assert_allclose(given, ratings, atol=1e-3)
    kernel = ConstantKernel(ours.variance) * Matern(ours.length, nu=1.5) + WhiteKernel(ours.noise)
    for one in (0, 13, 29):
        theirs = GaussianProcessRegressor(kernel, optimizer=None)
        others = np.delete(np.arange(30), one)
        theirs.fit(ways(features)[others], ratings[others] - ratings.mean())
        found = theirs.predict(ways(features)[[one]])[0] + ratings.mean()
        assert expected[one] == pytest.approx(found, abs=2e-3)


def test_how_far_from_the_middle_a_galaxy_is_changes_nothing():
    features, others = galaxies(60).astype(np.float32), galaxies(50).astype(np.float32)
    ours = fit_process(features, rated(features), SCALE)
    near, far = (ours.predict(factor * others)[0] for factor in (1, 3))
    np.testing.assert_allclose(near, far, atol=1e-4)

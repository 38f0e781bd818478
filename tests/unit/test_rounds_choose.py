"""Galaxies that are unlike each other, each with the same chance; and what they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree
from scipy.stats import beta

from galaxymill.rounds.population import estimate_mean
from galaxymill.rounds.rules import NEAR, nearly_beyond
from galaxymill.rounds.spread import spread


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_one_of_each_cell(count, each, seed):
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 3, (count * each, 3)).astype(np.float32)
    found = spread(features, features[:2], rng.uniform(size=len(features)), count)
    assert len(set(found.rows)) == len(found.rows) == count
    assert found.rows == sorted(found.rows)
    assert found.chances.sum() == pytest.approx(count)
    assert (found.others < 1).all()


def test_galaxies_are_drawn_as_often_as_is_said():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 2)) ** 3
    times, none = np.zeros(60), np.empty((0, 2))
    for _ in range(2000):
        found = spread(features, none, rng.uniform(size=60), 15)
        times[found.rows] += 1
    assert len(set(found.chances)) > 3
    # Of a binomial five deviations, which are at most 112.
    expected = 2000 * found.chances
    assert (np.abs(times - expected) <= 5 * np.sqrt(expected * (1 - found.chances)) + 1e-9).all()


def test_they_are_further_apart_than_at_random():
    rng = np.random.default_rng(2)
    features, draws = rng.normal(size=(400, 5)), rng.uniform(size=400)
    batches = (
        spread(features, np.empty((0, 5)), draws, 100).rows,
        rng.choice(400, 100, replace=False),
    )
    apart = [np.mean(KDTree(features[rows]).query(features[rows], 2)[0][:, 1]) for rows in batches]
    assert apart[0] > apart[1]


def test_means_of_a_survey_are_right_however_galaxies_were_chosen():
    rng = np.random.default_rng(3)
    values = rng.beta(0.5, 2, 5000)
    probabilities = np.clip(values**2 + 0.02, 0, 1)
    off = []
    for _ in range(200):
        rows = rng.uniform(size=5000) < probabilities
        mean, error = estimate_mean(values[rows], probabilities[rows])
        off.append((mean - values.mean()) / error)
    assert np.std(off) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(off)) < 0.3


def test_no_galaxy_no_mean():
    assert np.isnan(estimate_mean(np.empty(0), np.empty(0))).all()


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0.001, 0.999), st.floats(-1, 1))
def test_the_fast_probability_is_as_near_as_it_says(first, other, fraction, near):
    """Also where it is neither 0 nor 1: at fractions some deviations from the mean."""
    mean = first / (first + other)
    width = np.sqrt(mean * (1 - mean) / (first + other + 1))
    for value in (fraction, np.clip(mean + 2 * near * width, 0.001, 0.999)):
        found = nearly_beyond(np.array([first]), np.array([other]), float(value))[0]
        assert np.isnan(found) or abs(found - beta(first, other).sf(value)) <= NEAR

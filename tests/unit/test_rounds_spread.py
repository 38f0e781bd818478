"""Galaxies that are unlike each other, each with the same chance; and what they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from galaxymill.rounds.population import estimate_mean
from galaxymill.rounds.spread import spread


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_one_of_each_cell(count, each, seed):
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 3, (count * each, 3)).astype(np.float32)
    rows = spread(features, rng.uniform(size=len(features)), count)
    assert len(set(rows)) == len(rows) == count
    assert rows == sorted(rows)


def test_all_have_the_same_chance():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 2)).astype(np.float32)
    times = np.zeros(60)
    for _ in range(2000):
        times[spread(features, rng.uniform(size=60), 15)] += 1
    # A binomial with p = 1/4 scatters by 19; five of it are 97.
    np.testing.assert_allclose(times, 500, atol=97)


def test_they_are_further_apart_than_at_random():
    """Five galaxies of one kind for each of another: drawn at random, most are of the first."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(400, 5)).astype(np.float32)
    nearest = [
        np.mean(KDTree(features[rows]).query(features[rows], 2)[0][:, 1])
        for rows in (
            spread(features, rng.uniform(size=400), 100),
            rng.choice(400, 100, replace=False),
        )
    ]
    assert nearest[0] > nearest[1]


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

"""Batches are of promising galaxies that differ, as if each had been rated as expected."""

import numpy as np
import pytest

from galaxymill.interest import choose
from galaxymill.interest.choose import CURIOSITY, choose_batch
from galaxymill.interest.process import directions, feature_scale, fit_process

RNG = np.random.default_rng(8)
DEVIATIONS = 3 * np.arange(1, 13) ** -0.5
SCALE = feature_scale(DEVIATIONS)


def galaxies(count):
    return (RNG.normal(size=(count, 12)) * DEVIATIONS).astype(np.float16)


def test_it_is_what_fitting_again_after_each_would_choose():
    """The long way: each is added with its expected rating, and everything is predicted anew."""
    rated, others = galaxies(40), galaxies(300)
    ratings = np.where(rated[:, 0] > 1, 4.0, 1.0) + RNG.uniform(0, 1, 40)
    process = fit_process(rated, ratings, SCALE)
    chosen = choose_batch(process, others, 6, RNG)
    points = directions(rated, SCALE).astype(float)
    values = (ratings - ratings.mean()) / ratings.std()
    goal = directions(others, SCALE).astype(float)

    def kernel(one, other):
        away = np.sqrt(3) / process.length * np.linalg.norm(one[:, None] - other, axis=2)
        return process.variance * (1 + away) * np.exp(-away)

    wanted = []
    for _ in range(6):
        inverse = np.linalg.inv(kernel(points, points) + process.noise * np.eye(len(points)))
        near = kernel(goal, points)
        mean = near @ inverse @ values
        spread = np.sqrt(process.variance - np.einsum("ij,jk,ik->i", near, inverse, near))
        worth = mean + CURIOSITY * spread
        worth[wanted] = -np.inf
        wanted.append(int(worth.argmax()))
        points = np.vstack([points, goal[wanted[-1:]]])
        values = np.append(values, mean[wanted[-1]])
    assert chosen.tolist() == wanted


@pytest.mark.parametrize("first", [1, 3, 1000])
def test_however_few_are_looked_at_first_the_same_are_chosen(monkeypatch, first):
    rated, others = galaxies(40), galaxies(2000)
    process = fit_process(rated, np.where(rated[:, 0] > 1, 4.0, 1.0), SCALE)
    wanted = choose_batch(process, others, 30, RNG)
    monkeypatch.setattr(choose, "_FIRST", first)
    assert choose_batch(process, others, 30, RNG).tolist() == wanted.tolist()


def test_a_galaxy_that_is_there_twice_is_shown_once():
    rated, others = galaxies(40), galaxies(30)
    ratings = np.where(rated[:, 0] > 1, 4.0, 1.0)
    twins = np.concatenate([others, others])
    chosen = choose_batch(fit_process(rated, ratings, SCALE), twins, 40, RNG) % 30
    assert sorted(chosen.tolist()) == list(range(30))


def test_nothing_known_is_drawn_at_random_and_few_are_all_shown():
    process = fit_process(galaxies(5), np.zeros(5), SCALE)
    one, other = (
        choose_batch(process, galaxies(500), 30, np.random.default_rng(n)) for n in (1, 2)
    )
    assert len(set(one.tolist())) == 30
    assert set(one.tolist()) != set(other.tolist())
    assert sorted(choose_batch(process, galaxies(7), 30, RNG).tolist()) == list(range(7))

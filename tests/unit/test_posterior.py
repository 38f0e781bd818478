"""The catalogue's numbers against simulation, SciPy and trees walked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, entropy

from galaxymill.tasks.votes.posterior import (
    intervals,
    mean_fractions,
    mutual_information,
    proportion_asked,
    sample_fractions,
)
from galaxymill.trees.tree import load_tree, parse_tree

TREE = parse_tree(
    {
        "name": "toy",
        "questions": {
            "shape": {"answers": ["smooth", "featured", "star"]},
            "edge": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
            "bar": {"answers": ["strong", "weak", "none"], "asked_after": ["edge_no"]},
            "odd": {"answers": ["yes", "no"], "asked_after": ["shape_smooth", "edge_yes"]},
        },
    },
    "toy",
)
SHAPE = parse_tree({"name": "s", "questions": {"shape": {"answers": ["a", "b", "c"]}}}, "s")
YESNO = parse_tree({"name": "b", "questions": {"bar": {"answers": ["yes", "no"]}}}, "b")


def draw(n, samples, answers, seed=1, low=1, high=101):
    return np.random.default_rng(seed).uniform(low, high, (n, samples, answers))


@settings(max_examples=200)
@given(st.floats(1, 101) | st.floats(0.5, 2), st.floats(1, 101) | st.floats(0.5, 2))
def test_interval_of_one_sample_is_that_of_the_beta(first, second):
    bounds = intervals(np.array([[[first, second]]]), YESNO)
    expected = [beta.ppf([0.05, 0.95], first, second), beta.ppf([0.05, 0.95], second, first)]
    np.testing.assert_allclose(bounds[0], expected, atol=0.005)


@pytest.mark.parametrize(
    "alpha",
    [
        [[1, 1, 1], [1, 1, 1]],
        [[101, 1, 1], [1, 101, 1], [1, 1, 101]],
        [[2, 30, 5], [4, 25, 9], [1, 60, 3], [2, 8, 2]],
        [[0.5, 0.5, 2], [60, 1, 1]],
    ],
)
def test_interval_of_a_mixture_is_that_of_a_million_draws(alpha):
    generator = np.random.default_rng(4)
    size = 1_000_000 // len(alpha)
    draws = np.concatenate([generator.dirichlet(row, size) for row in alpha])
    bounds = intervals(np.array([alpha], float), SHAPE)[0]
    cumulative = [[(draws[:, i] <= bounds[i, j]).mean() for j in (0, 1)] for i in range(3)]
    # Where a mixture has no density, a level is met anywhere: compare levels, or values.
    at_level = np.abs(np.array(cumulative) - [0.05, 0.95]) < 0.003
    at_value = np.abs(bounds - np.quantile(draws, [0.05, 0.95], axis=0).T) < 0.005
    assert (at_level | at_value).all()


def test_intervals_do_not_depend_on_the_batch():
    alpha = draw(130, 3, 3)
    whole = intervals(alpha, SHAPE)
    np.testing.assert_allclose(intervals(alpha[100:103], SHAPE), whole[100:103], atol=1e-6)
    assert (whole[..., 0] < whole[..., 1]).all()


@given(st.integers(0, 1000))
def test_mean_fractions_are_a_mean_of_fractions(seed):
    alpha = draw(4, 5, 10, seed)
    fractions = mean_fractions(alpha, TREE)
    for question in TREE.questions:
        np.testing.assert_allclose(fractions[:, question.slice].sum(axis=1), 1)
    by_hand = [sample[0] / sum(sample[:3]) for sample in alpha[2]]
    assert fractions[2, 0] == pytest.approx(np.mean(by_hand))


def test_proportion_asked_is_a_walk_through_the_tree():
    alpha = draw(3, 4, 10, seed=7)
    fractions = sample_fractions(alpha, TREE)
    smooth, featured = fractions[..., 0], fractions[..., 1]
    edge_on, face_on = fractions[..., 3], fractions[..., 4]
    asked = proportion_asked(alpha, TREE)
    np.testing.assert_array_equal(asked["shape"], 1)
    np.testing.assert_allclose(asked["edge"], featured.mean(1))
    np.testing.assert_allclose(asked["bar"], (featured * face_on).mean(1))
    np.testing.assert_allclose(asked["odd"], (smooth + featured * edge_on).mean(1))


@pytest.mark.parametrize("name", ["gz2", "decals_dr5", "euclid"])
def test_proportion_asked_of_real_trees(trees, name):
    """Send many volunteers down the tree of one sample, as the tree's own file says."""
    tree = load_tree(trees / f"{name}.yaml")
    alpha = draw(1, 1, len(tree.columns), seed=3, low=1, high=8)
    fractions = sample_fractions(alpha, tree)[0, 0]
    generator = np.random.default_rng(5)
    volunteers = 40_000
    given_answers, shares = set(), {}
    answers = {column: np.zeros(volunteers, bool) for column in tree.columns}
    for question in tree.questions:
        reached = np.ones(volunteers, bool)
        if question.asked_after:
            reached = np.any([answers[column] for column in question.asked_after], axis=0)
        choice = generator.choice(len(question.answers), volunteers, p=fractions[question.slice])
        for place, column in enumerate(question.columns):
            answers[column] = reached & (choice == place)
            given_answers.add(column)
        shares[question.name] = reached.mean()
    asked = proportion_asked(alpha, tree)
    assert given_answers == set(tree.columns)
    for question, share in shares.items():
        assert asked[question][0] == pytest.approx(share, abs=0.012)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_mutual_information_is_the_mean_surprise(seed, samples):
    """I = mean over samples of KL(the sample's fractions ‖ the mean fractions)."""
    alpha = draw(3, samples, 10, seed)
    question = TREE.question("bar")
    predictive, information = mutual_information(alpha, question)
    fractions = sample_fractions(alpha, TREE)[..., question.slice]
    mean = fractions.mean(axis=1)
    np.testing.assert_allclose(predictive, entropy(mean, axis=1))
    expected = [np.mean([entropy(s, m) for s in f]) for f, m in zip(fractions, mean, strict=True)]
    np.testing.assert_allclose(information, expected, atol=1e-12)
    assert (information >= 0).all()


def test_one_sample_has_no_mutual_information():
    _, information = mutual_information(draw(5, 1, 10), TREE.questions[0])
    np.testing.assert_allclose(information, 0, atol=1e-12)

"""Scores of vote fractions and of posteriors, against independent references."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, dirichlet_multinomial, kstest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from galaxymill.statistics.baselines import Baselines
from galaxymill.statistics.bootstrap import mean
from galaxymill.statistics.calibration import inside
from galaxymill.statistics.distributions import (
    beta_binomial_cdf,
    mixture_nll,
    randomised_pit,
)
from galaxymill.tasks.votes.scores import Comparison, galaxy_errors, summarise
from galaxymill.trees.tree import load_tree, parse_tree

TREE = parse_tree(
    {
        "name": "small",
        "questions": {
            "shape": {"answers": ["smooth", "featured", "artifact"]},
            "bar": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        },
    },
    "test",
)


def names(n):
    return [f"galaxy-{index}" for index in range(n)]


def flat_baselines(n, tree=TREE):
    constant = np.concatenate([np.full(len(q.answers), 1 / len(q.answers)) for q in tree.questions])
    return Baselines({"constant": np.tile(constant, (n, 1))}, np.ones(len(tree.columns)))


def simulated(n=400, samples=1, strength=8.0, seed=1, total=30):
    """Concentrations, and votes that are drawn from them."""
    rng = np.random.default_rng(seed)
    alpha = strength * rng.dirichlet(np.ones(3), (n, samples)) + 0.1
    votes = np.empty((n, 3), int)
    for row, each in enumerate(alpha[np.arange(n), rng.integers(samples, size=n)]):
        votes[row] = rng.multinomial(total, rng.dirichlet(each))
    return alpha, votes


def compare_shapes(alpha, votes):
    """Compare votes on ``shape`` alone; nobody was asked about bars."""
    n, samples, _ = alpha.shape
    concentrations = np.concatenate([alpha, np.ones((n, samples, 2))], axis=2)
    all_votes = np.concatenate([votes, np.zeros((n, 2), int)], axis=1)
    return Comparison(TREE, names(n), all_votes, concentrations, flat_baselines(n))


def test_no_votes_cost_nothing():
    assert mixture_nll(np.array([[[2.0, 3.0]]]), np.array([[0, 0]])) == 0


def test_likelihood_of_a_mixture_is_the_mean_over_samples():
    alpha, votes = simulated(20, samples=4)
    expected = [
        -np.log(np.mean([dirichlet_multinomial(a, n.sum()).pmf(n) for a in each]))
        for each, n in zip(alpha, votes, strict=True)
    ]
    np.testing.assert_allclose(mixture_nll(alpha, votes), expected, rtol=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 300), st.floats(0.05, 300), st.integers(0, 80), st.data())
def test_beta_binomial_cdf_agrees_with_scipy(a, b, trials, data):
    successes = data.draw(st.integers(-1, trials))
    ours = beta_binomial_cdf(np.array([successes]), np.array([trials]), np.array([a]), np.array(b))
    assert ours[0] == pytest.approx(betabinom.cdf(successes, trials, a, b), abs=1e-9)


def test_pit_lies_in_the_step_of_the_count():
    alpha, votes = np.array([[[2.0, 5.0], [9.0, 3.0]]]), np.array([[4, 6]])

    def cdf(k):
        return (betabinom.cdf(k, 10, 2, 5) + betabinom.cdf(k, 10, 9, 3)) / 2

    for draw in (0.0, 0.25, 1.0):
        pit = randomised_pit(alpha, votes, np.full((1, 2), draw))
        assert pit[0, 0] == pytest.approx(cdf(3) + draw * (cdf(4) - cdf(3)))


@pytest.mark.parametrize("samples", [1, 5])
def test_pit_is_uniform_when_votes_come_from_the_posterior(samples):
    comparison = compare_shapes(*simulated(1500, samples))
    for answer in range(3):
        assert kstest(comparison.pit[:, answer], "uniform").pvalue > 1e-3
    assert summarise(comparison)["overall"]["coverage_90"] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("factor", "low", "high"), [(20, 0.3, 0.8), (0.1, 0.95, 1.0)])
def test_wrong_confidence_shows_in_the_coverage(factor, low, high):
    alpha, votes = simulated(800)
    comparison = compare_shapes(alpha * factor, votes)
    assert kstest(comparison.pit[:, 0], "uniform").pvalue < 1e-6
    assert low < summarise(comparison)["overall"]["coverage_90"] < high


def test_pit_depends_on_the_galaxy_not_on_its_place():
    alpha, votes = simulated(30)
    forward = compare_shapes(alpha, votes).pit
    n = len(votes)
    concentrations = np.concatenate([alpha, np.ones((n, 1, 2))], axis=2)[::-1]
    all_votes = np.concatenate([votes, np.zeros((n, 2), int)], axis=1)[::-1]
    backward = Comparison(TREE, names(n)[::-1], all_votes, concentrations, flat_baselines(n)).pit
    np.testing.assert_array_equal(forward, backward[::-1])


def test_errors_agree_with_sklearn():
    alpha, votes = simulated(50, samples=3)
    scores = summarise(compare_shapes(alpha, votes))["questions"]["shape"]
    observed = votes / 30
    predicted = (alpha / alpha.sum(axis=2, keepdims=True)).mean(axis=1)
    assert scores["n"] == 50
    assert scores["rmse"] == pytest.approx(
        root_mean_squared_error(observed.ravel(), predicted.ravel()), rel=1e-5
    )
    smooth = scores["answers"]["smooth"]
    assert smooth["mae"] == pytest.approx(
        mean_absolute_error(observed[:, 0], predicted[:, 0]), rel=1e-5
    )
    assert smooth["baselines"]["constant"]["rmse"] == pytest.approx(
        root_mean_squared_error(observed[:, 0], np.full(50, 1 / 3)), rel=1e-5
    )
    flat = -dirichlet_multinomial([1, 1, 1], 30).logpmf(votes).mean()
    assert scores["nll_constant"] == pytest.approx(flat, rel=1e-5)


def test_a_perfect_prediction_reaches_the_noise_floor():
    rng = np.random.default_rng(3)
    truth = rng.dirichlet(np.ones(3), 4000)
    votes = rng.multinomial(rng.integers(5, 40, 4000), truth)
    scores = summarise(compare_shapes(truth[:, None] * 1e4, votes))["questions"]["shape"]
    assert scores["noise_floor_rmse"] == pytest.approx(scores["rmse"], rel=0.03)


def test_few_votes_do_not_count():
    votes = np.array([[3, 1, 0, 0, 0], [3, 1, 1, 0, 1]])
    comparison = Comparison(TREE, names(2), votes, np.ones((2, 2, 5)), flat_baselines(2))
    summary = summarise(comparison)
    assert summary["questions"]["shape"]["n"] == 1
    assert summary["questions"]["bar"]["n"] == 0
    assert summary["overall"]["n"] == 1
    assert np.isnan(comparison.pit[0]).all()


def test_nothing_to_measure_is_null_in_json():
    comparison = Comparison(TREE, names(2), np.zeros((2, 5)), np.ones((2, 1, 5)), flat_baselines(2))
    summary = json.loads(json.dumps(summarise(comparison), allow_nan=False))
    assert summary["overall"]["rmse"] is None
    assert summary["questions"]["bar"]["coverage_90"] is None
    assert summary["questions"]["bar"]["classification"]["asked"]["n"] == 0
    assert summary["mean_of_questions"]["rmse"] is None


def test_a_question_counts_as_asked_where_most_volunteers_came_to_it():
    bars = [
        (9, 1, 0, 1, 0),
        (6, 14, 0, 14, 0),
        (8, 12, 0, 2, 10),
        (0, 6, 0, 0, 6),
        (1, 40, 0, 3, 0),
    ]
    alpha = np.ones((5, 1, 5))
    alpha[:, 0, 3] = [1, 5, 5, 1, 5]
    alpha[:, 0, 4] = [5, 1, 1, 5, 1]
    comparison = Comparison(TREE, names(5), np.array(bars), alpha, flat_baselines(5))
    np.testing.assert_allclose(comparison.asked["bar"], [0.1, 0.7, 0.6, 1, 40 / 41], atol=1e-6)
    scores = summarise(comparison)["questions"]["bar"]["classification"]
    # The first was asked by few, the last answered by few.
    assert scores["asked"]["n"] == 3
    assert scores["asked"]["confusion"] == [[1, 0], [1, 1]]
    assert scores["confident"]["n"] == 0


def test_confident_galaxies_are_those_that_volunteers_agree_on():
    votes = np.array([[19, 1, 0], [18, 2, 0], [0, 20, 0], [12, 8, 0], [9, 0, 0]])
    alpha = np.array([[[9.0, 1, 1]], [[1, 9, 1]], [[1, 9, 1]], [[1, 1, 9]], [[1, 1, 9]]])
    scores = summarise(compare_shapes(alpha, votes))["questions"]["shape"]["classification"]
    assert scores["confident"]["n"] == 3
    assert scores["confident"]["accuracy"] == pytest.approx(2 / 3)
    assert scores["confident"]["majority"]["accuracy"] == pytest.approx(2 / 3)
    assert scores["confident"]["majority"]["answer"] == "smooth"
    assert scores["asked"]["n"] == 5


def test_the_mean_over_questions_weighs_each_the_same():
    rng = np.random.default_rng(8)
    votes = np.hstack(
        [rng.multinomial(30, [0.5, 0.4, 0.1], 40), rng.multinomial(9, [0.3, 0.7], 40)]
    )
    votes[5:, 3:] = 0
    alpha = rng.uniform(1, 9, (40, 2, 5))
    summary = summarise(Comparison(TREE, names(40), votes, alpha, flat_baselines(40)))
    both = [summary["questions"][name] for name in ("shape", "bar")]
    assert [scores["n"] for scores in both] == [40, 5]
    found = summary["mean_of_questions"]
    assert found["n_questions"] == 2
    assert found["rmse"] == pytest.approx(np.mean([scores["rmse"] for scores in both]), rel=1e-5)
    low, high = found["rmse_interval"]
    assert low < found["rmse"] < high


def test_the_difference_to_a_baseline_is_paired():
    alpha, votes = simulated(300)
    scores = summarise(compare_shapes(alpha, votes))["questions"]["shape"]
    constant = scores["baselines"]["constant"]
    assert constant["difference"] == pytest.approx(scores["rmse"] - constant["rmse"], abs=1e-5)
    low, high = constant["difference_interval"]
    assert low < constant["difference"] < high < 0


def test_the_likelihood_gain_has_an_interval():
    alpha, votes = simulated(300, strength=20)
    good = summarise(compare_shapes(alpha, votes))["questions"]["shape"]
    low, high = good["nll_difference_interval"]
    assert low < good["nll"] - good["nll_constant"] < high < 0


def test_errors_of_a_galaxy_are_the_share_of_votes_to_move():
    votes = np.array([[10, 0, 0, 0, 0], [4, 0, 0, 0, 0], [5, 5, 0, 5, 0]])
    alpha = np.array([[[1.0, 1, 2, 1, 1]]] * 3)
    comparison = Comparison(TREE, names(3), votes, alpha, flat_baselines(3))
    np.testing.assert_allclose(galaxy_errors(comparison), [0.75, np.nan, (0.5 + 0.5) / 2])


def test_coverage_leaves_out_what_is_absent():
    assert mean(inside(np.array([0.02, 0.5, 0.94, np.nan]), 0.9)) == pytest.approx(2 / 3)
    assert mean(inside(np.array([np.nan]), 0.9)) is None


def test_every_published_tree_is_scored():
    folder = Path(__file__).resolve().parents[2] / "config" / "trees"
    for path in folder.glob("*.yaml"):
        tree = load_tree(path)
        votes = np.full((3, len(tree.columns)), 9)
        concentrations = np.full((3, 2, len(tree.columns)), 2.0)
        baselines = flat_baselines(3, tree)
        summary = summarise(Comparison(tree, names(3), votes, concentrations, baselines))
        assert [len(q["answers"]) for q in summary["questions"].values()] == [
            len(q.answers) for q in tree.questions
        ]

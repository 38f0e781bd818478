"""Bootstrap, classification, calibration, covariates: against scipy and scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import classification_report, log_loss, roc_auc_score

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.simulation.sky import simulate_sky
from galaxymill.simulation.volunteers import true_fractions, vote
from galaxymill.statistics.baselines import Baselines
from galaxymill.statistics.bootstrap import MAX_BLOCKS, Bootstrap, interval, mean, pooled_draws
from galaxymill.statistics.calibration import calibration, reliability, verdict
from galaxymill.statistics.classification import classify
from galaxymill.statistics.covariates import VOTES, Errors, errors_by, read_covariates
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.tasks.classes.scores import (
    ClassComparison,
    brier_scores,
    calibration_error,
    summarise_classes,
)
from galaxymill.tasks.numbers.scores import NumberComparison, summarise_numbers
from galaxymill.tasks.votes.scores import Comparison, summarise
from galaxymill.tasks.votes.truth import compare_with_truth, latent_pit
from galaxymill.trees.tree import load_tree


@pytest.mark.parametrize("n", [40, 300, 5000])
def test_the_bootstrap_agrees_with_scipy(n):
    values = np.random.default_rng(n).exponential(size=n)
    low, high = interval(pooled_draws(Bootstrap(n), values))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=1, batch=100
    ).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.12 * width)
    assert high == pytest.approx(expected.high, abs=0.12 * width)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        low, high = interval(pooled_draws(Bootstrap(60, rounds=300), rng.normal(size=60)))
        held += low <= 0 <= high
    assert 0.89 < held / 300 < 0.98


def test_many_galaxies_are_resampled_in_blocks():
    n = 3 * MAX_BLOCKS + 5
    totals = Bootstrap(n, rounds=20).totals(np.ones((n, 1)))
    assert totals.shape == (20, 1)
    assert totals.mean() == pytest.approx(n, rel=0.01)


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_each_round_draws_as_many_galaxies_as_there_are(n, seed):
    totals = Bootstrap(n, rounds=10, seed=seed).totals(np.ones((n, 1)))
    np.testing.assert_array_equal(totals, n)


def test_galaxies_without_a_value_are_left_out_of_each_round():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    resampled = Bootstrap(3)
    draws = pooled_draws(resampled, values)
    counts = resampled.totals(np.eye(3))
    sums = counts @ [1.0, 8.0, 0.0]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(draws, sums / (counts @ [1.0, 2.0, 0.0]))
    assert interval(np.full(4, np.nan)) is None
    assert mean([np.nan]) is None


@given(st.integers(2, 5), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_classification_agrees_with_sklearn(k, n, seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(k, size=(2, n))
    answers = [f"answer {index}" for index in range(k)]
    found = classify(truth, predicted, answers)
    expected = classification_report(truth, predicted, output_dict=True, zero_division=0.0)
    assert found["accuracy"] == pytest.approx(np.mean(truth == predicted), rel=1e-5)
    for average in ("macro", "weighted"):
        for ours, theirs in (("precision",) * 2, ("recall",) * 2, ("f1", "f1-score")):
            assert found[f"{ours}_{average}"] == pytest.approx(
                expected[f"{average} avg"][theirs], rel=1e-5
            )
    assert np.sum(found["confusion"]) == n
    assert np.trace(found["confusion"]) == (truth == predicted).sum()
    assert found["majority"]["accuracy"] == pytest.approx(np.bincount(truth).max() / n, rel=1e-5)


def test_nothing_to_classify_is_said_so():
    assert classify(np.empty(0, int), np.empty(0, int), ("a", "b"))["accuracy"] is None


def test_coverage_of_uniform_values_is_the_level():
    found = calibration((np.arange(1000) + 0.5)[:, None] / 1000, Bootstrap(1000))
    for level, scores in found["coverage"].items():
        assert scores["value"] == pytest.approx(float(level) / 100, abs=0.001)
        low, high = scores["interval"]
        assert low <= scores["value"] <= high
    np.testing.assert_allclose(found["pit_histogram"], 0.05)


@pytest.mark.parametrize(
    ("n", "covered", "interval", "word"),
    [
        (500, 0.78, None, "over-confident"),
        (500, 0.97, None, "under-confident"),
        (500, 0.9, None, "calibrated"),
        (500, 0.86, [0.84, 0.88], "calibrated"),
        (50, 0.78, [0.7, 0.86], "too few galaxies to say"),
        (50, 0.7, [0.6, 0.8], "over-confident"),
        (50, 0.9, [0.88, 0.92], "calibrated"),
        (0, None, None, "not tested"),
    ],
)
def test_a_verdict_is_given_where_there_are_enough_galaxies(n, covered, interval, word):
    scores = {"n": n, "coverage_90": covered, "coverage": {"90": {"interval": interval}}}
    assert verdict(scores) == word


def test_the_reliability_curve_is_of_bin_means():
    predicted = np.array([0.02] * 5 + [0.98] * 6 + [0.5])
    observed = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0.5])
    x, y, errors = reliability(predicted, observed)
    np.testing.assert_allclose(x, [0.02, 0.98])
    np.testing.assert_allclose(y, [0.2, 5 / 6])
    np.testing.assert_allclose(errors, [stats.sem(observed[:5]), stats.sem(observed[5:11])])


def class_comparison(n=200, sharpness=1.0):
    """Probabilities from which the classes are drawn, made sharper or flatter afterwards."""
    rng = np.random.default_rng(6)
    true = rng.dirichlet([1, 1, 1], n)
    truth = (true.cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    shown = true**sharpness
    shown /= shown.sum(axis=1, keepdims=True)
    predicted = {"model": shown, "constant": np.full((n, 3), 1 / 3)}
    return ClassComparison(("a", "b", "c"), truth, predicted)


def test_scores_of_classes_agree_with_sklearn():
    comparison = class_comparison()
    found = summarise_classes(comparison)
    probabilities, truth = comparison.predicted["model"], comparison.truth
    overall = found["overall"]
    assert overall["log_loss"] == pytest.approx(log_loss(truth, probabilities), rel=1e-5)
    assert overall["baselines"]["constant"]["log_loss"] == pytest.approx(np.log(3), rel=1e-5)
    assert overall["roc_auc_macro"] == pytest.approx(
        roc_auc_score(truth, probabilities, multi_class="ovr"), rel=1e-5
    )
    assert overall["brier"] == pytest.approx(
        np.mean(np.sum((probabilities - np.eye(3)[truth]) ** 2, axis=1)), rel=1e-5
    )
    assert found["classes"]["b"]["support"] == (truth == 1).sum()
    assert overall["baselines"]["constant"]["log_loss_difference_interval"][1] < 0


def test_one_class_alone_has_no_roc_curve():
    comparison = class_comparison()
    only = ClassComparison(comparison.classes, np.zeros(200, int), comparison.predicted)
    found = summarise_classes(only)
    assert {scores["roc_auc"] for scores in found["classes"].values()} == {None}
    assert found["overall"]["roc_auc_macro"] is None


def test_over_confidence_in_classes_shows_in_the_calibration_error():
    fair, sharp = (class_comparison(2000, power) for power in (1.0, 4.0))
    errors = [calibration_error(c.predicted["model"], c.truth) for c in (fair, sharp)]
    assert errors[0] < 0.05 < 0.1 < errors[1]
    brier = [brier_scores(c.predicted["model"], c.truth).mean() for c in (fair, sharp)]
    assert brier[0] < brier[1]


def number_comparison(n=1500, stretch=1.0):
    rng = np.random.default_rng(9)
    mean, deviation = rng.normal(size=(n, 4)), rng.uniform(0.2, 1, (n, 4))
    member = rng.integers(4, size=n)
    truth = rng.normal(mean[np.arange(n), member], deviation[np.arange(n), member])
    samples = np.stack([mean, stretch * deviation], axis=-1)
    predicted = {"model": mean.mean(axis=1), "constant": np.zeros(n)}
    return NumberComparison("mass", truth, samples, predicted)


def test_scores_of_numbers_agree_with_numpy_and_scipy():
    comparison = number_comparison()
    found = summarise_numbers(comparison)["overall"]
    residual = comparison.predicted["model"] - comparison.truth
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-5)
    assert found["bias"] == pytest.approx(residual.mean(), rel=1e-4)
    assert found["scatter"] == pytest.approx(
        stats.median_abs_deviation(residual, scale="normal"), rel=1e-4
    )
    densities = stats.norm(comparison.samples[..., 0], comparison.samples[..., 1])
    expected = -np.log(densities.pdf(comparison.truth[:, None]).mean(axis=1)).mean()
    assert found["nll"] == pytest.approx(expected, rel=1e-5)
    constant = found["baselines"]["constant"]
    assert constant["rmse"] == pytest.approx(np.sqrt(np.mean(comparison.truth**2)), rel=1e-5)
    assert constant["difference_interval"][1] < 0


@pytest.mark.parametrize(("stretch", "low", "high"), [(1, 0.88, 0.92), (0.2, 0.3, 0.85)])
def test_coverage_tells_honest_gaussians_from_narrow_ones(stretch, low, high):
    assert (
        low < summarise_numbers(number_comparison(stretch=stretch))["overall"]["coverage_90"] < high
    )


def test_the_spread_of_a_mixture_is_that_of_draws_from_it():
    comparison = number_comparison(n=3)
    rng = np.random.default_rng(1)
    for row, spread in enumerate(comparison.spread):
        member = rng.integers(4, size=200_000)
        drawn = rng.normal(*comparison.samples[row, member].T)
        assert spread == pytest.approx(drawn.std(), rel=0.01)


def test_errors_are_binned_by_covariates():
    n = 90
    size = np.arange(n, dtype=float)
    squares = np.where(size < 45, 0.01, 0.09)
    errors = Errors("bar", squares, np.full(n, 0.25), np.full(n, 0.04))
    rows = errors_by([errors], {"size": size}, {"bar": np.full(n, 30.0)})
    # All have as many votes: nothing to bin by.
    assert {row["covariate"] for row in rows} == {"size"}
    assert [row["n"] for row in rows] == [15] * 6
    np.testing.assert_allclose([row["error"] for row in rows], [0.1] * 3 + [0.3] * 3)
    assert {row["constant"] for row in rows} == {0.5}
    assert {row["noise_floor"] for row in rows} == {0.2}
    assert rows[0]["low"] == 0
    assert rows[-1]["high"] == 89


def test_the_uncertainty_of_a_binned_error_is_that_of_repeated_samples():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        squares = rng.normal(0, 0.1, 40) ** 2
        halves = errors_by([Errors("q", squares, squares)], {"x": np.arange(40.0)}, {})
        found.append((halves[0]["error"], halves[0]["uncertainty"]))
    errors, uncertainties = np.array(found).T
    assert np.mean(uncertainties) == pytest.approx(errors.std(), rel=0.15)


def test_galaxies_without_a_value_are_in_no_bin():
    votes = np.repeat([10.0, 20.0, np.nan], 20)
    errors = Errors("q", np.full(60, 0.04), np.full(60, 0.04))
    rows = errors_by([errors], {}, {"q": votes})
    assert [row["covariate"] for row in rows] == [VOTES] * 2
    assert sum(row["n"] for row in rows) == 40


def test_numeric_columns_of_a_catalogue_are_covariates(tmp_path):
    schema = products.objects(kept=[pa.field("mag", pa.float32()), pa.field("name", pa.string())])
    row = {"ra": 1.0, "dec": 2.0, "_healpix_29": 3, "name": "x"}
    table = pa.Table.from_pylist(
        [{**row, "object_id": "b", "mag": 17.5}, {**row, "object_id": "a", "mag": None}], schema
    )
    write_product(tmp_path / "objects.parquet", table, Origin("ingest"), schema)
    found = read_covariates([tmp_path / "objects.parquet"], ["a", "b", "c"])
    assert set(found) == {"mag"}
    np.testing.assert_array_equal(found["mag"], [np.nan, 17.5, np.nan])
    write_product(tmp_path / "votes.parquet", table, Origin("labels"), schema)
    with pytest.raises(UserError, match=r"votes\.parquet: made by labels"):
        read_covariates([tmp_path / "votes.parquet"], ["a"])


def test_the_pit_of_latent_fractions_is_uniform_for_a_true_posterior():
    rng = np.random.default_rng(5)
    alpha = rng.uniform(0.3, 9, (3000, 3, 2))
    member = alpha[np.arange(3000), rng.integers(3, size=3000)]
    fractions = np.array([rng.dirichlet(each) for each in member])
    pit = latent_pit(alpha, fractions)
    assert stats.kstest(pit[:, 0], "uniform").pvalue > 1e-3
    assert stats.kstest(latent_pit(5 * alpha, fractions)[:, 0], "uniform").pvalue < 1e-6


@pytest.fixture(scope="module")
def sky(tmp_path_factory, trees):
    """A simulated sky, its volunteers' votes and the file of its truth."""
    tree, truth = load_tree(trees / "decals_dr5.yaml"), simulate_sky(200, seed=3)
    path = tmp_path_factory.mktemp("sky") / "truth.parquet"
    write_product(path, truth, Origin("simulate"), truth.schema)
    table = vote(truth, tree)
    return tree, truth, np.stack([table[name].to_numpy() for name in tree.columns], axis=1), path


def test_a_model_that_knows_the_truth_is_nearer_to_it_than_the_votes(sky):
    tree, truth, votes, path = sky
    fractions = true_fractions(truth, tree)
    keys = truth["object_id"].to_pylist()
    flat = Baselines({"constant": np.full(fractions.shape, 0.5)}, np.ones(len(tree.columns)))
    comparison = Comparison(tree, keys, votes, 1000 * fractions[:, None], flat)
    found = compare_with_truth(comparison, path)["overall"]
    assert found["rmse"] == pytest.approx(0, abs=1e-6)
    floor = summarise(comparison)["overall"]["noise_floor_rmse"]
    assert found["rmse_votes"] == pytest.approx(floor, rel=0.05)
    shuffled = Comparison(tree, keys, votes, 1000 * np.roll(fractions, 1, axis=0)[:, None], flat)
    scores = compare_with_truth(shuffled, path)["overall"]
    assert scores["rmse"] > 0.1
    assert scores["coverage_90"] < 0.5


def test_a_galaxy_of_another_sky_is_refused(sky):
    tree, _, votes, path = sky
    flat = Baselines({}, np.ones(len(tree.columns)))
    comparison = Comparison(
        tree, ["elsewhere"], votes[:1], np.ones((1, 1, len(tree.columns))), flat
    )
    with pytest.raises(UserError, match=r"truth\.parquet: 'elsewhere' is not in this sky"):
        compare_with_truth(comparison, path)

"""The columns of every kind of head, against SciPy."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import entropy, norm

from galaxymill.inference.rows import summarise
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.tasks.numbers.task import mixture_quantile
from galaxymill.trees.tree import parse_tree

TREE = parse_tree(
    {
        "name": "toy",
        "questions": {
            "shape": {"answers": ["smooth", "featured", "star"]},
            "bar": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        },
    },
    "toy",
)
RINGS = parse_tree({"name": "r", "questions": {"ring": {"answers": ["yes", "no", "odd"]}}}, "r")
TASKS = [VoteTask(TREE), ClassTask(RINGS), NumberTask("redshift")]


def draw(task, n, samples, seed=1):
    generator = np.random.default_rng(seed)
    if task.kind == "votes":
        return generator.uniform(1, 101, (n, samples, 5)).astype(np.float32)
    if task.kind == "class":
        return generator.dirichlet([1, 2, 3], (n, samples)).astype(np.float32)
    moments = [generator.normal(1, 2, (n, samples)), generator.uniform(0.1, 3, (n, samples))]
    return np.stack(moments, axis=-1).astype(np.float32)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_summary_has_the_product_s_columns(task):
    columns = summarise(draw(task, 4, 2), task)
    assert list(columns) == [field.name for field in task.summary_fields()]
    for field in task.summary_fields():
        assert columns[field.name].type == field.type == pa.float32()
        assert columns[field.name].null_count == 0
        assert field.metadata[b"description"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_summary_is_null_where_nothing_was_predicted(task):
    samples = draw(task, 4, 2)
    whole = summarise(samples, task)
    samples[[1, 3]] = np.nan
    for name, values in summarise(samples, task).items():
        assert values.is_null().to_pylist() == [False, True, False, True]
        assert values[0].as_py() == pytest.approx(whole[name][0].as_py(), abs=1e-6)
        assert values[2].as_py() == pytest.approx(whole[name][2].as_py(), abs=1e-6)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_summary_of_no_rows_is_empty(task):
    assert {len(values) for values in summarise(draw(task, 0, 2), task).values()} == {0}


def test_classes_have_mean_probabilities_and_their_entropy():
    samples = draw(TASKS[1], 6, 5)
    columns = summarise(samples, TASKS[1])
    mean = samples.mean(axis=1)
    for place, name in enumerate(RINGS.columns):
        np.testing.assert_allclose(columns[f"{name}_probability"], mean[:, place], rtol=1e-5)
    np.testing.assert_allclose(columns["ring_entropy"], entropy(mean, axis=1), rtol=1e-5)
    information = entropy(mean, axis=1) - entropy(samples, axis=2).mean(axis=1)
    np.testing.assert_allclose(columns["ring_mutual-information"], information, atol=1e-6)


def test_a_number_s_quantiles_are_those_of_its_mixture():
    samples = draw(TASKS[2], 8, 5)
    columns = summarise(samples, TASKS[2])
    for row, (mean, deviation) in enumerate(np.moveaxis(samples, -1, 1).astype(float)):
        for name, level in (("lower", 0.05), ("upper", 0.95)):

            def excess(x, mean=mean, deviation=deviation, level=level):
                return norm.cdf(x, mean, deviation).mean() - level

            expected = brentq(excess, -100, 100)
            assert columns[f"redshift_90pc-{name}"][row].as_py() == pytest.approx(
                expected, abs=1e-4
            )
        draws = np.random.default_rng(1).normal(mean, deviation, (400_000, 5))
        assert columns["redshift_mean"][row].as_py() == pytest.approx(draws.mean(), abs=0.02)
        assert columns["redshift_std"][row].as_py() == pytest.approx(draws.std(), rel=0.01)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(0.01, 0.99))
def test_quantile_of_one_gaussian_is_its_own(mean, deviation, level):
    found = mixture_quantile(np.array([[mean]]), np.array([[deviation]]), level)
    assert found[0] == pytest.approx(norm.ppf(level, mean, deviation), abs=1e-6 * deviation + 1e-9)


@pytest.mark.parametrize(("centre", "width"), [(1e6, 1.0), (3e36, 1e36), (2e-26, 1e-27)])
def test_a_number_of_any_size_keeps_its_spread(centre, width):
    """Squares of these are no float32, or their differences are lost in it."""
    samples = np.full((1, 2, 2), [centre, width], np.float32)
    table = summarise(samples, NumberTask("z"))
    assert table["z_std"].to_pylist() == pytest.approx([width], rel=1e-3)
    lower = table["z_90pc-lower"].to_pylist()[0]
    assert (centre - lower) / width == pytest.approx(1.645, abs=0.07)

"""Counts are found again from their fractions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.labels.fractions import to_counts

COUNTS = st.lists(st.lists(st.integers(0, 1000), min_size=3, max_size=3), min_size=1, max_size=20)


@given(COUNTS, st.sampled_from([4, 6, 16]))
def test_fractions_of_counts_give_the_counts(plain, digits):
    counts = np.array(plain, dtype=float)
    totals = counts.sum(axis=1)
    fractions = np.round(counts / np.maximum(totals, 1)[:, None], digits)
    assert np.array_equal(to_counts(fractions, totals), counts)


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda row: sum(row) > 0),
    st.integers(0, 200),
)
def test_counts_are_whole_and_add_up(shares, total):
    fractions = np.array([shares]) / sum(shares)
    counts = to_counts(fractions, np.array([float(total)]))
    assert counts.sum() == total
    assert np.all(counts == np.floor(counts))
    assert np.all(np.abs(counts - fractions * total) < 1 + 1e-6)


def test_an_answer_that_is_not_listed_keeps_its_share():
    assert to_counts(np.array([[0.5, 0.25]]), np.array([40.0])).tolist() == [[20, 10]]


def test_a_sum_a_little_above_one_adds_no_vote():
    assert to_counts(np.array([[0.51, 0.5]]), np.array([200.0])).sum() == 200


def test_largest_remainders_are_rounded_up():
    """By hand: 2.8, 5.5, 1.7 of ten votes."""
    counts = to_counts(np.array([[0.28, 0.55, 0.17]]), np.array([10.0]))
    assert counts.tolist() == [[3, 5, 2]]

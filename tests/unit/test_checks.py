"""More votes than the answers that lead to a question: the question goes, the galaxy stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from galaxymill.errors import UserError
from galaxymill.tasks.checks import (
    NO_LABEL,
    NOT_RETIRED,
    TOO_MANY,
    CheckSettings,
    Dropped,
    check_loss,
    reasons,
    void_excess,
)
from galaxymill.trees.tree import parse_tree

TREE = {
    "name": "toy",
    "questions": {
        "shape": {"answers": ["smooth", "featured", "star"]},
        "edge": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        "bar": {"answers": ["yes", "no"], "asked_after": ["edge_no"]},
        "odd": {"answers": ["yes", "no"], "asked_after": ["shape_smooth", "shape_featured"]},
    },
}
TOY = parse_tree(TREE, "toy")


def checked(row, tree=TOY, **settings):
    counts = np.array([row], dtype=float)
    kept, dropped = void_excess(["a"], counts, tree, CheckSettings(**settings))
    return kept[0].tolist(), dropped


@pytest.mark.parametrize(
    ("edge", "parents", "fits"),
    [(12, 10, True), (13, 10, False), (105, 100, True), (106, 100, False), (2, 0, True)],
)
def test_two_votes_or_a_twentieth_more_are_allowed(edge, parents, fits):
    kept, dropped = checked([0, parents, 0, edge, 0, 0, 0, 0, 0])
    assert kept[3] == (edge if fits else 0)
    assert [row.question for row in dropped] == ([] if fits else ["edge"])


def test_several_parents_add_up():
    row = [10, 10, 0, 0, 0, 0, 0, 12, 10]
    assert checked(row) == ([*map(float, row)], [])


def test_a_voided_parent_voids_no_child():
    kept, dropped = checked([0, 10, 0, 0, 30, 20, 10, 0, 0])
    assert kept == [0, 10, 0, 0, 0, 20, 10, 0, 0]
    assert [(row.question, row.votes, row.parents_votes, row.allowed) for row in dropped] == [
        ("edge", 30, 10, 12)
    ]


def test_a_child_of_a_voided_parent_must_pass_by_itself():
    _, dropped = checked([0, 10, 0, 0, 30, 30, 10, 0, 0])
    assert [row.question for row in dropped] == ["edge", "bar"]
    assert reasons(dropped) == {"more votes than the answers that lead to it": 2}


def test_tolerances_are_settings():
    row = [0, 10, 0, 13, 0, 0, 0, 0, 0]
    assert checked(row, absolute=3)[1] == []
    assert checked(row, relative=0.3)[1] == []
    assert checked(row, parents=False)[1] == []


def test_a_simplified_tree_is_not_checked():
    tree = parse_tree({**TREE, "simplified": True}, "toy")
    assert parse_tree(tree.to_dict(), "toy") == tree
    assert checked([0, 10, 0, 99, 0, 0, 0, 0, 0], tree)[1] == []


@given(arrays.arrays(np.int64, (20, 9), elements=st.integers(0, 60)))
def test_rows_are_judged_one_by_one_by_what_was_given(counts):
    kept, dropped = void_excess(
        [str(row) for row in range(20)], counts.astype(float), TOY, CheckSettings()
    )
    told = {(row.object_id, row.question) for row in dropped}
    parents = {"edge": [1], "bar": [4], "odd": [0, 1]}
    where = {"shape": [0, 1, 2], "edge": [3, 4], "bar": [5, 6], "odd": [7, 8]}
    for row in range(20):
        for question, columns in where.items():
            above = 0
            if question in parents:
                led = sum(int(counts[row, column]) for column in parents[question])
                above = sum(int(counts[row, c]) for c in columns) - led - max(2, 0.05 * led)
            assert ((str(row), question) in told) == (above > 0)
            expected = [0] * len(columns) if above > 0 else counts[row, columns].tolist()
            assert kept[row, columns].tolist() == expected


def lost(reason, votes, question=""):
    return Dropped("a", question, votes, None, None, reason)


@pytest.mark.parametrize(
    ("dropped", "kept", "share", "told"),
    [
        ([lost(TOO_MANY, 10, "bar")], 10, 0.5, ""),
        ([lost(TOO_MANY, 11, "bar")], 10, 0.5, "11 of 21 votes are left out, 11 of them for: more"),
        ([lost(NO_LABEL, 1)] * 3 + [lost(NOT_RETIRED, 2)], 4, 0.5, "5 of 9 .* 3 of them for: no l"),
        ([lost(NOT_RETIRED, 99)], 1, 1, ""),
        ([lost(NOT_RETIRED, 1)], 99, 0, "1 of 100 .*: not retired; retired: false keeps them"),
        ([], 0, 0, ""),
    ],
)
def test_most_votes_lost_is_an_error(dropped, kept, share, told):
    settings = CheckSettings(lost=share)
    if not told:
        check_loss(dropped, kept, settings, "votes.csv", "votes")
        return
    with pytest.raises(UserError, match=f"votes.csv: {told}"):
        check_loss(dropped, kept, settings, "votes.csv", "votes")

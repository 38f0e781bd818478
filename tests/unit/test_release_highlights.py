"""What the pictures of a release show, whatever tiles it came in."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.release.documents.highlights import BINS, EXAMPLES, Highlights
from galaxymill.tasks import NumberTask, VoteTask
from galaxymill.trees.tree import parse_tree

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_predictions import a_prediction

QUESTIONS = {"bar": {"answers": ["yes", "no"]}, "arms": {"answers": ["one", "two", "many"]}}
TREE = parse_tree({"name": "t", "questions": QUESTIONS}, "t")


def draw_rows(count, seed):
    rng = np.random.default_rng(seed)
    values = {"object_id": rng.permutation([f"g{n:04d}" for n in range(count)])}
    for question in TREE.questions:
        asked = rng.uniform(0, 1, count).astype(np.float32)
        for column in question.columns:
            # Few values, so that there are equals.
            lower = (rng.integers(0, 5, count) / 5).astype(np.float32)
            values[f"{column}_90pc-lower"] = lower
            values[f"{column}_fraction"] = np.minimum(lower + np.float32(0.1), 1)
        values[f"{question.name}_proportion-asked"] = asked
    table = pd.DataFrame(values)
    table.loc[rng.uniform(size=count) < 0.1, table.columns[1:]] = np.nan
    return table


@given(
    count=st.integers(0, 60),
    cut=st.integers(1, 60),
    seed=st.integers(0, 99),
    friendly=st.sampled_from([0, 0.5, 0.7]),
)
def test_highlights_are_those_of_the_whole_table(count, cut, seed, friendly):
    """Those of whom half would be asked are examples, whatever the friendly table holds."""
    table = draw_rows(count, seed)
    found = Highlights([a_prediction(VoteTask(TREE))], friendly)
    for start in range(0, count, cut):
        found.add(pa.Table.from_pandas(table[start : start + cut], preserve_index=False))
    answers = {shown.answer.column: shown for shown in found.answers}
    for question in TREE.questions:
        proportion = table[f"{question.name}_proportion-asked"]
        asked = table[proportion >= np.float32(max(friendly, 0.5))]
        counted = table[proportion >= np.float32(friendly)]
        for column in question.columns:
            lower, fraction = f"{column}_90pc-lower", f"{column}_fraction"
            best = asked.sort_values([lower, "object_id"], ascending=[False, True])[:EXAMPLES]
            expected = list(zip(best["object_id"], best[fraction], strict=True))
            assert answers[fraction].examples == expected
            bins = np.histogram(counted[fraction], np.linspace(0, 1, BINS + 1, dtype=np.float32))
            np.testing.assert_array_equal(answers[fraction].counts, bins[0])


@given(count=st.integers(0, 60), cut=st.integers(1, 60), seed=st.integers(0, 99))
def test_numbers_are_shown_by_their_surest_ends(count, cut, seed):
    """The lowest are those whose upper bound is lowest: they are surely low."""
    rng = np.random.default_rng(seed)
    middle, half = rng.normal(0, 3, count), rng.uniform(0, 2, count)
    table = pd.DataFrame({"object_id": rng.permutation([f"g{n:04d}" for n in range(count)])})
    for name, values in (
        ("mean", middle),
        ("90pc-lower", middle - half),
        ("90pc-upper", middle + half),
    ):
        table[f"z_{name}"] = np.where(np.arange(count) % 7 == 0, np.nan, values).astype(np.float32)
    found = Highlights([a_prediction(NumberTask("z"))], 0.5)
    for start in range(0, count, cut):
        found.add(pa.Table.from_pandas(table[start : start + cut], preserve_index=False))
    lowest, highest = (shown.examples for shown in found.answers)
    known = table.dropna()
    for shown, column, rising in ((lowest, "z_90pc-upper", True), (highest, "z_90pc-lower", False)):
        best = known.sort_values([column, "object_id"], ascending=[rising, True])[:EXAMPLES]
        assert shown == list(zip(best["object_id"], best["z_mean"], strict=True))
    drawn = np.concatenate([[], *found.answers[0].values])
    np.testing.assert_array_equal(np.sort(drawn), np.sort(known["z_mean"]))

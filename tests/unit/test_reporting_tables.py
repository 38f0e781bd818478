"""Values and tables as people and programs read them."""

import csv
import io

import pandas as pd
import pytest

from galaxymill.reporting.tables import flatten, markdown_table, spell, text_table, write_csv


def test_columns_of_numbers_are_to_the_right():
    assert text_table([("what", "n"), ("a", "10"), ("long", "1,000")]) == [
        "what      n",
        "a        10",
        "long  1,000",
    ]
    assert text_table([("n", "what"), ("−1", "a-1"), ("–", "b")]) == [
        " n  what",
        "−1  a-1",
        " –  b",
    ]


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("{x:.2f}", {"x": -1.234}, "−1.23"),
        ("{x:+.1f}", {"x": 1.25}, "+1.2"),
        ("{x:.1%}", {"x": 0.1234}, "12.3 %"),
        ("{x:,}", {"x": 12345}, "12,345"),
        ("{x} of {name}", {"x": 3, "name": "edge-on-dr5"}, "3 of edge-on"),
        ("{x:.3f}", {"x": None}, "–"),
        ("{x:.3f}", {}, "–"),
        ("({low:.1f} to {high:.1f})", {"low": None, "high": None}, "(–)"),
    ],
)
def test_values_are_spelled_for_people(template, row, text):
    assert spell(template, row, {"edge-on-dr5": "edge-on"}) == text


def test_nested_scores_become_one_row():
    scores = {
        "rmse": 0.1,
        "rmse_interval": [0.05, 0.2],
        "mae_interval": None,
        "baselines": {"constant": {"rmse": 0.3, "difference_interval": [-0.3, -0.1]}},
        "coverage": {"90": {"value": 0.8, "interval": [0.7, 0.9]}},
        "confusion": [[1, 2], [3, 4]],
        "answers": {"yes": {"rmse": 1}},
    }
    assert flatten(scores, "answers") == {
        "rmse": 0.1,
        "rmse_low": 0.05,
        "rmse_high": 0.2,
        "mae_low": None,
        "mae_high": None,
        "constant_rmse": 0.3,
        "constant_difference_low": -0.3,
        "constant_difference_high": -0.1,
        "coverage_90": 0.8,
        "coverage_90_low": 0.7,
        "coverage_90_high": 0.9,
    }


def test_a_csv_file_has_every_column_of_every_row(tmp_path):
    rows = [{"name": 'a, "b"\n', "x": 1.5}, {"name": "c", "x": None, "n": 3}]
    write_csv(tmp_path / "table.csv", rows)
    with (tmp_path / "table.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": 'a, "b"\n', "x": "1.5", "n": ""},
            {"name": "c", "x": "", "n": "3"},
        ]
    write_csv(tmp_path / "none.csv", [])
    assert (tmp_path / "none.csv").read_text() == ""


def test_a_markdown_table_is_read_back():
    text = markdown_table(("question", "n"), [("bar", 12), ("edge-on", 3)])
    table = pd.read_csv(io.StringIO(text), sep="|", skiprows=[1], skipinitialspace=True)
    table.columns = table.columns.str.strip()
    assert table["question"].str.strip().tolist() == ["bar", "edge-on"]
    assert table["n"].tolist() == [12, 3]

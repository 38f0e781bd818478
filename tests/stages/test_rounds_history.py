"""The page of all rounds: what was asked, what came back, what it gained."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxymill.errors import UserError
from galaxymill.labels.table import read_votes
from galaxymill.rounds.history import HistoryRequest, report_rounds
from galaxymill.rounds.population import estimate_mean
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from asked_survey import FEATURED, Sky
from made_survey import TASK, TREE

ANSWER = TREE.columns[FEATURED]
VERDICT = {
    "promoted": True,
    "overruled": None,
    "gate": {"promoted": False, "reasons": ["bar is worse by 0.1000 nat, at least 0.0500"]},
    "questions": {
        question.name: {"rmse_champion": 0.2, "rmse_challenger": 0.1} for question in TREE.questions
    },
}


def add_votes(sky, path, names, rng):
    """Labels with the answers of 20 volunteers to what is said to have come back."""
    before = pq.read_table(sky.votes)
    featured = rng.binomial(20, rng.beta(0.5, 1, len(names)))
    arms = rng.binomial(featured, 0.5)
    cast = np.column_stack([20 - featured, featured, 0 * arms, arms, featured - arms])
    columns = dict(zip(TREE.columns, cast.T, strict=True))
    columns |= {"object_id": names, "split": ["train"] * len(names)}
    columns |= {"ra": np.full(len(names), 40.0), "dec": np.full(len(names), 10.0)}
    more = {
        name: columns[name.removesuffix("_count")] if name not in columns else columns[name]
        for name in before.schema.names
    }
    table = pa.concat_tables([before, pa.table(more, schema=before.schema)])
    write_product(path, table, Origin("labels", {"task": TASK.to_dict()}), before.schema)


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """One round that came back, with three galaxies that nobody asked for, and one being asked."""
    sky = Sky(tmp_path_factory.mktemp("sky"))
    first = sky.choose(1, choose=["not_confidently_smooth"])
    asked = pq.read_table(first)["object_id"].to_pylist()
    votes = sky.root / "after.parquet"
    names = [*asked[:500], "g05990", "g05991", "gone_from_the_survey"]
    add_votes(sky, votes, names, np.random.default_rng(1))
    (first.parent / "verdict.json").write_text(json.dumps(VERDICT))
    sky.votes, before = votes, sky.votes
    second = sky.choose(2, [first])
    (sky.root / "images.csv").write_text(sky.partitions.read_text())
    request = HistoryRequest(
        (first, second),
        (before, votes),
        sky.partitions,
        sky.folders["predictions"],
        sky.model,
        sky.root / "images.csv",
        ANSWER,
    )
    out = sky.root / "history" / "report.html"
    report_rounds(request, out)
    return sky, request, out


def read(out, name):
    with (out.parent / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_what_was_asked_and_what_came_back(past):
    _, request, out = past
    first, second = json.loads((out.parent / "metrics.json").read_text())["rounds"]
    assert (first["asked"], first["came_back"], first["not_asked"]) == (600, 500, 3)
    assert first["left_the_survey"] == 1
    assert second["came_back"] == second["answers"] == 0
    votes = read_votes(request.votes[1])
    new = ~np.isin(votes.object_ids, read_votes(request.votes[0]).object_ids)
    assert first["answers"] == votes.values[new].sum()
    page = out.read_text()
    assert "Round 1 was refused: bar is worse by 0.1000 nat" in page
    smooth = json.loads((request.subjects[1].parent / "choice.json").read_text())
    share = smooth["confidently_smooth"] / smooth["pool"]
    assert f"{share:.0%} are confidently smooth" in page


def test_errors_of_the_champion_by_answers_spent(past):
    _, _, out = past
    before, after = read(out, "errors")
    assert (float(before["mean"]), float(before["answers"])) == (pytest.approx(0.2), 0)
    assert float(after["mean"]) == pytest.approx(0.1)
    assert float(after["answers"]) > 500 * 20


def test_the_survey_is_estimated_by_selection_probabilities(past):
    _, request, out = past
    (row,) = read(out, "population")
    votes = read_votes(request.votes[1])
    cast = dict(zip(votes.object_ids, votes.values, strict=True))
    rows = pq.read_table(request.subjects[0]).to_pandas().set_index("object_id")
    rows = rows.loc[[name for name in rows.index if name in cast]]
    values = np.array([cast[name][FEATURED] / cast[name][:3].sum() for name in rows.index])
    mean, error = estimate_mean(values, rows["selection_probability"].to_numpy())
    assert (float(row["survey"]), float(row["error"])) == pytest.approx((mean, error))
    assert float(row["asked"]) == pytest.approx(values.mean())


def test_where_people_and_model_disagree_the_most_stands_first(past):
    _, _, out = past
    rows = read(out, "disagreement")
    off = [float(row["deviations"]) for row in rows]
    assert off == sorted(off, reverse=True)
    assert len(rows) == 100
    assert all(0 <= float(row["volunteers"]) <= 1 for row in rows)


def test_the_same_page_again_byte_for_byte(past, tmp_path):
    _, request, out = past
    report_rounds(request, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("name", ["choice.json", "verdict.json"])
def test_what_is_lost_is_named(past, tmp_path, name):
    _, request, _ = past
    path = request.subjects[0].parent / name
    kept = path.read_bytes()
    path.write_text("{")
    with pytest.raises(UserError, match=re.escape(name)):
        report_rounds(request, tmp_path / "report.html")
    path.write_bytes(kept)

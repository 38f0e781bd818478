"""Interests in the workflow: from ratings to a release and its explorer, and before any ratings."""

import re

import pyarrow.parquet as pq

LOOK = {"merge_release": 1, "explore_partition": 2, "build_explorer": 1}
LEARN = {"fit_interest": 1, "rate_partition": 2, "report_interest": 1}


def test_new_ratings_learn_rate_and_release_anew_but_project_nothing(
    working_copy, mini_config, change
):
    config = change(mini_config, "releases.mini.interests", "odd")
    assert working_copy.dry(config=config) == {"record_run": 1, **LOOK}
    working_copy.finish(config=config)
    assert working_copy.dry(config=config) == {}
    (table,) = working_copy.files("releases/mini/friendly.parquet")
    released = pq.read_table(table, columns=["object_id", "interest_odd"]).to_pylist()
    parts = working_copy.files("rated/odd/*.parquet")
    rated = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert {row["object_id"]: row["interest_odd"] for row in released} == {
        row["object_id"]: row["interest_odd"] for row in rated
    }
    page = (working_copy.folder / "results/explorers/see/data/explorer.js").read_text()
    assert '"interest_odd_score"' in page
    record = (working_copy.folder / "results/releases/mini/provenance/config.yaml").read_text()
    assert re.search(r"interests:\n\s+odd:", record)
    assert "ratings.csv" in record
    with (working_copy.folder / "ratings.csv").open("a") as file:
        file.write("sim-000001,5,bob\n")
    assert working_copy.dry(config=config) == {**LEARN, "record_run": 1, **LOOK}


def test_before_anybody_has_rated_all_else_is_made(working_copy):
    (working_copy.folder / "ratings.csv").unlink()
    printed = working_copy.finish("-n")
    assert "Nothing to be done" in printed
    told = "interests.odd has no ratings yet, and so nothing is made of it; rate some galaxies"
    assert f"{told}: galaxymill rate odd" in printed
    asked = working_copy.snakemake("-n", "results/interesting/odd/report.html", "-F")
    assert asked.returncode != 0
    assert told in asked.stdout + asked.stderr

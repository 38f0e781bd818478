"""Rounds through the workflow: ask, answer, judge, and ask again; each step looked at first."""

import csv
import json
from contextlib import suppress

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

COLUMNS = (
    "smooth-or-featured_smooth",
    "smooth-or-featured_featured-or-disk",
    "has-spiral-arms_yes",
    "has-spiral-arms_no",
)
TREE = {
    "name": "short",
    "questions": {
        "smooth-or-featured": {"answers": ["smooth", "featured-or-disk"]},
        "has-spiral-arms": {
            "answers": ["yes", "no"],
            "asked_after": ["smooth-or-featured_featured-or-disk"],
        },
    },
}
TASKS = {
    "workflows": [
        {
            "workflow": 77,
            "tasks": {
                "T0": {
                    "question": "smooth-or-featured",
                    "answers": {"Smooth": "smooth", "Featured": "featured-or-disk"},
                },
                "T1": {"question": "has-spiral-arms", "answers": {"Yes": "yes", "No": "no"}},
            },
        }
    ]
}
LEARN = {"collect_answers": 1, "train_model": 1}
ASK = {"take_champion": 1, "predict_partition": 2, "choose_subjects": 1, "write_subjects": 1}
ASK |= {"report_rounds": 1}
VERSION = 12


def export(path, subjects, workflow="77", start=0):
    """Write a classification export, of subjects with their metadata, as Zooniverse does."""
    names = "classification_id,user_name,user_id,user_ip,workflow_id,workflow_name,workflow_version"
    names += ",created_at,gold_standard,expert,metadata,annotations,subject_data,subject_ids"
    rng = np.random.default_rng(start)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names.split(","))
        writer.writeheader()
        for number, metadata in enumerate(subjects):
            featured = rng.beta(0.5, 1)
            for volunteer in range(VERSION):
                answers = [("T0", "Featured" if rng.uniform() < featured else "Smooth")]
                if answers[0][1] == "Featured":
                    answers.append(("T1", rng.choice(["Yes", "No"])))
                key = str(start + number + 1)
                plain = [{"task": task, "value": value} for task, value in answers]
                writer.writerow(
                    {
                        "classification_id": f"{key}{volunteer:03d}",
                        "user_name": f"volunteer {volunteer}",
                        "user_id": str(volunteer + 1),
                        "workflow_id": workflow,
                        "workflow_version": "1.1",
                        "metadata": "{}",
                        "annotations": json.dumps(plain),
                        "subject_data": json.dumps({key: {"retired": {"id": 1}, **metadata}}),
                        "subject_ids": key,
                    }
                )


@pytest.fixture
def config(working_copy, mini_config):
    """The survey, labels by an export of some of its galaxies, and rounds; nothing else."""
    folder = working_copy.folder
    (folder / "short.yaml").write_text(yaml.safe_dump(TREE))
    (folder / "tasks.yaml").write_text(yaml.safe_dump(TASKS))
    with (folder / "catalog.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = [
        {"#iauname": row["object_id"], "ra": row["ra"], "dec": row["dec"]} for row in rows[:25]
    ]
    export(folder / "start.csv", known)
    kept = {key: mini_config[key] for key in ("simulations", "surveys", "models", "network")}
    labels = {
        "votes": ["start.csv"],
        "format": "panoptes",
        "object_id": "iauname",
        "tasks": "tasks.yaml",
        "tree": "short.yaml",
        "images": {"survey": "mini"},
        "splits": {"train": 0.5, "val": 0.1, "test": 0.4},
    }
    rounds = {
        "model": "mini",
        "survey": "mini",
        "budget": 12,
        "random": 0.7,
        "featured": "smooth-or-featured_featured-or-disk",
        "probability": 0.5,
    }
    return {**kept, "labels": {"volunteers": labels}, "rounds": {"weekly": rounds}}


def answer(mill, number, **more):
    """Answer for the subjects of a round, as its manifest has them."""
    manifest = mill.folder / f"results/rounds/weekly/{number:04d}/upload/manifest.csv"
    with manifest.open(newline="") as file:
        subjects = list(csv.DictReader(file))
    for row in subjects:
        image = manifest.parent / row.pop("#image")
        assert image.read_bytes().startswith(b"\xff\xd8\xff")
    export(mill.folder / f"week{number}.csv", subjects, start=1000 * number)
    return subjects


def asked(mill, number):
    path = mill.folder / f"results/rounds/weekly/{number:04d}/subjects.parquet"
    return pq.read_table(path).to_pandas()


def test_rounds_from_labels_to_labels(working_copy, config, change):
    mill = working_copy
    assert mill.dry("rounds", config=config) == {**LEARN, **ASK, "rounds": 1}
    mill.finish("rounds", config=config)
    assert "Nothing to be done" in mill.finish("-n", "rounds", config=config)
    first = asked(mill, 1)
    assert len(first) == 12
    subjects = answer(mill, 1)
    # The key that the labels look for is among those of the manifest, as are the positions.
    assert [row["iauname"] for row in subjects] == first["object_id"].tolist()
    np.testing.assert_array_equal([float(row["#ra"]) for row in subjects], first["ra"])

    # What comes back runs what the table of reruns says: nothing is fetched or drawn.
    config = change(config, "rounds.weekly.exports", ["week1.csv"])
    config |= {"releases": {"dr": {"predictions": "weekly"}}}
    jobs = {**LEARN, **ASK, "judge_round": 1, "rounds": 1}
    assert mill.dry("rounds", config=config) == jobs
    before = (mill.folder / "results/rounds/weekly/0001/subjects.parquet").read_bytes()
    mill.finish("rounds", config=config)
    assert "Nothing to be done" in mill.finish("-n", "rounds", config=config)
    assert (mill.folder / "results/rounds/weekly/0001/subjects.parquet").read_bytes() == before
    assert not set(asked(mill, 2)["object_id"]) & set(first["object_id"])

    votes = pq.read_table(mill.folder / "results/labels/weekly-0001/votes.parquet").to_pandas()
    assert set(first["object_id"]) < set(votes["object_id"])
    ruled = set(first["object_id"][first["stratum"] != "random"])
    assert "test" not in set(votes["split"][votes["object_id"].isin(ruled)])
    verdict = json.loads((mill.folder / "results/rounds/weekly/0001/verdict.json").read_text())
    page = json.loads((mill.folder / "results/rounds/weekly/history/metrics.json").read_text())
    assert [row["came_back"] for row in page["rounds"]] == [12, 0]
    assert (
        page["rounds"][0]["answers"]
        == votes.set_index("object_id").loc[first["object_id"], list(COLUMNS)].to_numpy().sum()
    )

    # A person's word makes another champion; whatever stands on it follows.
    word = {1: {"promote": not verdict["promoted"], "reason": "seen by eye, it is the other way"}}
    config = change(config, "rounds.weekly.overrule", word)
    jobs = {"judge_round": 1, "take_champion": 1, "predict_partition": 2, "report_rounds": 1}
    assert mill.dry("rounds", config=config) == {**jobs, "rounds": 1}
    mill.finish("rounds", config=config)
    text = (mill.folder / "results/rounds/weekly/0001/report.html").read_text()
    assert "seen by eye" in text
    assert mill.dry("release", config=config)["merge_release"] == 1
    mill.finish("release", config=config)
    released = (mill.folder / "results/releases/dr/README.md").read_text()
    assert "weekly" in released
    inputs = json.loads((mill.folder / "results/releases/dr/provenance/inputs.json").read_text())
    assert {"rounds.weekly.exports", "rounds.weekly.subjects"} < {one["key"] for one in inputs}

    # What was uploaded is not chosen anew.
    second = mill.folder / "results/rounds/weekly/0002"
    kept = (second / "subjects.parquet").read_bytes()
    (second / "upload/receipts.csv").write_text("step\n")
    other = change(config, "rounds.weekly.budget", 13)
    refused = mill.snakemake("rounds", config=other)
    assert refused.returncode
    assert "these subjects were uploaded" in refused.stdout + refused.stderr
    assert (second / "subjects.parquet").read_bytes() == kept
    mill.finish("rounds", config=config)
    assert (second / "subjects.parquet").read_bytes() == kept
    assert "Nothing to be done" in mill.finish("-n", "rounds", config=config)

    # What was asked is on record; without it nothing tells who was drawn at random.
    with suppress(FileNotFoundError):
        (mill.folder / "results/rounds/weekly/0001/subjects.parquet").unlink()
    lost = mill.snakemake("-n", "rounds", config=config)
    assert lost.returncode
    assert "what was asked is lost" in lost.stdout + lost.stderr

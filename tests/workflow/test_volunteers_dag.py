"""Volunteers as individuals in the workflow: which jobs there are, and what a new export runs."""

import pytest

FIT = {"fit_volunteers": 1, "report_volunteers": 1}
TABLE = "object_id,volunteer,question,answer,created_at\n"
TREE = """
name: toy
questions: {featured: {answers: ["yes", "no"]}}
"""


def write_answers(mill, names, last="yes"):
    """Twelve answers a galaxy, of thirty volunteers; those of the last can be chosen."""
    with (mill.folder / "answers.csv").open("w") as file:
        file.write(TABLE)
        for row, name in enumerate(names):
            for vote in range(12):
                who, answer = (5 * row + vote) % 30, "yes" if (row + vote) % 3 else "no"
                answer = last if row == vote == 0 else answer
                file.write(f"{name},ann{who},featured,{answer},2026-01-01 00:00:00 UTC\n")


@pytest.fixture
def config(simulated_config, change):
    """The config of the survey, with labels by individuals and a model of effective votes."""
    labels = {"votes": "answers.csv", "format": "answers", "tree": "toy.yaml"}
    plain = change(simulated_config, "labels.crowd", {**labels, "images": {"survey": "mini"}})
    train = {**plain["models"]["mini"]["train"], "counts": "individuals"}
    return change(plain, "models.crowd", {"labels": "crowd", "train": train})


def test_a_new_export_runs_volunteers_labels_and_what_follows(new_mill, config, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(new_mill.folder.parent / "mine"))
    new_mill.folder.mkdir(parents=True)
    (new_mill.folder / "toy.yaml").write_text(TREE)
    names = [f"sim-{number:06d}" for number in range(1, 31)]
    write_answers(new_mill, names)
    new_mill.finish("volunteers", config=config)
    made = new_mill.folder / "results/labels/crowd"
    assert (made / "volunteers/report.html").is_file()
    assert new_mill.dry("volunteers", config=config) == {}
    model = "results/models/crowd/model.yaml"
    before = new_mill.dry(model, config=config)
    assert before["train_model"] == 1
    assert not {"collect_answers", *FIT} & set(before)
    write_answers(new_mill, names, last="no")
    labels = {"collect_answers": 1, **FIT, "volunteers": 1}
    assert new_mill.dry("volunteers", config=config) == labels
    after = new_mill.dry(model, config=config)
    assert after == before | {"collect_answers": 1, "fit_volunteers": 1}
    raised = new_mill.dry("results/labels/volunteers/votes.parquet", config=config)
    assert "collect_answers" not in raised

"""A Zooniverse classification export is counted, whatever is in it."""

import csv
import json
import logging
import random
from contextlib import suppress

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.errors import UserError
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.panoptes import PanoptesSettings
from galaxymill.labels.panoptes_cells import MAX_FIELD_CHARACTERS
from galaxymill.labels.panoptes_tasks import load_tasks, normalised, parse_version
from galaxymill.labels.rows import whole_number
from galaxymill.labels.table import read_votes
from galaxymill.trees.tree import parse_tree

COLUMNS = [
    "classification_id",
    "user_name",
    "user_id",
    "user_ip",
    "workflow_id",
    "workflow_name",
    "workflow_version",
    "created_at",
    "gold_standard",
    "expert",
    "metadata",
    "annotations",
    "subject_data",
    "subject_ids",
]
TREE = {
    "name": "toy",
    "questions": {
        "shape": {"answers": ["smooth", "featured", "star"]},
        "edge": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
    },
}
SHAPES = ("smooth", "featured", "star")
TASKS = {
    "workflows": [
        {
            "workflow": 77,
            "versions": ["16.2", "20.11"],
            "tasks": {
                "T0": {
                    "question": "shape",
                    "answers": {"Smooth": "smooth", "Features or Disk": "featured", 2: "star"},
                },
                "T1": {"question": "edge", "answers": {"Yes": "yes", "No": "no"}},
            },
        },
        {
            "versions": [21, 22],
            "tasks": {"T5": {"question": "shape", "answers": dict(enumerate(SHAPES))}},
        },
    ]
}


def row(number=1, user="7", shape="Smooth", subject=900, **changes):
    plain = {
        "classification_id": str(number),
        "user_name": f"user {user}",
        "user_id": user,
        "user_ip": "0a1b",
        "workflow_id": "77",
        "workflow_version": "16.10",
        "metadata": "{}",
        "annotations": json.dumps([{"task": "T0", "task_label": "Shape?", "value": shape}]),
        "subject_data": json.dumps({str(subject): {"retired": {"id": 1}, "#name": f"J{subject}"}}),
        "subject_ids": str(subject),
    }
    return {**plain, **changes}


def answered(*annotations):
    return json.dumps([{"task": task, "value": value} for task, value in annotations])


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return path


@pytest.fixture
def export(tmp_path):
    def write(*rows, name="export"):
        path = tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def count(tree, tmp_path):
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(yaml.safe_dump(TASKS))

    def run(*sources, **options):
        out = tmp_path / "votes" / "votes.parquet"
        own = PanoptesSettings(**{"tasks": tasks, "object_id": "name", **options})
        collect_labels(sources, tree, out, LabelSettings("panoptes", own))
        votes = read_votes(out)
        return {
            key: counts.astype(int).tolist()
            for key, counts in zip(votes.object_ids, votes.values, strict=True)
        }

    return run


@pytest.mark.parametrize("already_seen", [False, True])
def test_a_large_export_against_an_independent_count(export, count, already_seen):
    generator = random.Random(5)
    rows, expected, seen = [], {}, set()
    for number in range(3000):
        subject, user = generator.randrange(900, 940), generator.randrange(40)
        version = generator.choice(["12.3", "16.2", "16.10", "20.11", "21.1", "23.0"])
        shape, edge = generator.randrange(3), generator.randrange(2)
        repeat = generator.random() < 0.1
        old = version.startswith("21")
        labels = ["![s.png](https://x.org/s.png) Smooth", "features  or disk", 2]
        answers = [("T5", shape)] if old else [("T0", labels[shape])]
        if shape == 1 and not old:
            answers.append(("T1", ["Yes", "No"][edge]))
        anonymous = {"user_name": f"not-logged-in-{user:04x}", "user_id": ""}
        changes = anonymous if user < 15 else {"user_id": str(user)}
        changes["metadata"] = json.dumps({"subject_selection_state": {"already_seen": repeat}})
        changes |= {"workflow_version": version, "annotations": answered(*answers)}
        if subject % 4 == 0:
            changes["subject_data"] = json.dumps({str(subject): {"retired": None, "name": "x"}})
        rows.append(row(number, subject=subject, **changes))
        fits = version not in ("12.3", "23.0") and (already_seen or not repeat)
        if fits and subject % 4 and (subject, user) not in seen:
            seen.add((subject, user))
            counts = expected.setdefault(f"J{subject}", [0] * 5)
            counts[shape] += 1
            if shape == 1 and not old:
                counts[3 + edge] += 1
    assert len(expected) == 30
    assert count(export(*rows), already_seen=already_seen) == expected


def test_one_vote_a_volunteer(export, count):
    rows = [
        row(1, "7", "Smooth"),
        row(2, "7", "Features or Disk", user_name="a new name"),
        row(3, "", "Smooth", user_name="not-logged-in-abc"),
        row(4, "", 2, user_name="not-logged-in-abc"),
        row(5, "", "Smooth", user_name="not-logged-in-def"),
        row(6, "", "Smooth", user_name="", user_ip="ff"),
        row(7, "", 2, user_name="", user_ip="ff"),
        row(8, "", "Smooth", user_name="", user_ip=""),
        row(9, "", "Smooth", user_name="", user_ip=""),
        row(10, "7", "Smooth", subject=901),
    ]
    assert count(export(*rows)) == {"J900": [6, 0, 0, 0, 0], "J901": [1, 0, 0, 0, 0]}


def test_exports_that_overlap_count_once(export, count):
    early = [row(n, str(n), retired) for n, retired in enumerate(["Smooth", 2, 2])]
    for plain in early:
        plain["subject_data"] = json.dumps({"900": {"retired": None, "name": "J900"}})
    late = [row(n, str(n), "Smooth") for n in range(5)]
    one, other = export(*early, name="early"), export(*late, name="late")
    # The later export says that the galaxy is retired: the earlier one's votes count, too.
    assert count(one, other) == {"J900": [3, 0, 2, 0, 0]}
    with pytest.raises(UserError, match="no classification counts: no galaxy is retired"):
        count(one)
    assert count(one, retired=False) == {"J900": [1, 0, 2, 0, 0]}


def test_galaxies_that_are_not_retired_are_told(export, count, tmp_path):
    waiting = row(2, "8", subject=901)
    waiting["subject_data"] = json.dumps({"901": {"retired": None, "name": "J901"}})
    assert count(export(row(), waiting)) == {"J900": [1, 0, 0, 0, 0]}
    report = (tmp_path / "votes" / "dropped.csv").read_text().splitlines()
    assert report[1:] == ["J901,,1,,,not retired"]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (answered(("T0", "SMOOTH ")), [1, 0, 0, 0, 0]),
        (answered(("T0", 2)), [0, 0, 1, 0, 0]),
        (answered(("T9", [{"task": "T0", "value": "Smooth"}])), [1, 0, 0, 0, 0]),
        (
            answered(
                ("T9", [{"task": "T8", "value": [{"task": "T1", "value": "No"}]}]),
                ("T0", "Features or Disk"),
            ),
            [0, 1, 0, 0, 1],
        ),
        (answered(("T0", ["Smooth", 2, "Smooth"])), [1, 0, 1, 0, 0]),
        (answered(("T0", "Smooth"), ("T0", 2)), [1, 0, 0, 0, 0]),
        (answered(("T0", "Smooth"), ("T1", None)), [1, 0, 0, 0, 0]),
        (answered(("T0", "Smooth"), ("T77", {"x": 1})), [1, 0, 0, 0, 0]),
    ],
    ids=["label", "index", "combined", "nested", "several", "again", "skipped", "other task"],
)
def test_forms_of_annotations(export, count, annotations, expected):
    assert count(export(row(annotations=annotations))) == {"J900": expected}


BAD = {
    "no JSON": ({"annotations": "[{"}, "without readable annotations"),
    "deep": ({"annotations": "[" * 100_000}, "without readable annotations"),
    "long": ({"annotations": " " * MAX_FIELD_CHARACTERS + "[]"}, "without readable annotations"),
    "a number": ({"annotations": "7"}, "without an answer to a question"),
    "unknown label": ({"annotations": answered(("T0", "Blue"))}, "without an answer"),
    "true": ({"annotations": answered(("T0", True))}, "without an answer"),
    "other workflow": ({"workflow_id": "78"}, "of another workflow or version"),
    "version": ({"workflow_version": "new"}, "without a version"),
    "two subjects": ({"subject_ids": "1;2"}, "not of one subject"),
    "subject data": ({"subject_data": "{", "subject_ids": "901"}, "without readable subject data"),
    "nameless": ({"subject_data": '{"9": {}}', "subject_ids": "9"}, "of a subject without name"),
    "seen": ({"metadata": '{"seen_before": true}'}, "flagged as already seen"),
}


@pytest.mark.parametrize(("changes", "reason"), BAD.values(), ids=BAD)
def test_what_does_not_count_is_told(export, count, caplog, changes, reason):
    caplog.set_level(logging.INFO, "galaxymill")
    assert count(export(row(1, "1"), row(2, "2", **changes))) == {"J900": [1, 0, 0, 0, 0]}
    assert f"1 classifications count; left out: 1 {reason}" in caplog.text
    with pytest.raises(UserError, match=f"no classification counts: 1 {reason}"):
        count(export(row(2, "2", **changes)))


def test_unknown_answers_are_named(export, count, caplog):
    count(export(row(1, "1"), row(2, "2", "Blue")))
    assert "answers that the file of tasks does not have: T0: 'Blue' (1)" in caplog.text


def test_positions_of_the_metadata(export, count, tmp_path):
    here = {"900": {"retired": {}, "!name": "J1", "#ra": "10.5", "//dec": -3}}
    rows = [row(1, "1", subject_data=json.dumps(here).replace("{}", '{"id": 1}'))]
    count(export(*rows, row(2, "2", subject=901)))
    votes = read_votes(tmp_path / "votes" / "votes.parquet")
    np.testing.assert_array_equal(votes.positions, [[10.5, -3], [np.nan, np.nan]])


def test_the_subject_number_is_the_default(export, count):
    assert count(export(row()), object_id="subject_id") == {"900": [1, 0, 0, 0, 0]}


def test_another_table_is_refused(count, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("object_id,a\nx,1\n")
    with pytest.raises(UserError, match=r"no column classification_id.*is it the classification"):
        count(path)


def test_a_row_without_end_is_refused(export, count, monkeypatch):
    monkeypatch.setattr("galaxymill.table_kinds._BLOCK_BYTES", 20_000)
    with pytest.raises(UserError, match=r"export\.csv: cannot be read"):
        count(export(row(1, "1"), row(2, "2", annotations="x" * 60_000)))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("question", "colour", "tasks.T0: tree toy: no question 'colour'"),
        ("answers", {"Smooth": "round"}, "shape has no answer 'round'; allowed: smooth, featured"),
        ("answers", {True: "smooth"}, "put it in quotes"),
        ("answers", {"Smooth": False}, "put it in quotes"),
        ("answers", {}, "at least 1 item"),
        ("answer", {}, "answer: unknown key"),
    ],
)
def test_a_bad_file_of_tasks_is_refused(tmp_path, place, value, message):
    task = {**TASKS["workflows"][0]["tasks"]["T0"], place: value}
    path = tmp_path / "tasks.yaml"
    path.write_text(yaml.safe_dump({"workflows": [{"tasks": {"T0": task}}]}))
    with pytest.raises(UserError, match=message) as refusal:
        load_tasks(path, parse_tree(TREE, "toy"))
    assert str(refusal.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("versions", "message"), [([16.1, 20], "put it in quotes"), (["a", "b"], "is no version")]
)
def test_bad_versions_are_refused(tmp_path, versions, message):
    workflow = {**TASKS["workflows"][0], "versions": versions}
    path = tmp_path / "tasks.yaml"
    path.write_text(yaml.safe_dump({"workflows": [workflow]}))
    with pytest.raises(UserError, match=message):
        load_tasks(path, parse_tree(TREE, "toy"))


def test_versions_are_no_decimals():
    assert parse_version("16.10") > parse_version("16.2")
    assert parse_version("16") == (16, 0)


@given(st.text(alphabet="abc XYZ", max_size=20), st.sampled_from(["", "s-1.png"]))
def test_labels_are_compared_without_their_images(text, name):
    dressed = f"![{name}](https://x.org/a/{name}) **{text.upper()}**\n"
    assert normalised(dressed) == " ".join(text.lower().split())


SAVED = {
    "pandas": {"user_id": "7.0", "classification_id": "1.0", "workflow_id": "77.0"},
    "subjects": {"subject_ids": "900.0", "user_id": "7.0"},
    "another version": {"workflow_version": "16.1000", "user_id": "7.000"},
    "scientific": {"user_id": "7.00E+00", "classification_id": "1.000000e+00"},
    "rounded": {"user_id": "1E+05"},
    "all rounded": {"user_id": "7E+00", "classification_id": "1E+01", "subject_ids": "9E+02"},
    "blank": {"user_id": "", "classification_id": ""},
    "nothing": {"user_id": "NaN", "classification_id": "1.0"},
    "none": {"user_id": "None", "classification_id": "<NA>"},
    "quotes": {"user_id": '="7"', "classification_id": "'1"},
    "blanks": {"user_id": " 7\xa0", "classification_id": "\t1 ", "user_name": "user 7 "},
    "thousands": {"user_id": "7.00", "classification_id": "1"},
    "another name": {"user_id": "7.0", "user_name": "renamed", "classification_id": ""},
}


@pytest.mark.parametrize("changes", SAVED.values(), ids=SAVED)
@pytest.mark.parametrize("turned", [False, True])
def test_one_classification_counts_once_whatever_saved_it(export, count, changes, turned):
    """Two other volunteers of the same galaxy count all the same."""
    first = export(row(1, "7"), row(2, "8", 2), name="first")
    saved = export(row(1, "7", **changes), row(3, "9", 2), name="saved")
    files = [saved, first] if turned else [first, saved]
    assert count(*files) == {"J900": [1, 0, 2, 0, 0]}


def test_volunteers_whose_numbers_are_rounded_are_told_apart_by_name(export, count):
    rows = [row(n, "1.2E+05", user_name=name) for n, name in enumerate(["ann", "bob", "ann"])]
    assert count(export(*rows)) == {"J900": [2, 0, 0, 0, 0]}


def test_classifications_whose_numbers_are_rounded_are_not_one(export, count):
    rows = [row(user=str(n), classification_id="5.2346E+08") for n in range(3)]
    assert count(export(*rows)) == {"J900": [3, 0, 0, 0, 0]}


def test_an_export_that_another_program_saved_is_told(export, count, caplog):
    count(export(row(user="7.0")))
    assert "another program has saved this export (user_id is '7.0')" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_ends_of_lines_and_a_mark(export, count, encoding, end):
    path = export(row(1, "1"), row(2, "2"))
    path.write_bytes(path.read_text().replace("\n", end).encode(encoding))
    assert count(path) == {"J900": [2, 0, 0, 0, 0]}


@pytest.mark.parametrize("turned", [False, True])
def test_the_report_of_doubled_votes(shared_data, tmp_path, turned):
    folder = shared_data / "reports" / "08-panoptes-votes-doubled"
    if not folder.is_dir():
        pytest.skip("no reports beside the checkout")
    files = [folder / "saved_by_pandas.csv", folder / "export.csv"]
    own = PanoptesSettings(tasks=folder / "tasks.yaml", object_id="iauname")
    out = tmp_path / "votes.parquet"
    sources = files[::-1] if turned else files
    collect_labels(sources, folder / "tree.yaml", out, LabelSettings("panoptes", own))
    with files[1].open(newline="") as file:
        subjects = {line["subject_ids"] for line in csv.DictReader(file)}
    votes = read_votes(out)
    assert votes.object_ids == sorted(f"J{subject}" for subject in subjects)
    assert votes.values[:, :3].sum() == 21


@given(st.integers(0, 10**15), st.sampled_from(["{}", "{}.0", "{}.", " {} ", '="{}"', "{}.000e0"]))
def test_whole_numbers_are_spelled_plainly(number, form):
    assert whole_number(form.format(number)) == str(number)
    assert whole_number(repr(float(number))) == str(number)
    assert whole_number(f"{number:,}") == str(number)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1E+05", ""),
        ("5.2346e8", ""),
        ("1.5e1", "15"),
        ("nan", ""),
        ("<NA>", ""),
        ("10.5", "10.5"),
        ("ann", "ann"),
        ("1e", "1e"),
        ("٣", "٣"),
        ("9" * 10_000, "9" * 10_000),
        ("1_000", "1_000"),
    ],
)
def test_what_is_no_whole_number_stays(text, plain):
    assert whole_number(text) == plain


def refusal(count, *sources, **options):
    with pytest.raises(UserError) as refused:
        count(*sources, **options)
    return str(refused.value)


def test_an_empty_export_says_so(export, count, caplog):
    assert "there is none, only the header" in refusal(count, export())
    assert count(export(row()), export(name="empty")) == {"J900": [1, 0, 0, 0, 0]}
    assert "empty.csv: there is no classification, only the header" in caplog.text


def test_what_there_is_instead_is_named(export, count):
    workflows = [row(n, str(n), workflow_id="78", workflow_version="3.1") for n in range(3)]
    told = refusal(count, export(*workflows))
    assert "3 of another workflow or version; workflows and versions that" in told
    assert "78 version 3.1 (3)" in told
    told = refusal(count, export(row()), object_id="iauname")
    assert "1 of a subject without iauname; keys of their metadata: retired (1), #name (1)" in told
    told = refusal(count, export(row(annotations=answered(("T5", "Round"), ("T6", 1)))))
    assert "tasks that the file of tasks does not have: T5 (1), T6 (1)" in told
    told = refusal(count, export(row(shape="Round")))
    assert "answers that the file of tasks does not have: T0: 'Round' (1)" in told


@pytest.mark.parametrize("metadata", [{"# name": "x"}, {"//name ": "x"}, {" !name": "x"}])
def test_hidden_keys_are_found(export, count, metadata):
    data = json.dumps({"900": {"retired": {"id": 1}, **metadata}})
    assert count(export(row(subject_data=data))) == {"x": [1, 0, 0, 0, 0]}


def test_a_key_without_quotes_is_explained(export, count, tmp_path):
    """Spiral arms: the label '1' is the answer of index 0."""
    tasks = tmp_path / "arms.yaml"
    task = {"question": "shape", "answers": {1: "smooth", "2": "featured"}}
    tasks.write_text(yaml.safe_dump({"workflows": [{"tasks": {"T0": task}}]}))
    told = refusal(count, export(row(shape="1")), tasks=tasks)
    assert "T0: '1', the label: 1 without quotes is an index, write '1' (1)" in told
    told = refusal(count, export(row(shape=2)), tasks=tasks)
    assert "T0: '2', the index: '2' in quotes is a label, write 2 (1)" in told


def test_most_galaxies_not_retired_is_an_error(export, count):
    waiting = [row(n, str(n), subject=n) for n in range(901, 904)]
    for plain in waiting:
        plain["subject_data"] = plain["subject_data"].replace('{"id": 1}', "null")
    told = refusal(count, export(row(), *waiting))
    assert "3 of 4 votes are left out, 3 of them for: not retired; retired: false keeps" in told
    assert len(count(export(row(), *waiting), retired=False)) == 4


def test_most_classifications_unreadable_is_an_error(export, count):
    broken = [row(n, str(n), annotations="[{") for n in range(2, 5)]
    told = refusal(count, export(row(1, "1"), *broken))
    assert "3 of 4 votes are left out, 3 of them for: classification without readable annot" in told
    elsewhere = [row(n, str(n), workflow_id="78") for n in range(2, 5)]
    assert count(export(row(1, "1"), *elsewhere)) == {"J900": [1, 0, 0, 0, 0]}


def test_half_a_character_is_spelled(export, count):
    data = '{"900": {"retired": {"id": 1}, "name": "\\ud800x", "\\ud800": 1}}'
    assert list(count(export(row(subject_data=data)))) == [r"\ud800x"]


def test_a_decimal_as_identifier_is_not_lost(export, count):
    data = json.dumps({"900": {"retired": {"id": 1}, "name": 1.2376487206937587e18}})
    # The check of identifiers may refuse it, by name.
    with suppress(UserError):
        assert list(count(export(row(subject_data=data)))) == ["1.2376487206937587e+18"]

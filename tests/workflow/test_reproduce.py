"""A release is made again from itself, and says where it differs."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="module")
def given(finished, tmp_path_factory):
    """The release alone, as somebody downloads it, and the user's files."""
    folder = tmp_path_factory.mktemp("given")
    shutil.copytree(finished.folder / "results" / "releases" / "mini", folder / "release")
    entries = json.loads((folder / "release" / "provenance" / "inputs.json").read_text())
    assert {entry["key"] for entry in entries} == {
        "surveys.mini.catalog.path",
        "labels.volunteers.votes",
    }
    (folder / "inputs").mkdir()
    for entry in entries:
        name = entry["name"].removeprefix("inputs/")
        shutil.copy(finished.folder / name, folder / "inputs" / name)
    return folder


def reproduce(mill, given, release="release", inputs="inputs"):
    return mill.galaxymill(
        *["reproduce", given / release, "--work", given / "work"],
        *["--inputs", given / inputs, "--cores", 2],
    )


def test_a_release_is_reproduced_bit_by_bit(finished, given):
    done = reproduce(finished, given)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    columns = sum(
        len(pq.read_schema(given / "release" / f"{table}.parquet").names)
        for table in ("friendly", "advanced")
    )
    assert done.stdout.strip().startswith(f"identical: {columns} columns of ")


def test_a_release_that_somebody_changed_is_told_by_its_columns(finished, given):
    shutil.copytree(given / "release", given / "changed")
    path = given / "changed" / "advanced.parquet"
    table = pq.read_table(path)
    name = "bar-dr5_strong_fraction"
    values = table[name].to_pylist()
    row = next(place for place, value in enumerate(values) if value is not None)
    values[row] += 0.25
    place = table.schema.get_field_index(name)
    changed = pa.array(values, pa.float32())
    pq.write_table(table.set_column(place, table.schema.field(name), changed), path)
    done = reproduce(finished, given, release="changed")
    assert done.returncode == 1, done.stdout + done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name, "advanced", "1", "0.25"] in [line[:4] for line in lines]
    assert len([line for line in lines if line[1:2] == ["advanced"]]) == 1


def test_other_votes_are_refused_by_name(finished, given):
    shutil.copytree(given / "inputs", given / "other")
    path = given / "other" / "votes.parquet"
    votes = pq.read_table(path)
    column = "smooth-or-featured-dr5_smooth"
    counts = [votes[column][0].as_py() + 1, *votes[column].to_pylist()[1:]]
    place = votes.column_names.index(column)
    pq.write_table(votes.set_column(place, column, pa.array(counts, votes[column].type)), path)
    done = reproduce(finished, given, inputs="other")
    assert done.returncode == 2
    assert "votes.parquet: not the file that the release was made from" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_inputs_a_release_says_what_is_needed(finished, given):
    empty = given / "empty"
    empty.mkdir()
    done = reproduce(finished, given, inputs="empty")
    assert done.returncode == 2
    assert "catalog.csv" in done.stderr
    assert "--inputs FOLDER" in done.stderr


def test_a_name_that_leaves_its_folder_is_refused(finished, given):
    shutil.copytree(given / "release", given / "astray")
    path = given / "astray" / "provenance" / "release.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "../../x"}))
    done = reproduce(finished, given, release="astray")
    assert done.returncode == 2
    assert "name '../../x' is not that of a release" in done.stderr


@pytest.mark.parametrize("text", ["{", "3", '[{"key": 1}]', "[2]"])
def test_a_list_of_inputs_that_is_none_is_refused(finished, given, tmp_path, text):
    shutil.copytree(given / "release", tmp_path / "release")
    (tmp_path / "release" / "provenance" / "inputs.json").write_text(text)
    done = reproduce(finished, given, release=tmp_path / "release")
    assert done.returncode == 2
    assert "inputs.json: not a list of inputs" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_in_a_release_tells_the_machine(finished):
    release = finished.folder / "results" / "releases" / "mini"
    for path in release.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(finished.folder).encode() not in content, path
            assert str(finished.root).encode() not in content, path

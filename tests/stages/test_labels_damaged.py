"""Whatever is in a file of labels, what comes out is labels or a message that names the file."""

import csv
import gzip
import io
import json
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from galaxymill.errors import UserError
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.formats import FORMATS

TREE = {
    "name": "toy",
    "questions": {"shape": {"answers": ["smooth", "featured"]}},
}
GZ2 = {
    "name": "toy",
    "questions": {"disk-edge-on-gz2": {"answers": ["yes", "no"]}},
}
EXPORT = {
    "classification_id": "1",
    "user_name": "ann",
    "user_id": "7",
    "workflow_id": "77",
    "workflow_version": "16.10",
    "metadata": "{}",
    "annotations": json.dumps([{"task": "T0", "value": "Smooth"}]),
    "subject_data": json.dumps({"900": {"retired": {"id": 1}, "name": "J900"}}),
    "subject_ids": "900",
}
GOOD = {
    "counts": {"object_id": "J1", "shape_smooth": "3", "shape_featured": "4"},
    "fractions": {
        "object_id": "J1",
        "shape_smooth_fraction": "0.4",
        "shape_featured_fraction": "0.6",
        "shape_total-votes": "10",
    },
    "gz2": {"objid": "J1", "t02_edge_a04_yes_count": "1", "t02_edge_a05_no_count": "2"},
    "gz_decals": {"iauname": "J1", "shape_smooth": "3", "shape_featured": "4"},
    "panoptes": EXPORT,
    "classes": {"object_id": "J1", "kind": "arm"},
    "number": {"object_id": "J1", "kind": "0.5"},
    "answers": {"object_id": "J1", "volunteer": "ann", "answer": "smooth"},
    "class_answers": {"object_id": "J1", "volunteer": "ann", "answer": "arm"},
}


def table(plain, *others, delimiter=","):
    file = io.StringIO()
    writer = csv.DictWriter(file, plain, delimiter=delimiter)
    writer.writeheader()
    writer.writerows([plain, *others])
    return file.getvalue().encode()


JUNK = np.random.default_rng(1).bytes(5000)
DAMAGES = {
    "nothing": lambda good: b"",
    "header only": lambda good: table(good).splitlines(keepends=True)[0],
    "junk": lambda good: JUNK,
    "zeros": lambda good: bytes(2000),
    "semicolons": lambda good: table(good, delimiter=";"),
    "tabs": lambda good: table(good, delimiter="\t"),
    "utf-16": lambda good: table(good).decode().encode("utf-16"),
    "one line": lambda good: b"x" * 10_000_000,
    "a long cell": lambda good: table({**good, list(good)[-1]: "9" * 10_000_000}),
    "ragged": lambda good: table(good) + b"a,b\n",
    "a page": lambda good: b"<!DOCTYPE html><html><body>Not found</body></html>\n" * 50,
    "unknown columns": lambda good: b"a,b\n1,2\n",
    "a quote that never ends": lambda good: table(good) + b'"J2,' + b"1,2\n" * 5000,
    "text": lambda good: table({**good, list(good)[-1]: "many"}),
    "minus": lambda good: table({**good, list(good)[-1]: "-5"}),
    "infinite": lambda good: table({**good, list(good)[-1]: "inf"}),
    "blank": lambda good: table(dict.fromkeys(good, "")),
    "a row twice": lambda good: table(good, good),
}


@pytest.fixture
def collect(tmp_path):
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(TREE))
    (tmp_path / "gz2.yaml").write_text(yaml.safe_dump(GZ2))
    task = {"question": "shape", "answers": {"Smooth": "smooth", "Featured": "featured"}}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"workflows": [{"tasks": {"T0": task}}]}))

    def run(kind, *sources):
        own = {"classes": {"column": "kind"}, "number": {"column": "kind"}}.get(kind, {})
        if kind == "panoptes":
            own = {"tasks": tmp_path / "tasks.yaml", "object_id": "name"}
        tree = None if kind in ("classes", "number") else tmp_path / "tree.yaml"
        settings = FORMATS[kind].settings(**own)
        out = tmp_path / "out" / "votes.parquet"
        tree = tmp_path / "gz2.yaml" if kind == "gz2" else tree
        collect_labels(sources, tree, out, LabelSettings(kind, settings))
        return pq.read_table(out)

    return run


AS_THEY_ARE = {
    "counts": [3, 4],
    "fractions": [4, 6],
    "gz2": [1, 2],
    "gz_decals": [3, 4],
    "panoptes": [1, 0],
    "number": [0.5],
    "answers": [1, 0],
}
FINE = {
    **{
        (kind, damage): labels
        for kind, labels in AS_THEY_ARE.items()
        for damage in ("semicolons", "tabs", "utf-16")
    },
    ("panoptes", "a row twice"): [1, 0],
    ("answers", "a row twice"): [1, 0],
    ("gz_decals", "a row twice"): [6, 8],
    ("number", "minus"): [-5],
    ("classes", "ragged"): [1, 0],
}
"""What is no damage: the labels of the first galaxy."""


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tables_end_in_a_message(collect, tmp_path, kind, damage):
    path = tmp_path / "labels.csv"
    path.write_bytes(DAMAGES[damage](GOOD[kind]))
    if (kind, damage) in FINE:
        first = collect(kind, path).to_pylist()[0]
        labels = [value for name, value in first.items() if name not in ("object_id", "split")]
        assert labels == FINE[kind, damage]
        return
    with pytest.raises(UserError) as refusal:
        collect(kind, path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_and_a_damaged_gzip_end_in_a_message(collect, tmp_path, kind):
    (tmp_path / "folder.csv").mkdir()
    packed = gzip.compress(table(GOOD[kind]), mtime=0)
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "none.csv.gz").write_bytes(table(GOOD[kind]))
    for name in ("folder.csv", "cut.csv.gz", "none.csv.gz"):
        with pytest.raises(UserError, match=name):
            collect(kind, tmp_path / name)


ODD = {
    "lists": pa.array([[1], [2]]),
    "bytes": pa.array([b"\xff\xfe", b"x"]),
    "times": pa.array([0, 1], pa.timestamp("us")),
    "nothing": pa.nulls(2),
    "structs": pa.array([{"a": 1}, {"a": 2}]),
    "beyond int32": pa.array([3_000_000_000, 1]),
    "beyond int64": pa.array([2**64 - 1, 2**63], pa.uint64()),
}


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "panoptes"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_types_are_labels_or_a_message(collect, tmp_path, kind, odd):
    path = tmp_path / "labels.parquet"
    good = {name: [value, value] for name, value in GOOD[kind].items()}
    good[next(iter(good))] = ["J1", "J2"]
    if kind not in ("classes", "answers", "class_answers"):
        good |= {name: [float(x) for x in cells] for name, cells in list(good.items())[1:]}
    for name in good:
        pq.write_table(pa.table({**good, name: ODD[odd]}), path)
        with suppress(UserError):
            assert collect(kind, path).num_rows in (1, 2)


def test_sums_beyond_int32_are_refused(collect, tmp_path):
    paths = [tmp_path / "one.csv", tmp_path / "other.csv"]
    for number, path in enumerate(paths):
        path.write_text(f"object_id,shape_smooth,shape_featured\nJ1,2000000000,{number}\n")
    with pytest.raises(UserError, match="J1 has 4000000000 votes on shape_smooth in all files"):
        collect("counts", *paths)


def test_a_copy_of_a_table_does_not_count_twice(collect, tmp_path):
    """Another program has saved it: other bytes, other order, the same votes."""
    one, copy, other = (tmp_path / f"{name}.csv" for name in ("one", "copy", "other"))
    one.write_text("object_id,shape_smooth,shape_featured\nJ1,30,40\nJ2,20,11\n")
    copy.write_text("shape_smooth,shape_featured,object_id\n20.0,11.0,J2\n30.0,40.0,J1\n")
    other.write_text("object_id,shape_smooth,shape_featured\nJ1,30,40\nJ2,20,12\n")
    with pytest.raises(UserError, match=r"copy.csv: has the same votes .* as .*one.csv; they"):
        collect("counts", one, copy)
    assert collect("counts", one, other)["shape_featured"].to_pylist() == [80, 23]


BAD_YAML = {
    "empty": ("", "is empty or has no keys"),
    "a list": ("- 1", "is empty or has no keys"),
    "a date": ("a: 2001-99-99", "not valid YAML"),
    "an object": ("x: !!python/object:os.system {}", "not valid YAML"),
    "a number as task": (
        "workflows: [{tasks: {0: {question: shape, answers: {a: smooth}}}}]",
        "put it in quotes",
    ),
    "another number as answer": (
        "workflows: [{tasks: {T0: {question: shape, answers: {a: 1}}}}]",
        "put it in quotes",
    ),
    "a bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
            for before, after in pairwise("abcdefghijkl")
        )
        + "workflows: *l",
        "workflows",
    ),
}


@pytest.mark.parametrize(("text", "told"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_damaged_file_of_tasks_ends_in_a_message(collect, tmp_path, text, told):
    (tmp_path / "labels.csv").write_bytes(table(EXPORT))
    (tmp_path / "tasks.yaml").write_text(text)
    with pytest.raises(UserError, match=told) as refusal:
        collect("panoptes", tmp_path / "labels.csv")
    assert str(refusal.value).startswith(f"{tmp_path / 'tasks.yaml'}: ")
    assert len(str(refusal.value)) < 5000


@pytest.mark.parametrize(
    "questions", ["{shape: {answers: [1, 2]}}", "{shape: {answers: [yes, no]}}", "{1: {}}"]
)
def test_a_tree_says_what_yaml_reads_otherwise(collect, tmp_path, questions):
    (tmp_path / "tree.yaml").write_text(f"name: toy\nquestions: {questions}")
    with pytest.raises(UserError, match=r"tree.yaml: questions.*put it in quotes"):
        collect("counts", tmp_path / "tree.yaml")

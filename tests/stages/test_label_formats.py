"""Formats of labels: published layouts, fractions, classes and numbers, joined sets."""

import csv
import logging
import re
import textwrap

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow.csv import read_csv

from galaxymill.errors import UserError
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.counts import GZ2_TASKS
from galaxymill.labels.formats import FORMATS
from galaxymill.labels.panoptes_tasks import load_tasks
from galaxymill.labels.settings import Labels
from galaxymill.labels.table import read_joint_votes, read_votes
from galaxymill.splits import SPLITS
from galaxymill.trees.tree import load_tree


@pytest.fixture
def collect(tmp_path):
    def run(kind, *sources, tree=None, out="votes", **options):
        path = tmp_path / out / "votes.parquet"
        own = FORMATS[kind].settings(**options)
        collect_labels(sources, tree, path, LabelSettings(kind, own))
        return read_votes(path)

    return run


@pytest.fixture
def dropped(tmp_path):
    def rows():
        with (tmp_path / "votes" / "dropped.csv").open() as file:
            return [
                (row["object_id"], row["question"], row["reason"]) for row in csv.DictReader(file)
            ]

    return rows


@pytest.fixture
def write_tree(tmp_path):
    def write(name, **questions):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, "questions": questions}))
        return path

    return write


SHAPE = {"answers": ["smooth", "featured"]}
BAR = {"answers": ["yes", "no"], "asked_after": ["shape_featured"]}


def test_the_published_gz2_table(shared_data, trees, collect, dropped):
    """Its answers lead to its questions by our tree, and nearly every vote is where it says."""
    source = shared_data / "gz2_stripe82_votes" / "table5.csv.gz"
    votes = collect("gz2", source, tree=trees / "gz2.yaml")
    raw = read_csv(source)
    assert len(votes.object_ids) == raw.num_rows == 19_761
    assert votes.positions.shape == (19_761, 2)
    tree = votes.task.tree
    for question in tree.questions:
        cast = votes.values[:, question.slice].sum(axis=1)
        if not question.asked_after:
            total = {str(row["objid"]): row["total_classifications"] for row in raw.to_pylist()}
            assert cast.tolist() == [total[key] for key in votes.object_ids]
            continue
        led = votes.values[:, list(tree.parents(question))].sum(axis=1)
        # Each vote on an answer leads to the question; very few volunteers left between.
        assert abs(cast.sum() / led.sum() - 1) < 1e-3
        assert np.mean(np.abs(cast - led) <= 2) > 0.99
    assert dropped() == []


def test_gz2_numbers_are_those_of_the_tree(trees):
    tree = load_tree(trees / "gz2.yaml")
    assert {q.name: set(q.answers) for q in tree.questions} == {
        name: set(answers) for name, (_, answers) in GZ2_TASKS.items()
    }
    numbers = [number for _, answers in GZ2_TASKS.values() for number in answers.values()]
    # a19 to a24 and a38 are kinds of odd features (t08); a35 was never given.
    assert sorted(numbers) == [n for n in range(1, 38) if n not in {19, 20, 21, 22, 23, 24, 35}]


def test_gz2_refuses_what_it_did_not_ask(collect, write_tree, write_table, trees):
    source = write_table({"objid": ["1"], "t01_x_a01_smooth_count": [1]}, name="gz2")
    with pytest.raises(UserError, match=r"shape is no question of the published GZ2 table"):
        collect("gz2", source, tree=write_tree("mine", shape=SHAPE))
    with pytest.raises(UserError, match=r"no column t01_…_a02_…_count for smooth-or-featured-gz2"):
        collect("gz2", source, tree=trees / "gz2.yaml")


def test_the_published_decals_table(shared_data, trees, collect):
    """A table of one question; a galaxy shown as two subjects has the votes of both."""
    (source,) = (shared_data / "gz_decals_q1_votes").glob("*.csv")
    votes = collect("gz_decals", source, tree=trees / "decals_dr5.yaml")
    raw = read_csv(source)
    assert votes.object_ids == sorted(set(raw["iauname"].to_pylist()))
    assert len(votes.object_ids) < raw.num_rows
    first = votes.task.tree.question("smooth-or-featured-dr5")
    total = sum(raw["smooth-or-featured_total-votes"].to_pylist())
    assert votes.values[:, first.slice].sum() == votes.values.sum() == total
    row = votes.rows()["J125412.58+004809.1"]
    assert votes.values[row, first.slice].tolist() == [29, 7, 4]
    np.testing.assert_allclose(votes.positions[row], [193.5524141162513, 0.8025422177489742])


def test_a_question_in_part_is_refused(collect, write_table, trees):
    source = write_table({"iauname": ["J1"], "bar_strong": [1], "bar_weak": [2]}, name="part")
    with pytest.raises(UserError, match="no column bar_no;"):
        collect("gz_decals", source, tree=trees / "decals_dr5.yaml")
    other = write_table({"iauname": ["J1"], "ring": [1]}, name="none")
    with pytest.raises(UserError, match="no column of tree decals_dr5, such as smooth-or-feat"):
        collect("gz_decals", other, tree=trees / "decals_dr5.yaml")


def test_other_names_of_columns(collect, write_table, write_tree):
    columns = {"id": ["a"], "n_smooth": [3], "n_feat": [4]}
    names = {"shape_smooth": "n_smooth", "shape_featured": "n_feat"}
    tree = write_tree("toy", shape=SHAPE)
    source = write_table(columns, name="other")
    votes = collect("counts", source, tree=tree, object_id="id", columns=names)
    assert votes.values.tolist() == [[3, 4]]
    with pytest.raises(UserError, match="columns: shape_round: tree toy has no such answer"):
        collect("counts", source, tree=tree, columns={"shape_round": "n"})


FRACTIONS = {
    "object_id": ["a", "b", "c", "d"],
    "shape_smooth_fraction": [0.25, 0.9, None, 0.333],
    "shape_featured_fraction": [0.75, 0.9, None, 0.667],
    "shape_total-votes": [40, 10, 0, 3],
    "bar_yes_fraction": [0.5, None, None, 1.0],
    "bar_no_fraction": [0.5, 0.2, None, 0.0],
    "bar_total-votes": [30.0, 5.0, None, 2.0],
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_fractions_become_counts(collect, dropped, write_table, write_tree, suffix):
    tree = write_tree("toy", shape=SHAPE, bar=BAR)
    votes = collect("fractions", write_table(FRACTIONS, suffix, "fractions"), tree=tree)
    assert votes.values.tolist() == [[10, 30, 15, 15], [0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 2, 0]]
    assert dropped() == [
        ("b", "bar", "a fraction is absent"),
        ("b", "shape", "its fractions add up to more than 1"),
    ]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("shape_smooth_fraction", 1.5, "row 1: shape_smooth_fraction is 1.5; allowed: 0 to 1"),
        ("shape_smooth_fraction", -0.5, "row 1: shape_smooth_fraction is -0.5; allowed"),
        ("shape_total-votes", 2.5, "row 1: shape_total-votes is 2.5; a number of votes is whole"),
        ("shape_total-votes", -1.0, "row 1: shape_total-votes is -1; allowed: 0 to"),
    ],
)
def test_bad_fractions_are_refused(collect, write_table, write_tree, column, value, message):
    columns = {**FRACTIONS, column: [value, 0.0, 0.0, 0.0]}
    source = write_table(columns, ".parquet", "fractions")
    with pytest.raises(UserError, match=message):
        collect("fractions", source, tree=write_tree("toy", shape=SHAPE, bar=BAR))


def test_real_classes(shared_data, collect):
    source = shared_data / "rings_decals_png" / "labels.csv"
    votes = collect("classes", source, column="ring")
    assert votes.task.kind == "class"
    assert votes.task.columns == ("ring_0", "ring_1")
    assert votes.values.sum(axis=0).tolist() == [50, 50]
    assert set(votes.values.sum(axis=1)) == {1}
    raw = {row["object_id"]: row["ring"] for row in csv.DictReader(source.open())}
    assert votes.values[:, 1].tolist() == [int(raw[key]) for key in votes.object_ids]


def test_classes_of_two_files(collect, write_table):
    one = write_table({"object_id": ["a", "b"], "kind": ["clump", "bulge"]}, name="one")
    other = write_table({"object_id": ["b", "c"], "kind": ["bulge", "arm"]}, name="other")
    votes = collect("classes", one, other, column="kind")
    assert votes.task.columns == ("kind_arm", "kind_bulge", "kind_clump")
    assert votes.values.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    order = ("clump", "arm", "bulge", "disk")
    votes = collect("classes", one, other, column="kind", classes=order)
    assert votes.task.columns == tuple(f"kind_{name}" for name in order)
    assert votes.values.argmax(axis=1).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("kinds", "options", "message"),
    [
        (["clump", "x" * 200], {}, "row 2: kind is 'xx.*allowed: names of 100 characters"),
        (
            ["clump", "clu\u200bmp"],
            {},
            "row 2: kind is 'clu.u200bmp'; .* a line break or invisible",
        ),
        (["clump", "an\narm"], {}, r"row 2: kind is 'an\\narm'; .* a line break or invisible"),
        (["", "nan"], {}, "no galaxy has a class in kind"),
        (["clump", "arm"], {"classes": ("clump", "bar")}, "row 2: kind is 'arm'; allowed: clump"),
        (["clump", "clump"], {}, "kind has 1 classes"),
    ],
)
def test_bad_classes_are_refused(collect, write_table, kinds, options, message):
    source = write_table({"object_id": ["a", "b"], "kind": kinds}, name="classes")
    with pytest.raises(UserError, match=message):
        collect("classes", source, column="kind", **options)


@pytest.mark.parametrize(("kind", "values"), [("classes", "xyz"), ("number", (0.1, 0.2, 0.3))])
def test_files_that_disagree_are_refused(collect, write_table, kind, values):
    one = write_table({"object_id": ["a", "b"], "label": list(values[:2])}, name="one")
    other = write_table({"object_id": ["c", "b"], "label": [values[0], values[2]]}, name="other")
    with pytest.raises(UserError, match=r"other.csv: b is labelled otherwise in .*one.csv"):
        collect(kind, one, other, column="label")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits"])
@pytest.mark.parametrize("kind", ["classes", "number", "counts"])
def test_identifiers_that_became_decimals_are_refused(
    collect, write_table, write_tree, suffix, kind
):
    ids = [1237648720693755900.0, 1237648720693756600.0]
    if suffix == ".csv":
        ids = [repr(number) for number in ids]
    columns = {"object_id": ids, "shape_smooth": [1, 2], "shape_featured": [2, 1]}
    options = {} if kind == "counts" else {"column": "shape_smooth"}
    tree = write_tree("t", shape=SHAPE) if kind == "counts" else None
    with pytest.raises(UserError, match="column object_id holds decimal numbers, such as"):
        collect(kind, write_table(columns, suffix), tree=tree, **options)


def test_numbers(collect, write_table, tmp_path):
    source = write_table({"object_id": ["b", "a"], "redshift": [0.5, -0.001]}, name="z")
    votes = collect("number", source, column="redshift")
    assert votes.values.tolist() == [[-0.001], [0.5]]
    assert votes.task.columns == ("redshift",)
    assert votes.task.to_dict() == {"kind": "number", "number": "redshift"}
    assert pq.read_schema(tmp_path / "votes" / "votes.parquet").field("redshift").type == "double"


@pytest.mark.parametrize(
    ("empty", "none"), [(["", "nan", "N/A"], True), ([None, "<NA>", " "], True), (["none"], False)]
)
def test_galaxies_without_a_class_are_told(collect, dropped, write_table, empty, none):
    ids = ["a", "b", "c", "d", "e", "f", "g"][: 4 + len(empty)]
    kinds = {"object_id": ids, "kind": ["arm", "arm", "bar", "bar", *empty]}
    votes = collect("classes", write_table(kinds, ".parquet"), column="kind")
    assert votes.object_ids == (ids[:4] if none else ids)
    assert dropped() == ([(key, "", "no label") for key in ids[4:]] if none else [])
    votes = collect(
        "classes",
        write_table({"object_id": ["a", "b"], "kind": ["nan", "arm"]}),
        column="kind",
        classes=("nan", "arm"),
    )
    assert votes.values.tolist() == [[1, 0], [0, 1]]


def test_most_galaxies_without_a_label_are_an_error(collect, write_table):
    source = write_table({"object_id": list("abcde"), "z": [0.1, 0.2, None, None, None]})
    with pytest.raises(UserError, match=r"3 of 5 galaxies are left out.*no label; fill the column"):
        collect("number", source, column="z")


@pytest.mark.parametrize(
    ("given", "name"),
    [("yes ", "yes"), ("\tyes", "yes"), ("yes\xa0", "yes"), ("yes\u200b", "yes"), ("1.0", "1")],
)
def test_class_names_lose_what_nobody_sees(collect, write_table, caplog, given, name):
    kinds = {"object_id": list("abcd"), "kind": [name, given, "no", "no"]}
    source = write_table(kinds, ".parquet")
    assert set(collect("classes", source, column="kind").task.tree.columns) == {
        "kind_no",
        f"kind_{name}",
    }
    assert "1 times kind has blanks at its ends or decimals" in caplog.text
    votes = collect("classes", source, column="kind", classes=(given, "no"))
    assert votes.values.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes", "yes"),
        ("early type", "early  type"),
        ("café", "cafe\u0301"),
        ("0", "False"),
        ("True", "true"),
        ("1", "01"),
        ("1", "+1"),
        ("0.5", "0.50"),
        ("ring", "RING"),
    ],
)
def test_class_names_that_differ_by_nothing_are_told(collect, write_table, caplog, one, other):
    kinds = {"object_id": list("abcde"), "kind": [one, other, one, "no", "no"]}
    votes = collect("classes", write_table(kinds), column="kind")
    assert len(votes.task.columns) == 3
    told = re.search("differ only by case, blanks .*", caplog.text)[0]
    assert f"{one!r} (2 galaxies)" in told
    assert f"{other!r} (1 galaxies)" in told


@pytest.mark.parametrize("kinds", [["-1", "1", "10"], ["no", "none", "early"], ["S0", "S0a", "0"]])
def test_other_class_names_are_not_told(collect, write_table, caplog, kinds):
    collect("classes", write_table({"object_id": list("abcdef"), "kind": kinds * 2}), column="kind")
    assert "differ only" not in caplog.text


def test_numbers_as_classes_are_the_same_in_every_format(collect, write_table):
    values = {"object_id": list("abcd"), "ring": [1.0, 0.0, 0.0, 1.0]}
    texts = {**values, "ring": ["1.0", "0.0", "0", "1"]}
    expected = [[0, 1], [1, 0], [1, 0], [0, 1]]
    for suffix, table in ((".csv", texts), (".csv", values), (".parquet", values)):
        votes = collect("classes", write_table(table, suffix), column="ring")
        assert votes.task.columns == ("ring_0", "ring_1")
        assert votes.values.tolist() == expected


def test_galaxies_by_class_are_logged(collect, write_table, caplog):
    caplog.set_level(logging.INFO, "galaxymill")
    ids = [f"g{n}" for n in range(41)]
    source = write_table({"object_id": ids, "kind": ["arm", "bar"] * 20 + ["dot"]})
    votes = collect("classes", source, column="kind", classes=("arm", "bar", "dot", "empty"))
    splits = [votes.splits[votes.values[:, 0] == 1].tolist().count(s) for s in SPLITS]
    assert f"(train/val/test): arm 20 ({'/'.join(map(str, splits))})" in caplog.text
    assert "classes with too few galaxies" in caplog.text
    assert "'dot' has 1, 'empty' has 0" in caplog.text


def test_the_report_of_classes_with_spaces(shared_data, collect, caplog):
    source = shared_data / "reports" / "15-classes-with-spaces" / "rings.csv"
    if not source.is_file():
        pytest.skip("no reports beside the checkout")
    votes = collect("classes", source, column="ring")
    assert votes.task.columns == ("ring_Yes", "ring_no", "ring_yes")
    assert "4 times ring has blanks at its ends" in caplog.text
    assert "'Yes' (4 galaxies) and 'yes' (4 galaxies)" in caplog.text


def test_classes_given_twice_are_refused():
    with pytest.raises(UserError, match="classes: given twice: yes"):
        FORMATS["classes"].settings.from_flags(["column=ring", "classes=yes,no,yes "], "labels")


@pytest.mark.parametrize(
    "value", [float("inf"), -float("inf"), 1e39, -3.5e38, 1.589701968842794e40, 1e300]
)
def test_numbers_beyond_float32_are_refused(collect, write_table, value):
    source = write_table({"object_id": ["a", "b"], "z": [0.5, value]}, ".parquet", "z")
    with pytest.raises(UserError, match=r"row 2: z is .*take the logarithm, or divide by a unit"):
        collect("number", source, column="z")


def test_the_report_of_luminosities(shared_data, collect):
    source = shared_data / "reports" / "09-nan-loss-traceback" / "lum.csv"
    if not source.is_file():
        pytest.skip("no reports beside the checkout")
    with pytest.raises(UserError, match=r"lum\.csv: row 1: l_halpha is .*take the logarithm"):
        collect("number", source, column="l_halpha")


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_galaxy_without_a_number_is_left_out(collect, dropped, write_table, value):
    columns = {"object_id": ["a", "b"], "z": [0.5, value], "ra": [1.0, 2.0], "dec": [3.0, 4.0]}
    votes = collect("number", write_table(columns, ".parquet", "z"), column="z")
    assert votes.object_ids == ["a"]
    assert votes.positions.tolist() == [[1, 3]]
    assert dropped() == [("b", "", "no label")]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.1, 0.7, 1.2, -99, -99], "z is -99 2 times"),
        ([15.1, 17.3, 21.9, 99, 99], "z is 99 2 times"),
        ([0.1, 0.7, 1.2, -1, -1], "z is -1 2 times"),
        ([-0.5, 0.7, 1.2, -9999, -9999], "z is -9999 2 times"),
        ([0, 0, 0, 1, 1], ""),
        ([0.1, 0.7, 1.2, 1.2, 0.1], ""),
        ([-2, -2, -1, 0, 5], ""),
        ([0.1, 0.7, 1.2, -99, 3], ""),
    ],
)
def test_a_number_that_may_stand_for_none_is_told(collect, write_table, caplog, values, told):
    source = write_table({"object_id": list("abcde"), "z": [float(value) for value in values]})
    assert len(collect("number", source, column="z").object_ids) == 5
    assert told in caplog.text
    assert bool(told) == ("far from all others" in caplog.text)


def test_a_tree_is_needed_for_votes(collect, write_table):
    with pytest.raises(UserError, match="--tree is required by format counts"):
        collect("counts", write_table({"object_id": ["a"], "shape_smooth": [1]}))


def test_joint_sets(collect, write_table, write_tree, tmp_path):
    place = {"ra": [10.0, 11.0], "dec": [0.0, 1.0]}
    shape = {"object_id": ["a", "b"], "shape_smooth": [1, 2], "shape_featured": [3, 4], **place}
    ring = {"object_id": ["c"], "ring_yes": [5], "ring_no": [6]}
    one = write_table(shape, name="shape")
    other = write_table(ring, name="ring")
    rings = write_tree("ring", ring={"answers": ["yes", "no"]})
    collect("counts", one, tree=write_tree("toy", shape=SHAPE), out="one")
    collect("counts", other, tree=rings, out="other")
    paths = [tmp_path / name / "votes.parquet" for name in ("one", "other")]
    votes = read_joint_votes(paths)
    assert votes.object_ids == ["a", "b", "c"]
    assert votes.task.tree.columns == ("shape_smooth", "shape_featured", "ring_yes", "ring_no")
    assert votes.values.tolist() == [[1, 3, 0, 0], [2, 4, 0, 0], [0, 0, 5, 6]]
    np.testing.assert_array_equal(votes.positions, [[10, 0], [11, 1], [np.nan, np.nan]])
    parts = [read_votes(path) for path in paths]
    assert list(votes.splits) == [split for part in parts for split in part.splits]
    assert votes.record.rows == 3
    assert read_joint_votes(paths[:1]).record == parts[0].record
    twin = write_table({**ring, "object_id": ["b"]}, name="twin")
    collect("counts", twin, tree=rings, out="other")
    with pytest.raises(UserError, match=r"other/votes.parquet: b is also in .*one/votes.parquet"):
        read_joint_votes(paths)


def test_the_page_shows_every_format(root):
    page = (root / "docs" / "labels.md").read_text()
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    shown = [Labels.model_validate(plain) for example in examples for plain in example.values()]
    assert {labels.format for labels in shown} == set(FORMATS)
    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == set(FORMATS)


def test_the_pages_file_of_tasks_is_valid(root, trees, tmp_path):
    page = (root / "docs" / "labels.md").read_text()
    (example,) = re.findall(r" {3}```\n(.*?) {3}```", page, re.DOTALL)
    (tmp_path / "tasks.yaml").write_text(textwrap.dedent(example))
    tree = load_tree(trees / "decals_dr5.yaml")
    first, later = load_tasks(tmp_path / "tasks.yaml", tree)
    assert first.fits("10581", (20, 11))
    assert not first.fits("10581", (20, 12))
    assert later.fits("10581", (30, 99))
    assert later.tasks["T3"] == {0: 0, 1: 1, 2: 2}

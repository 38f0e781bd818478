"""Votes are whole numbers on known answers; each galaxy gets its split."""

import csv
import io
import logging
import shlex

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.images.settings import PassthroughSettings, RecipeSettings
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.counts import CountSettings
from galaxymill.labels.images import collect_images
from galaxymill.labels.table import read_votes
from galaxymill.splits import SplitSettings, assign_splits
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

FORMATS = [".csv", ".csv.gz", ".parquet", ".fits"]
TREE = {
    "name": "toy",
    "questions": {
        "shape": {"answers": ["smooth", "featured"]},
        "bar": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
    },
}
VOTES = {
    "object_id": ["c", "a", "b"],
    "shape_smooth": [30, 2, 0],
    "shape_featured": [3, 40, 0],
    "bar_yes": [1, 20, 0],
    "bar_no": [2, 20, 0],
}


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(TREE), encoding="utf-8")
    return path


@pytest.fixture
def collected(tree):
    def collect(*sources):
        out = sources[0].parent / "votes.parquet"
        collect_labels(sources, tree, out, LabelSettings("counts", CountSettings()))
        return read_votes(out)

    return collect


@pytest.fixture
def refused_files(collected):
    def refuse(*sources):
        with pytest.raises(UserError) as refusal:
            collected(*sources)
        return str(refusal.value)

    return refuse


@pytest.fixture
def refused(collected):
    def refuse(source):
        with pytest.raises(UserError) as refusal:
            collected(source)
        assert str(refusal.value).startswith(f"{source}: ")
        assert not (source.parent / "votes.parquet").exists()
        return str(refusal.value)

    return refuse


def votes_with(column, value, row=1):
    values = [*VOTES[column]]
    values[row] = value
    return {**VOTES, column: values}


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_agree(collected, write_table, suffix):
    votes = collected(write_table(VOTES, suffix, "counts"))
    assert votes.object_ids == ["a", "b", "c"]
    expected = [[2, 40, 20, 20], [0, 0, 0, 0], [30, 3, 1, 2]]
    np.testing.assert_array_equal(votes.values, expected)
    assert votes.values.dtype == np.float64
    assert votes.positions.shape == (3, 2)
    assert np.isnan(votes.positions).all()
    assert votes.task.tree.name == "toy"
    assert list(votes.splits) == assign_splits(["a", "b", "c"], None, SplitSettings())


def test_positions_decide_the_split_where_there_are_any(collected, write_table, tmp_path):
    place = {"ra": [10.0, 10.0, 200.0], "dec": [5.0, 5.0, -3.0]}
    votes = collected(write_table({**VOTES, **place}, name="counts"))
    place = np.array([[10.0, 5.0], [200.0, -3.0], [10.0, 5.0]])
    assert list(votes.splits) == assign_splits(["a", "b", "c"], place, SplitSettings())
    assert votes.splits[0] == votes.splits[2]
    assert pq.read_table(tmp_path / "votes.parquet")["ra"].to_pylist() == [10.0, 200.0, 10.0]


def test_nineteen_digits_stay_as_they_are(collected, write_table):
    ids = ["1237648720693755918", "1237648720693755919", "0001"]
    votes = collected(write_table({**VOTES, "object_id": ids}, name="counts"))
    assert votes.object_ids == sorted(ids)


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_numbers_written_as_floats_are_counts(collected, write_table, suffix):
    columns = {k: v if k == "object_id" else [float(n) for n in v] for k, v in VOTES.items()}
    assert collected(write_table(columns, suffix, "counts")).values[0, 1] == 40


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("column", list(VOTES))
def test_a_missing_column_is_refused(refused, write_table, suffix, column):
    columns = {name: values for name, values in VOTES.items() if name != column}
    assert f"no column {column}" in refused(write_table(columns, suffix, "counts"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_negative_count_is_refused(refused, write_table, suffix):
    message = refused(write_table(votes_with("bar_no", -1), suffix, "counts"))
    assert "row 2: bar_no is -1; allowed: 0 to" in message


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_fraction_is_refused(refused, write_table, suffix):
    values = [float(n) for n in VOTES["bar_yes"]]
    message = refused(write_table({**VOTES, "bar_yes": [*values[:2], 0.25]}, suffix, "counts"))
    assert "row 3: bar_yes is 0.25; votes are whole numbers" in message


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_missing_count_is_refused(refused, write_table, suffix):
    message = refused(write_table(votes_with("shape_smooth", None), suffix, "counts"))
    assert "row 2: shape_smooth is" in message


def test_a_masked_count_in_fits_is_refused(refused, tmp_path):
    from astropy.table import MaskedColumn, Table

    table = Table(VOTES)
    table["bar_yes"] = MaskedColumn(VOTES["bar_yes"], mask=[False, True, False])
    table.write(tmp_path / "counts.fits")
    assert "row 2: bar_yes" in refused(tmp_path / "counts.fits")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 2.0**31])
def test_an_impossible_count_is_refused(refused, write_table, value):
    values = [value, 1.0, 2.0]
    message = refused(write_table({**VOTES, "bar_yes": values}, ".parquet", "counts"))
    assert "row 1: bar_yes is" in message


def test_bad_ids_are_refused(refused, write_table):
    message = refused(write_table({**VOTES, "object_id": ["a", "b", "a"]}, name="counts"))
    assert "row 3: object_id 'a' was already given in row 1" in message
    message = refused(write_table({**VOTES, "object_id": ["a", "../b", "c"]}, name="counts"))
    assert "row 2: object_id '../b' is not allowed" in message


def test_a_position_off_the_sky_is_refused(refused, write_table):
    columns = {**VOTES, "ra": [1.0, 2.0, 3.0], "dec": [0.0, 95.0, 0.0]}
    assert "row 2: dec is 95; allowed: -90 to 90" in refused(write_table(columns, name="counts"))


def test_no_votes_are_refused(refused, write_table):
    schema = pa.schema({name: pa.string() if name == "object_id" else pa.int32() for name in VOTES})
    assert "there are no votes" in refused(write_table(schema.empty_table(), ".parquet", "counts"))


def test_a_file_that_is_not_there_is_refused(refused, tmp_path):
    refused(tmp_path / "nowhere.csv")


def test_files_add_up_and_stay_known(collected, write_table, tmp_path):
    one = write_table(VOTES, name="one")
    other = write_table(
        {**{name: values[:2] for name, values in VOTES.items()}, "object_id": ["a", "d"]},
        ".parquet",
        "other",
    )
    votes = collected(one, other)
    assert votes.object_ids == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(
        votes.values, [[32, 43, 21, 22], [0, 0, 0, 0], [30, 3, 1, 2], [2, 40, 20, 20]]
    )
    said = duckdb.sql(
        f"SELECT file, shape_smooth FROM '{tmp_path / 'sources.parquet'}' "
        "WHERE object_id = 'a' ORDER BY file"
    ).fetchall()
    assert said == [(str(one), 2), (str(other), 30)]


@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_more_moves_no_old_galaxy(collected, write_table, data):
    ids = [f"J{number:03d}" for number in range(30)]
    chosen = [data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True)) for _ in range(3)]
    files = []
    for number, members in enumerate(chosen):
        columns = {name: [number + 1] * len(members) for name in VOTES}
        columns["object_id"] = members
        if data.draw(st.booleans()):
            place = st.lists(st.floats(-90, 90), min_size=len(members), max_size=len(members))
            columns |= {"dec": data.draw(place), "ra": [float(abs(number))] * len(members)}
        files.append(write_table(columns, ".parquet", f"file{number}"))
    before = collected(*files[:2])
    after = collected(*files)
    old = dict(zip(before.object_ids, before.splits, strict=True))
    assert old.items() <= dict(zip(after.object_ids, after.splits, strict=True)).items()


def test_a_file_given_twice_is_refused(refused_files, write_table):
    one, other = write_table(VOTES, name="one"), write_table(VOTES, name="other")
    assert refused_files(one, other) == f"{other}: holds the same as {one}; give it once"


def test_an_excess_voids_its_question_and_is_told(collected, write_table, tmp_path):
    votes = collected(write_table(votes_with("bar_yes", 28), name="counts"))
    np.testing.assert_array_equal(votes.values[0], [2, 40, 0, 0])
    with (tmp_path / "dropped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "object_id": "a",
            "question": "bar",
            "votes": "48",
            "parents_votes": "40",
            "allowed": "42",
            "reason": "more votes than the answers that lead to it",
        }
    ]


def test_a_report_without_rows_has_its_header(collected, write_table, tmp_path):
    collected(write_table(VOTES, name="counts"))
    header = "object_id,question,votes,parents_votes,allowed,reason\n"
    assert (tmp_path / "dropped.csv").read_text() == header


def test_same_files_same_bytes(collected, write_table, tmp_path):
    source = write_table(VOTES, name="counts")
    names = ("votes.parquet", "sources.parquet", "dropped.csv")
    made = []
    for _ in range(2):
        collected(source)
        made.append([(tmp_path / name).read_bytes() for name in names])
    assert made[0] == made[1]


def test_command_line(galaxymill, write_table, tree, tmp_path):
    out = tmp_path / "votes.parquet"
    words = shlex.split(SplitSettings(train=0.5, val=0.25, test=0.25).to_flags("--split"))
    done = galaxymill("labels", out, write_table(VOTES), "--tree", tree, *words)
    assert done.returncode == 0, done.stderr
    assert len(read_votes(out).object_ids) == 3


def test_a_tree_by_name_on_the_command_line(galaxymill, shared_data, tmp_path):
    source = shared_data / "gz2_stripe82_votes" / "table5.csv.gz"
    words = ("labels", tmp_path / "votes.parquet", source, "--format", "gz2", "--tree")
    done = galaxymill(*words, "gz2")
    assert done.returncode == 0, done.stderr
    assert read_votes(tmp_path / "votes.parquet").task.tree.name == "gz2"
    done = galaxymill(*words, "gz3")
    assert done.returncode == 2
    assert "galaxymill: --tree: unknown tree 'gz3'; allowed: candels, cosmic_dawn" in done.stderr


def test_command_line_refuses_with_one_message(galaxymill, write_table, tree, tmp_path):
    source = write_table(votes_with("bar_no", -7))
    done = galaxymill("labels", tmp_path / "votes.parquet", source, "--tree", tree)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert f"galaxymill: {source}: row 2: bar_no is -7" in done.stderr


@pytest.fixture
def folder(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    (tmp_path / "images" / "broken.jpg").write_bytes(b"not an image")
    return tmp_path / "images"


def gathered(write_table, folder, locations):
    ids = [f"g{i}" for i in range(len(locations))]
    source = write_table({"object_id": ids, "file_loc": locations}, name="located")
    out = source.parent / "images.parquet"
    collect_images([source], folder, out, "mine", "object_id", RecipeSettings(size=32))
    return pq.read_table(out).to_pylist()


def test_images_of_a_folder(write_table, folder):
    files = ["b.jpg", "gone.png", "a.png", "broken.jpg", "", "a.png", "b.jpg"]
    rows = gathered(write_table, folder, files)
    assert [row["object_id"] for row in rows] == [f"g{i}" for i in range(7)]
    told = [flags.names(row["flags"]) for row in rows]
    assert told == [[], ["no_coverage"], [], ["invalid_payload"], ["no_coverage"], [], []]
    assert [row["image"] is None for row in rows] == [found != [] for found in told]
    assert [row["reason"] for row in rows[1:4:2]] == [
        "no file 'gone.png'",
        "neither FITS nor JPEG, PNG or WebP",
    ]


@pytest.mark.parametrize(
    ("locations", "message"),
    [
        (
            ["pics\\a.png", "pics\\b.jpg", "a.png"],
            r"mine: 2 of 3 files are missing, e\.g\. .*images/pics\\a\.png, .*; use / betw",
        ),
        (["https://x.org/a.jpg"], r"1 of 1 files are missing, e\.g\. .*x\.org/a\.jpg; it is a web"),
        (["", None, "a.png"], r"2 of 3 file_loc are empty, e\.g\. g0, g1"),
        (["gone.png", "gone.jpg"], r"labels mine: 2 of 2 files are missing, e\.g\. .*gone\.png"),
        (
            ["broken.jpg", "broken.jpg", "a.png"],
            r"2 of 3 files are unfit: neither FITS nor JPEG, PNG or WebP, e\.g\. g0, g1",
        ),
    ],
)
def test_more_than_half_lost_is_an_error_with_the_reason(write_table, folder, locations, message):
    with pytest.raises(UserError, match=message):
        gathered(write_table, folder, locations)


def test_a_folder_s_rectangles_keep_their_shape(write_table, folder):
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[8:24, 24:40] = 255
    Image.fromarray(wide).save(folder / "wide.png")
    source = write_table({"object_id": ["g"], "file_loc": ["wide.png"]}, name="located")
    out = source.parent / "images.parquet"
    chosen = PassthroughSettings(size=32, format="png")
    collect_images([source], folder, out, "mine", "object_id", chosen)
    (row,) = pq.read_table(out).to_pylist()
    with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
        np.testing.assert_array_equal(np.asarray(picture), wide[:, 16:48])
    assert row["reason"] == "image is 64×32, not square: the middle 32×32 is drawn"


@pytest.mark.parametrize("location", ["../secret.png", "/etc/hostname", "x/../../secret.png"])
def test_nothing_outside_the_folder_is_read(write_table, folder, location):
    with pytest.raises(UserError, match="leads out of"):
        gathered(write_table, folder, ["a.png", location])


def test_a_link_out_of_the_folder_is_not_followed(write_table, folder):
    (folder.parent / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(UserError, match="leads out of"):
        gathered(write_table, folder, ["link.png"])


def test_images_of_several_files(write_table, folder):
    one = write_table({"object_id": ["x", "y"], "file_loc": ["b.jpg", "a.png"]}, name="one")
    other = write_table({"object_id": ["a", "x"], "file_loc": ["a.png", "b.jpg"]}, name="other")
    out = one.parent / "images.parquet"
    collect_images([one, other], folder, out, "mine", "object_id", RecipeSettings(size=32))
    assert pq.read_table(out)["object_id"].to_pylist() == ["a", "x", "y"]
    third = write_table({"object_id": ["x"], "file_loc": ["a.png"]}, name="third")
    with pytest.raises(UserError, match=r"third.csv: file_loc of x is .*a.png, but .*b.jpg"):
        collect_images([one, third], folder, out, "mine", "object_id", RecipeSettings(size=32))


@pytest.fixture
def against(tree, write_table, tmp_path):
    """Collect the labels of ``VOTES`` for a survey with some galaxies."""

    def collect(ids, **more):
        rows = [{"object_id": key, "ra": 1.0, "dec": 2.0, "_healpix_29": 0, **more} for key in ids]
        catalog = tmp_path / "catalog" / "objects.parquet"
        schema = products.objects()
        write_product(catalog, pa.Table.from_pylist(rows, schema), Origin("ingest"), schema)
        out = tmp_path / "votes.parquet"
        settings = LabelSettings("counts", CountSettings())
        collect_labels([write_table(VOTES)], tree, out, settings, catalog)
        return out

    return collect


def test_labels_of_other_galaxies_are_refused_with_both_sides(against, tmp_path):
    told = (
        r"galaxies\.csv: none of 3 galaxies is in the catalogue .*objects\.parquet: "
        r"'a', 'b', 'c' in the labels, 'a\.0', 'b\.0', 'c\.0', … in the catalogue; let object_id"
    )
    with pytest.raises(UserError, match=told):
        against(["a.0", "b.0", "c.0", "d.0"])
    assert not (tmp_path / "votes.parquet").exists()


@pytest.mark.parametrize(("known", "warns"), [(["a"], True), (["a", "b"], False)])
def test_labels_of_whom_few_are_in_the_catalogue_are_told(against, caplog, known, warns):
    with caplog.at_level(logging.WARNING, "galaxymill"):
        against([*known, "x", "y"])
    told = "1 of 3 galaxies are in the catalogue" in caplog.text
    assert told == warns
    assert ("from the others: 'b', 'c'" in caplog.text) == warns


def test_a_catalogue_that_grows_changes_no_labels(against):
    first = read_record(against(["a", "b", "c"])).origin
    assert read_record(against(["a", "b", "c", "d"])).origin == first

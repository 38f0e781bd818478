"""Votes are whole numbers on known answers; each galaxy gets its split."""

import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.settings import RecipeSettings
from galaxymill.votes.images import collect_images
from galaxymill.votes.labels import collect_labels
from galaxymill.votes.splits import SplitSettings, assign_splits
from galaxymill.votes.table import read_votes

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
    def collect(source, **splits):
        out = source.parent / "votes.parquet"
        collect_labels(source, tree, out, "object_id", SplitSettings(**splits))
        return read_votes(out)

    return collect


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
    np.testing.assert_array_equal(votes.counts, expected)
    assert votes.counts.dtype == np.int32
    assert votes.tree.name == "toy"
    assert list(votes.splits) == assign_splits(["a", "b", "c"], None, SplitSettings())


def test_positions_decide_the_split_where_there_are_any(collected, write_table, tmp_path):
    place = {"ra": [10.0, 10.0, 200.0], "dec": [5.0, 5.0, -3.0]}
    votes = collected(write_table({**VOTES, **place}, name="counts"))
    ra, dec = np.array([10.0, 200.0, 10.0]), np.array([5.0, -3.0, 5.0])
    assert list(votes.splits) == assign_splits(["a", "b", "c"], (ra, dec), SplitSettings())
    assert votes.splits[0] == votes.splits[2]
    assert pq.read_table(tmp_path / "votes.parquet")["ra"].to_pylist() == [10.0, 200.0, 10.0]


def test_nineteen_digits_stay_as_they_are(collected, write_table):
    ids = ["1237648720693755918", "1237648720693755919", "0001"]
    votes = collected(write_table({**VOTES, "object_id": ids}, name="counts"))
    assert votes.object_ids == sorted(ids)


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_numbers_written_as_floats_are_counts(collected, write_table, suffix):
    columns = {k: v if k == "object_id" else [float(n) for n in v] for k, v in VOTES.items()}
    assert collected(write_table(columns, suffix, "counts")).counts[0, 1] == 40


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


def test_command_line(galaxymill, write_table, tree, tmp_path):
    out = tmp_path / "votes.parquet"
    words = shlex.split(SplitSettings(train=0.5, val=0.25, test=0.25).to_flags())
    done = galaxymill("labels", write_table(VOTES), tree, out, *words)
    assert done.returncode == 0, done.stderr
    assert len(read_votes(out).object_ids) == 3


def test_command_line_refuses_with_one_message(galaxymill, write_table, tree, tmp_path):
    source = write_table(votes_with("bar_no", -7))
    done = galaxymill("labels", source, tree, tmp_path / "votes.parquet")
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
    collect_images(source, folder, out, "mine", "object_id", RecipeSettings(size=32))
    return pq.read_table(out).to_pylist()


def test_images_of_a_folder(write_table, folder):
    rows = gathered(write_table, folder, ["b.jpg", "gone.png", "a.png", "broken.jpg", ""])
    assert [row["object_id"] for row in rows] == ["g0", "g1", "g2", "g3", "g4"]
    told = [flags.names(row["flags"]) for row in rows]
    assert told == [[], ["no_coverage"], [], ["invalid_payload"], ["no_coverage"]]
    assert [row["image"] is None for row in rows] == [False, True, False, True, True]


@pytest.mark.parametrize("location", ["../secret.png", "/etc/hostname", "x/../../secret.png"])
def test_nothing_outside_the_folder_is_read(write_table, folder, location):
    with pytest.raises(UserError, match="leads out of"):
        gathered(write_table, folder, ["a.png", location])


def test_a_link_out_of_the_folder_is_not_followed(write_table, folder):
    (folder.parent / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(UserError, match="leads out of"):
        gathered(write_table, folder, ["link.png"])

"""A catalogue is checked once: good tables in three formats, and every bad row by its number."""

import shlex

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hats.pixel_math.spatial_index import compute_spatial_index

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.storage.origin import read_record

FORMATS = [".csv", ".csv.gz", ".parquet", ".fits"]
GALAXIES = {
    "object_id": ["J1", "J2", "J3", "J4"],
    "ra": [10.5, 359.9, 0.0, 200.25],
    "dec": [-5.0, 89.5, -90.0, 33.0],
    "r50": [1.5, 2.5, float("nan"), 4.0],
    "mag": [17.0, 18.0, 19.0, 20.0],
}


def good(**changes):
    return {**GALAXIES, **changes}


def ingested(source, **settings):
    out = source.parent / "objects.parquet"
    ingest(source, out, CatalogSettings(**settings))
    return pq.read_table(out)


def refused(source, **settings):
    with pytest.raises(UserError) as refusal:
        ingested(source, **settings)
    assert str(refusal.value).startswith(f"{source}: ")
    assert not list(source.parent.glob("objects.parquet"))
    return str(refusal.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_agree(write_table, suffix):
    table = ingested(write_table(GALAXIES, suffix), petro_r50="r50", keep=("mag",))
    assert table.column_names == ["object_id", "ra", "dec", "_healpix_29", "petro_r50", "mag"]
    order = np.argsort(compute_spatial_index(np.array(GALAXIES["ra"]), np.array(GALAXIES["dec"])))
    assert table["object_id"].to_pylist() == [GALAXIES["object_id"][i] for i in order]
    for name, source in (("ra", "ra"), ("dec", "dec"), ("petro_r50", "r50"), ("mag", "mag")):
        np.testing.assert_array_equal(
            table[name].to_numpy().astype(float), np.array(GALAXIES[source])[order]
        )
    index = table["_healpix_29"].to_numpy()
    np.testing.assert_array_equal(index, compute_spatial_index(table["ra"], table["dec"]))


def test_columns_are_renamed(write_table):
    columns = {"name": ["a", "b"], "RAJ2000": [1.0, 2.0], "DEJ2000": [3.0, 4.0]}
    settings = {"object_id": "name", "ra": "RAJ2000", "dec": "DEJ2000"}
    table = ingested(write_table(columns), **settings)
    assert sorted(table["object_id"].to_pylist()) == ["a", "b"]


def test_origin_and_units_are_kept(write_table):
    mag = pa.field("mag", pa.float64(), metadata={"unit": "mag"})
    source = write_table({"object_id": ["a"], "ra": [1.0], "dec": [2.0], "mag": [3.0]}, ".parquet")
    table = pq.read_table(source)
    pq.write_table(table.set_column(3, mag, table["mag"]), source)
    out = ingested(source, keep=("mag",))
    assert out.schema.field("mag").metadata[b"unit"] == b"mag"
    assert out.schema.field("ra").metadata[b"unit"] == b"deg"
    record = read_record(source.parent / "objects.parquet")
    assert record.origin["stage"] == "ingest"
    assert record.rows == 1


@pytest.mark.parametrize("suffix", FORMATS[:3])
def test_nineteen_digits_stay_as_they_are(write_table, suffix):
    ids = ["1237648720693755918", "1237648720693755919", "0000000000000000007"]
    if suffix == ".parquet":
        ids = [int(value) for value in ids]
    table = ingested(
        write_table({"object_id": ids, "ra": [1.0, 2.0, 3.0], "dec": [0.0] * 3}, suffix)
    )
    assert sorted(table["object_id"].to_pylist()) == sorted(str(value) for value in ids)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("column", ["object_id", "ra", "dec"])
def test_a_missing_column_is_refused(write_table, suffix, column):
    columns = {name: values for name, values in GALAXIES.items() if name != column}
    message = refused(write_table(columns, suffix))
    assert f"no column {column}; the columns are: {', '.join(columns)}" in message


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("ra", float("nan"), "0 to 360"),
        ("ra", -0.1, "0 to 360"),
        ("ra", 360.5, "0 to 360"),
        ("ra", float("inf"), "0 to 360"),
        ("dec", float("nan"), "-90 to 90"),
        ("dec", 90.01, "-90 to 90"),
        ("dec", -123.0, "-90 to 90"),
    ],
)
def test_a_position_off_the_sky_is_refused(write_table, suffix, column, value, allowed):
    values = [*GALAXIES[column]]
    values[2] = value
    message = refused(write_table(good(**{column: values}), suffix))
    assert f"row 3: {column} is {value:g}; allowed: {allowed}" in message


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_id_given_twice_is_refused(write_table, suffix):
    message = refused(write_table(good(object_id=["J1", "J2", "J3", "J2"]), suffix))
    assert "row 4: object_id 'J2' was already given in row 2" in message


BAD_IDS = ["a/b", "..", "a..b", "", " a", "a ", "a\tb", "a\x7fb", "x" * 129]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("bad", [*BAD_IDS, "a\x00b"])
def test_an_unfit_id_is_refused(write_table, suffix, bad):
    message = refused(write_table(good(object_id=["J1", bad, "J3", "J4"]), suffix))
    assert f"row 2: object_id {bad!r}" in message
    assert "\n" not in message


def test_a_null_id_is_refused(write_table):
    message = refused(write_table(good(object_id=["J1", "J2", None, "J4"]), ".parquet"))
    assert "row 3: object_id is empty" in message


def test_no_rows_are_refused(write_table):
    schema = pa.schema({"object_id": pa.string(), "ra": pa.float64(), "dec": pa.float64()})
    assert "no rows" in refused(write_table(schema.empty_table(), ".parquet"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_for_a_number_is_refused(write_table, suffix):
    assert "ra" in refused(write_table(good(ra=["1", "2", "three", "4"]), suffix))
    message = refused(write_table(good(r50=["1", "?", "2", "3"]), suffix), petro_r50="r50")
    assert "r50" in message


def test_a_kept_column_may_not_be_there_anyway(write_table):
    assert "keep: ra is in the product anyway" in refused(write_table(GALAXIES), keep=("ra",))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"", b"\x00\xff garbage \n\xfe", b"SIMPLE  =   T"])
def test_an_unreadable_file_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"galaxies{suffix}"
    path.write_bytes(content)
    refused(path)


def test_an_image_is_no_table(tmp_path, make_fits):
    path = tmp_path / "image.fits"
    path.write_bytes(make_fits())
    refused(path)


def test_another_suffix_is_refused(tmp_path):
    (tmp_path / "galaxies.txt").write_text("x")
    message = refused(tmp_path / "galaxies.txt")
    assert "unknown kind of table; allowed: .parquet, .csv, .csv.gz, .fits" in message


def test_a_file_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "nowhere.csv")


def test_a_ragged_csv_is_refused(tmp_path):
    path = tmp_path / "galaxies.csv"
    path.write_text("object_id,ra,dec\na,1,2\nb,1\n")
    refused(path)


def test_a_column_given_twice_is_refused(tmp_path):
    path = tmp_path / "galaxies.csv"
    path.write_text("object_id,ra,dec,ra\na,1,2,3\n")
    refused(path)


def test_kept_columns_of_any_csv(tmp_path):
    """Arrow reads a date as a date, and a column of nothing as nulls."""
    path = tmp_path / "galaxies.csv"
    path.write_text("object_id,ra,dec,seen,note\na,1,2,2024-05-01,\nb,3,4,2024-05-02,\n")
    table = ingested(path, keep=("seen", "note"))
    assert table["note"].null_count == 2
    assert [str(day) for day in table["seen"].to_pylist()] == ["2024-05-01", "2024-05-02"]


def test_command_line(galaxymill, write_table, tmp_path):
    out = tmp_path / "out" / "objects.parquet"
    done = galaxymill(
        "ingest", write_table(GALAXIES), out, *shlex.split(CatalogSettings().to_flags())
    )
    assert done.returncode == 0, done.stderr
    assert pq.read_metadata(out).num_rows == 4


def test_command_line_refuses_with_one_message(galaxymill, write_table, tmp_path):
    source = write_table(good(dec=[0.0, 91.0, 0.0, 0.0]))
    done = galaxymill("ingest", source, tmp_path / "objects.parquet")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    expected = f"galaxymill: {source}: row 2: dec is 91; allowed: -90 to 90"
    assert done.stderr.splitlines() == [expected]


def test_real_catalogue(shared_data, tmp_path):
    """It lists some galaxies twice: refused as it is, taken without them."""
    source = shared_data / "gz_decals_q1_votes" / "gz_decals_q1_counts_7062.csv"
    settings = CatalogSettings(object_id="iauname")
    with pytest.raises(
        UserError, match=r"row 1382: iauname 'J140321.51.125343.5' was already given"
    ):
        ingest(source, tmp_path / "objects.parquet", settings)
    once = pd.read_csv(source).drop_duplicates("iauname")
    once.to_csv(tmp_path / "once.csv", index=False)
    ingest(tmp_path / "once.csv", tmp_path / "objects.parquet", settings)
    assert pq.read_metadata(tmp_path / "objects.parquet").num_rows == len(once) > 7000

"""A catalogue is checked once: good tables in three formats, and every bad row by its number."""

import json
import shlex
from datetime import datetime
from decimal import Decimal

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from hats.pixel_math.spatial_index import compute_spatial_index

from galaxymill import products
from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.products import RELEASED
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
    assert "keep: ra is a name that a release has of its own" in refused(
        write_table(GALAXIES), keep=("ra",)
    )


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
    assert "unknown kind of table; allowed: .parquet, .csv, .tsv, .fits" in message


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
    """A date is the text that the file says, and a column of nothing a text of nulls."""
    path = tmp_path / "galaxies.csv"
    path.write_text("object_id,ra,dec,seen,note\na,1,2,2024-05-01,\nb,3,4,2024-05-02,\n")
    table = ingested(path, keep=("seen", "note"))
    assert table.schema.field("note").type == pa.string()
    assert table["note"].null_count == 2
    assert table["seen"].to_pylist() == ["2024-05-01", "2024-05-02"]


def kept(tmp_path, *values, **settings):
    """Ingest a CSV file with a further column; give that."""
    lines = [f'g{row},{row},2,"{value}"\n' for row, value in enumerate(values)]
    path = tmp_path / "galaxies.csv"
    path.write_text("object_id,ra,dec,more\n" + "".join(lines))
    table = ingested(path, keep=("more",), **settings)
    return table.take(pc.sort_indices(table["object_id"]))["more"]


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        (["0001", "12"], ["0001", "12"], "string"),
        (["01.5", "12"], ["01.5", "12"], "string"),
        (["7", "-3", ""], [7, -3, None], "int64"),
        (["9223372036854775807", "NaN"], [2**63 - 1, None], "int64"),
        (["9223372036854775808", "7"], ["9223372036854775808", "7"], "string"),
        (["18446744073709551616", "7"], ["18446744073709551616", "7"], "string"),
        (["1237648720693755918", "1.5"], ["1237648720693755918", "1.5"], "string"),
        (["17.25", "+1e3", "nan"], [17.25, 1000.0, None], "double"),
        (["2024-05-01T10:00:00Z", "N/A"], ["2024-05-01T10:00:00Z", "N/A"], "string"),
        (["10:00:00", "11:00:00"], ["10:00:00", "11:00:00"], "string"),
        (["1e400", "1"], ["1e400", "1"], "string"),
        (["1e-400", "1"], ["1e-400", "1"], "string"),
        (["0e5", "-inf", "--"], [0.0, -np.inf, None], "double"),
        (["-9223372036854775808", "1"], ["-9223372036854775808", "1"], "string"),
        (["true", "False"], [True, False], "bool"),
        (["1", "0"], [1, 0], "int64"),
        (["one\ntwo", ""], ["one\ntwo", None], "string"),
    ],
)
def test_kept_values_of_a_csv_are_what_the_file_says(tmp_path, values, expected, kind):
    column = kept(tmp_path, *values)
    assert column.to_pylist() == expected
    assert str(column.type) == kind


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("text", ["1", "0"]), ("number", [1.0, 0.0]), ("integer", [1, 0]), ("boolean", [True, False])],
)
def test_the_user_may_name_the_type(tmp_path, kind, expected):
    settings = CatalogSettings.from_flags(
        [f"types={json.dumps({'more': kind})}", "keep=more"], "ingest"
    )
    assert kept(tmp_path, "1", "0", types=settings.types).to_pylist() == expected


def test_a_type_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"types: more is not of type integer: .*'1\.5'"):
        kept(tmp_path, "7", "1.5", types={"more": "integer"})
    with pytest.raises(UserError, match=r"types: more is not of type number: .*'x' in row 2"):
        kept(tmp_path, "7", "x", types={"more": "number"})
    with pytest.raises(UserError, match="types: tile is not in keep"):
        CatalogSettings.from_flags(['types={"tile": "text"}'], "ingest")
    with pytest.raises(UserError, match=r"types\.tile: .*'text', 'number', 'integer'"):
        CatalogSettings.from_flags(["keep=tile", 'types={"tile": "date"}'], "ingest")


DAY = datetime(2024, 5, 1, 10, 30)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([DAY.date(), None]), ["2024-05-01", None]),
        (pa.array([DAY, None], pa.timestamp("s")), ["2024-05-01T10:30:00", None]),
        (pa.array([DAY, None], pa.timestamp("s", "UTC")), ["2024-05-01T10:30:00Z", None]),
        (pa.array([7, 8], pa.uint64()), [7, 8]),
        (pa.array([2**64 - 1, 8], pa.uint64()), [str(2**64 - 1), "8"]),
        # By these a FITS table of integers so wide says null.
        (pa.array([-(2**15), 8], pa.int16()), [-(2**15), 8]),
        (pa.array([-(2**31), 8], pa.int32()), [-(2**31), 8]),
        (pa.array([-(2**63), 8], pa.int64()), [str(-(2**63)), "8"]),
        (pa.array([Decimal("17.25"), None]), [17.25, None]),
        (pa.array([Decimal("12345678901234567.25")] * 2), ["12345678901234567.25"] * 2),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([None, None]), [None, None]),
        (pa.array(["0001", "b"]), ["0001", "b"]),
        (pa.array([1.5, 2], pa.float16()), [1.5, 2]),
    ],
)
def test_kept_values_of_a_typed_file_are_what_it_says(write_table, values, expected):
    plain = {"object_id": ["a", "b"], "ra": [1.0, 2.0], "dec": [0.0, 0.0], "more": values}
    table = ingested(write_table(plain, ".parquet"), keep=("more",))
    column = table.take(pc.sort_indices(table["object_id"]))["more"]
    assert column.to_pylist() == expected
    assert column.type in RELEASED
    lowest = {pa.int16(): -(2**15), pa.int32(): -(2**31)}
    assert lowest.get(column.type, "none") not in expected


@pytest.mark.parametrize(
    "values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"a", b"b"], pa.array([1, 2], pa.duration("s"))]
)
def test_what_no_release_can_hold_is_refused_at_once(write_table, values):
    plain = {"object_id": ["a", "b"], "ra": [1.0, 2.0], "dec": [0.0, 0.0], "more": values}
    message = refused(write_table(plain, ".parquet"), keep=("more",))
    assert "keep: more is of type" in message
    assert "leave it out of keep" in message


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("status",), "is a name that a release has of its own: status;"),
        (("Flags",), "is a name that a release has of its own: flags;"),
        (("RA",), "is a name that a release has of its own: ra;"),
        (("petro_r50",), "is a name that a release has of its own: petro_r50;"),
        (("mag", "MAG"), "does not tell capitals apart: MAG, mag"),
        (("größe",), "größe is no name for FITS"),
        (("mag ",), "mag  is no name for FITS"),
    ],
)
def test_names_that_a_release_cannot_have_are_refused(write_table, names, message):
    plain = {**good(), **{name: [1, 2, 3, 4] for name in names}}
    assert message in refused(write_table(plain), keep=names)


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".ecsv", ".parquet"])
@pytest.mark.parametrize("angle", ["rad", "arcmin", "deg"])
def test_positions_and_radii_are_converted_from_the_unit_of_the_file(tmp_path, suffix, angle):
    table = QTable({"object_id": ["a"], "ra": [150.0] * u.deg, "dec": [-2.0] * u.deg})
    for name in ("ra", "dec"):
        table[name] = table[name].to(angle)
    table["r50"], table["mag"], table["flux"] = [0.1] * u.arcmin, [17.5] * u.mag, [3.0] * u.nmgy
    path = tmp_path / f"galaxies{suffix}"
    kinds = {".vot": "votable", ".ecsv": "ascii.ecsv"}
    if suffix == ".fits":
        del table["flux"]
    table.write(path, format=kinds.get(suffix))
    found = ingested(path, petro_r50="r50", keep=("mag",))
    assert found["ra"][0].as_py() == pytest.approx(150, abs=1e-12)
    assert found["dec"][0].as_py() == pytest.approx(-2, abs=1e-12)
    assert found["petro_r50"][0].as_py() == pytest.approx(6)
    assert found["mag"][0].as_py() == 17.5
    assert found.schema.field("mag").metadata[b"unit"] == b"mag"


@pytest.mark.parametrize(
    ("unit", "spelt", "told"),
    [("km/s", b"km.s**-1", ""), ("nmgy", b"nmgy", ""), ("mag(AB)", None, ", in mag(AB)")],
)
def test_units_of_kept_columns_are_spelt_as_the_observatory_does(tmp_path, unit, spelt, told):
    field = pa.field("more", pa.float64(), metadata={"unit": unit})
    schema = pa.schema([*products.objects().remove(3), field])
    rows = [{"object_id": "a", "ra": 1.0, "dec": 2.0, "more": 3.0}]
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "galaxies.parquet")
    metadata = ingested(tmp_path / "galaxies.parquet", keep=("more",)).schema.field("more").metadata
    assert metadata.get(b"unit") == spelt
    assert metadata[b"description"].decode() == f"more, from the input catalogue{told}"


@pytest.mark.parametrize("unit", ["mag", "h", "furlongs"])
def test_a_unit_that_is_no_angle_is_refused(tmp_path, unit):
    path = tmp_path / "galaxies.fits"
    table = Table({"object_id": ["a"], "ra": [1.0], "dec": [2.0]})
    hdu = fits.BinTableHDU(table)
    hdu.columns["ra"].unit = unit
    hdu.writeto(path)
    assert f"column ra is in '{unit}', which cannot be turned into deg" in refused(path)


def test_units_in_the_header_of_a_voparquet_count(tmp_path):
    fields = "".join(f'<FIELD name="{n}" datatype="double" unit="rad"/>' for n in ("ra", "dec"))
    header = f'<VOTABLE version="1.4"><RESOURCE><TABLE>{fields}</TABLE></RESOURCE></VOTABLE>'
    table = pa.table({"object_id": ["a"], "ra": [1.0], "dec": [0.5]})
    table = table.replace_schema_metadata({"IVOA.VOTable-Parquet.content": header})
    pq.write_table(table, tmp_path / "galaxies.parquet")
    found = ingested(tmp_path / "galaxies.parquet")
    assert found["ra"][0].as_py() == pytest.approx(np.degrees(1))
    assert found["dec"][0].as_py() == pytest.approx(np.degrees(0.5))


def test_numbers_that_look_like_radians_are_told(write_table, caplog):
    ingested(write_table(good(ra=[0.1, 2.5, 4.5, 6.2], dec=[-1.2, 0.1, 0.5, 1.5])))
    assert (
        "ra and dec are within 2π and π/2, and taken as degrees; if they are radians" in caplog.text
    )


def test_hours_are_fifteen_degrees(tmp_path):
    path = tmp_path / "galaxies.fits"
    hdu = fits.BinTableHDU(Table({"object_id": ["a"], "ra": [10.5], "dec": [2.0]}))
    hdu.columns["ra"].unit = "hourangle"
    hdu.writeto(path)
    assert ingested(path)["ra"][0].as_py() == pytest.approx(157.5, abs=1e-12)


@pytest.mark.parametrize("ra", ["10:00:00", "10h00m00.5s", "10 02 03"])
def test_sexagesimal_positions_are_told_the_way_out(write_table, ra):
    message = refused(write_table(good(ra=[ra] * 4)))
    assert f"column ra is not numeric: {ra!r} in row 1; give decimal degrees" in message


def test_right_ascensions_around_0_are_told_the_way_out(write_table):
    message = refused(write_table(good(ra=[1.0, -12.5, 2.0, 3.0])))
    assert "row 2: ra is -12.5; allowed: 0 to 360; add 360 to right ascensions below 0" in message
    assert message.endswith("(galaxy 'J2')")


def test_the_table_of_a_file_of_several(tmp_path):
    path = tmp_path / "galaxies.fits"
    info, galaxies = Table({"x": [1]}), Table(good())
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(info, name="INFO")]
    fits.HDUList([*hdus, fits.BinTableHDU(galaxies, name="GALAXIES")]).writeto(path)
    assert "of its tables (1 INFO, 2 GALAXIES) the first is read but where a" in refused(path)
    assert "hdu: no table 'stars'; its tables are: 1 INFO" in refused(path, hdu="stars")
    for hdu in ("galaxies", 2, "2"):
        assert ingested(path, hdu=hdu).num_rows == 4
    (tmp_path / "objects.parquet").unlink()


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
    expected = f"galaxymill: {source}: row 2: dec is 91; allowed: -90 to 90 (galaxy 'J2')"
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

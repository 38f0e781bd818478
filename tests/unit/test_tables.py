"""Users' tables of every kind, and identifiers: what is read, and what is refused and how."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.errors import UserError
from galaxymill.tables import as_text, check_ids, column_names, read_table

PATH = Path("galaxies")
LINES = "object_id;ra;name\n7;10.5;é\n8;11.5;b\n"


def check(*ids, **options):
    check_ids(PATH, pa.chunked_array([pa.array(ids, pa.string())]), "object_id", **options)


# Identifiers


@pytest.mark.parametrize(
    "fit", ["J123.5+4", "1234.5678", "12e4f", "12e4", "587722982829850805", "-7", "NGC 224", "Ω1"]
)
def test_identifiers_that_only_look_like_numbers_pass(fit):
    check("a", fit)


@pytest.mark.parametrize(
    "bad", ["123.0", "123.", "1237648720693755900.000", "1.23E+18", "1e+18", "-1.5e-3", "1,2E+18"]
)
def test_decimal_numbers_are_no_identifiers(bad):
    with pytest.raises(UserError, match=r"holds decimal numbers, such as '.*' in row 2: long"):
        check("a", bad)


def test_a_point_among_fields_and_numbers_is_no_decimal():
    check("12.0", "12.5")


@pytest.mark.parametrize(
    "bad", ["NaN", "nan", "null", "None", "<NA>", "N/A", "NA", "--", "NaT", "", " ", "nan "]
)
def test_words_for_nothing_are_no_identifiers(bad):
    with pytest.raises(UserError, match=r"row 2: object_id '.*' means that there is none"):
        check("a", bad, names_files=False)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
@pytest.mark.parametrize("values", [[1.2e18, 1.3e18], [1, None, 3], [None, None]])
def test_columns_of_decimals_are_no_identifiers(kind, values):
    with pytest.raises(UserError, match="column object_id holds decimal numbers, such as"):
        as_text(PATH, pa.chunked_array([pa.array(values, kind)]), "object_id")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True))
def test_whole_numbers_are_identifiers_to_the_last_digit(numbers):
    texts = as_text(PATH, pa.chunked_array([pa.array(numbers, pa.int64())]), "object_id")
    assert texts.to_pylist() == [str(number) for number in numbers]
    check(*texts.to_pylist())


@pytest.mark.parametrize("unseen", ["g\u200b1", "g1\ufeff", "\u202eg1", "g\n1"])
def test_identifiers_hold_nothing_that_nobody_sees(unseen):
    with pytest.raises(UserError, match=r"row 2: object_id '.*' is not allowed; .* invisible"):
        check("g1", unseen)
    check("g1", "NGC\u00a0224", "é")


# Kinds of files


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_of_any_separator(tmp_path, separator, encoding, zipped):
    path = tmp_path / f"table.csv{'.gz' * zipped}"
    data = LINES.replace(";", separator).encode(encoding)
    path.write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    assert column_names(path) == ["object_id", "ra", "name"]
    table = read_table(path, ["ra", "name", "object_id"], ["object_id"])
    assert table.to_pydict() == {"ra": [10.5, 11.5], "name": ["é", "b"], "object_id": ["7", "8"]}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".tsv", "ascii.tab"),
        (".ecsv", "ascii.ecsv"),
        (".csv", "ascii.ecsv"),
        (".vot", "votable"),
        (".xml", "votable"),
        (".votable", "votable"),
        (".fits", "fits"),
        (".fit", "fits"),
        (".parquet", "parquet"),
    ],
)
def test_kinds_agree(tmp_path, suffix, kind, zipped):
    plain = {"object_id": ["J1", "J2"], "ra": [10.5, 11.25], "n": [7, 8], "good": [True, False]}
    path = tmp_path / f"table{suffix}"
    Table(plain).write(path, format=kind)
    if zipped:
        path = path.with_name(f"{path.name}.gz")
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes(), mtime=0))
    assert column_names(path) == [*plain]
    assert read_table(path, [*plain], ["object_id"]).to_pydict() == plain


PARQUET = (".parquet", "parquet")


def test_booleans_of_fits_may_be_null(tmp_path):
    fields = [fits.Column("n", "K", array=[7, 8, 9]), fits.Column("good", "L", array=[True] * 3)]
    fits.BinTableHDU.from_columns(fields).writeto(tmp_path / "t.fits")
    data = (tmp_path / "t.fits").read_bytes()
    row, number = data.index(b"T", 5760), (7).to_bytes(8, "big")
    assert data[row - 8 : row] == number
    (tmp_path / "t.fits").write_bytes(data[:row] + b"\0" + data[row + 1 :].replace(b"T", b"F", 1))
    assert read_table(tmp_path / "t.fits", ["good"])["good"].to_pylist() == [None, False, True]


def test_nothing_is_null(tmp_path):
    table = Table({"n": [7, 8], "x": [1.5, np.nan], "t": ["a", "b"]}, masked=True)
    for name in table.colnames:
        table[name].mask = [False, True]
    for suffix, kind in ((".fits", "fits"), (".ecsv", "ascii.ecsv"), (".vot", "votable"), PARQUET):
        table.write(tmp_path / f"t{suffix}", format=kind)
        found = read_table(tmp_path / f"t{suffix}", ["n", "x"])
        assert found.to_pydict() == {"n": [7, None], "x": [1.5, None]}


def test_line_breaks_in_quotes_beyond_the_first_megabytes(tmp_path):
    text = "seen twice\nby eye, maybe merger " * 3
    rows = [f'G{n},{n},"{text}"\n' for n in range(200_000)]
    path = tmp_path / "table.csv"
    path.write_text("object_id,n,note\n" + "".join(rows))
    table = read_table(path, ["n", "note"])
    assert table["n"].to_pylist() == list(range(200_000))
    assert table["note"].unique().to_pylist() == [text]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "t.csv",
            LINES.replace("10.5", "é").encode("latin1"),
            "not in UTF-8; save it as UTF-8: iconv -f latin1",
        ),
        ("t.csv", LINES.replace("name", "é").encode("latin1"), "not in UTF-8"),
        ("t.csv", LINES.encode("utf-16-le"), "UTF-16 without a mark; save it as UTF-8"),
        ("t.csv", b"ra,b\n1,2\n3\n", "Row #3: Expected 2 columns, got 1: 3; is a ',' not in"),
        ("t.csv", b'ra,b\n1,"2\n3,4\n', "1 quotation marks, so that one is not closed"),
        ("t.csv", b"", "no row in it below a header"),
        ("t.csv", b"ra,dec", "no row in it below a header"),
        ("t.csv", b"# mine\nra,dec\n1,2\n", "or a line above the header?"),
        ("t.csv", b"PK\x03\x04" + bytes(50), "zipped, as spreadsheets are"),
        ("t.csv", gzip.compress(b"ra,dec\n1,2\n", mtime=0), "zipped, as spreadsheets are"),
        ("t.vot", b"<VOTABLE", "cannot be read"),
        ("t.xml", b"<html></html>", "cannot be read"),
        ("t.ecsv", b"# %ECSV 1.0\n# bad", "cannot be read"),
        ("t.fits.gz", b"\x1f\x8bnothing", "cannot be read"),
        ("t.parquet.gz", b"\x1f\x8bnothing", "cannot be read"),
        ("t.txt", b"ra\n1\n", "unknown kind of table; allowed: .parquet, .csv"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as refusal:
        read_table(tmp_path / name, ["ra"])
    assert str(refusal.value).startswith(f"{tmp_path / name}: ")
    assert message in str(refusal.value)


def test_columns_that_arrow_has_no_word_for(tmp_path):
    path = tmp_path / "t.fits"
    plain = {"ra": [1.0, 2.0], "v": [[1, 2], [3, 4]], "z": [1j, 2], "s": [b"\xe9", b"b"]}
    Table(plain).write(path)
    assert read_table(path, ["v"])["v"].to_pylist() == [[1, 2], [3, 4]]
    with pytest.raises(UserError, match="column z holds complex numbers"):
        read_table(path, ["z"])
    with pytest.raises(UserError, match="column s has letters beyond ASCII, not in UTF-8"):
        read_table(path, ["s"])


def test_an_image_is_no_table(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "t.fits")
    with pytest.raises(UserError, match="there is no table in it"):
        column_names(tmp_path / "t.fits")


def test_only_files_of_several_tables_have_an_hdu(tmp_path):
    pq.write_table(pa.table({"ra": [1.0]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="hdu: 1: only FITS files and VOTables"):
        read_table(tmp_path / "t.parquet", ["ra"], hdu="1")

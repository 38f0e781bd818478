"""FITS and VOTable forms of a release, read by those who define them."""

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits, votable
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table
from astropy.units import UnitsWarning
from astropy.units import deg as DEG
from astropy_healpix import HEALPix
from hypothesis import example, given
from hypothesis import strategies as st
from mocpy import MOC

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.release.columns import release_columns
from galaxymill.release.documents.coverage import ORDER, write_coverage
from galaxymill.release.tables import fits_table
from galaxymill.release.tables.fits_table import ascii_only, open_fits
from galaxymill.release.tables.votable import described_schema, votable_header
from galaxymill.storage.columns import field
from galaxymill.tasks import VoteTask
from galaxymill.trees.tree import parse_tree

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_predictions import a_prediction

TREE = parse_tree({"name": "t", "questions": {"bar": {"answers": ["yes", "no"]}}}, "t")
KEPT = {
    "mag": pa.float32(),
    "n": pa.int64(),
    "small": pa.uint8(),
    "good": pa.bool_(),
    "Nom": pa.string(),
}
UNITS = {"mag": "mag", "n": "nmgy"}
TILE = products.objects(
    ["petro_r50"],
    [field(*kept, "kept", UNITS.get(kept[0], "")) for kept in KEPT.items()],
)
SAID = [a_prediction(VoteTask(TREE))]
COLUMNS = release_columns(TILE, SAID, {})
FLAT = [c for c in COLUMNS if "advanced" in c.tables and not c.is_list]
WIDTHS = {column.name: 14 for column in COLUMNS if column.field.type == pa.string()}
VALUES = {
    pa.float32(): [0.25, None, -1e30, 3.5],
    pa.float64(): [1 / 3, None, 359.5, -90.0],
    pa.int32(): [5, None, -(2**31) + 1, 0],
    pa.int64(): [7, None, 2**62, 0],
    pa.uint8(): [255, None, 0, 3],
    pa.bool_(): [True, None, False, True],
    pa.string(): ["a", None, "Ωmäga", "longest of all"],
}


@pytest.fixture
def table():
    schema = pa.schema([column.field for column in FLAT])
    return pa.table([VALUES[field.type] for field in schema], schema=schema)


def write_fits(table, out):
    with open_fits(out, FLAT, WIDTHS, table.num_rows, "toy") as fits_table:
        for start in range(0, table.num_rows, 3):
            fits_table.write(table.slice(start, 3))


def test_every_column_has_a_word_that_the_ivoa_knows():
    for column in COLUMNS:
        if column.name not in KEPT:
            assert parse_ucd(column.ucd, check_controlled_vocabulary=True), column.name


def test_the_header_is_a_votable_that_names_every_column():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parsed = votable.parse(
            io.BytesIO(votable_header(COLUMNS, "advanced", WIDTHS)), verify="exception"
        )
    fields = parsed.get_first_table().fields
    assert [field.name for field in fields] == [column.name for column in COLUMNS]
    known = {field.name: field for field in fields}
    assert known["concentrations"].arraysize == "4"
    assert known["object_id"].datatype == "char"
    assert str(known["ra"].unit) == "deg"
    assert known["ra"].ucd == "pos.eq.ra;meta.main"
    assert all(field.description for field in fields)


def test_a_parquet_file_carries_its_header(tmp_path):
    schema = described_schema(COLUMNS, "friendly", WIDTHS)
    row = {"object_id": "a", "Nom": "b", "status": "ok", "good": True}
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "f.parquet")
    read = Table.read(tmp_path / "f.parquet", format="parquet.votable")
    assert read.colnames == schema.names
    assert read["bar_yes_fraction"].meta["ucd"] == "stat.probability;src.morph.type"
    assert read["ra"].unit == "deg"


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_fits_holds_what_the_parquet_holds(table, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(fits_table, "ROWS_AT_ONCE", at_once)
    out = tmp_path / "catalog.fits"
    write_fits(table, out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(out, checksum=True) as hdus:
            hdus.verify("exception")
            assert {"CHECKSUM", "DATASUM"} <= set(hdus[1].header)
            header, data = hdus["toy"].header, hdus["toy"].data
            for number, column in enumerate(FLAT, 1):
                assert header[f"TTYPE{number}"] == column.name
                assert header.get(f"TUCD{number}", "") == column.ucd
                unknown = column.unit in ("nat", "nmgy")
                told = column.description + f" [{column.unit}]" * unknown
                assert header[f"TCOMM{number}"] == ascii_only(told)
                assert header.get(f"TUNIT{number}", "") == ("" if unknown else column.unit)
            assert header["TUNIT2"] == "deg"
            assert len(data) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnitsWarning)
        found = Table.read(out, hdu=1)
    assert found["mag"].unit == "mag"
    for column in FLAT:
        wanted = VALUES[column.field.type]
        for value, expected in zip(found[column.name], wanted, strict=True):
            if isinstance(expected, str):
                assert str(value) == expected.replace("Ω", "?").replace("ä", "a")
            elif expected is None:
                # astropy gives no mask to booleans.
                empty = (
                    value is np.ma.masked
                    or value is np.False_
                    or value == ""
                    or np.isnan(float(value))
                )
                assert empty, column.name
            elif isinstance(expected, float):
                assert value == column.field.type.to_pandas_dtype()(expected)
            else:
                assert value == expected


@given(st.text())
@example("Ångström — “café” Łódź ß æ ½ ﷺ 한")
def test_texts_in_ascii_are_no_longer_than_in_utf_8(text):
    plain = ascii_only(text)
    assert plain.isascii()
    assert plain.isprintable()
    assert len(plain) <= len(text.encode())


def test_accents_are_left_out():
    assert ascii_only("Ångström — “café” Łódź Straße 2×3 µm") == (
        'Angstrom - "cafe" Lodz Strasse 2x3 um'
    )


def test_fits_text_ends_at_no_zero_and_breaks_no_line():
    """Astropy verifies that cards and texts are of the standard's letters."""
    text = ascii_only("bar\0ring\nseen\ttwice\x7f")
    fits.Header([("TCOMM1", text)]).tostring()
    assert text == "bar?ring?seen?twice?"


def test_names_that_differ_by_capitals_alone_are_refused():
    kept = products.objects([], [field("BAR_yes_fraction", pa.float32(), "kept")])
    with pytest.raises(UserError, match="two columns would be called BAR_yes_fraction, bar_yes_"):
        release_columns(kept, SAID, {})


def test_fits_written_again_is_the_same(table, tmp_path):
    for name in ("a.fits", "b.fits"):
        write_fits(table, tmp_path / name)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_coverage_is_where_the_galaxies_are(tmp_path):
    sky = HEALPix(nside=2**ORDER, order="nested")
    pixels = sky.lonlat_to_healpix([10, 180.5] * DEG, [-5, 60] * DEG)
    counts = np.zeros(12 * 4**ORDER, np.int64)
    counts[pixels] = 3, 1
    write_coverage(tmp_path, counts)
    for kind in ("fits", "json"):
        moc = MOC.load(tmp_path / f"coverage.moc.{kind}", format=kind)
        assert moc.max_order == ORDER
        assert moc.sky_fraction == pytest.approx(2 / len(counts))
        inside = moc.contains_lonlat([10, 180.5, 20] * DEG, [-5, 60, 0] * DEG)
        assert inside.tolist() == [True, True, False]

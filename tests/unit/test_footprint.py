"""Footprints: MOCs and tables of bricks, the seams of the sky, and damaged files."""

import gzip
import json
import random
import time

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from mocpy import MOC
from pyarrow import csv, parquet

from galaxymill.errors import UserError
from galaxymill.surveys.base import Target
from galaxymill.surveys.footprint import load_footprint, screen

NAMES = ("ra1", "ra2", "dec1", "dec2")


@pytest.fixture
def write_bricks(tmp_path):
    """A function that writes rows of ra1, ra2, dec1, dec2."""

    def write(*rows, suffix=".fits", names=NAMES, name="bricks"):
        columns = dict(zip(names, np.array(rows, float).reshape(-1, 4).T, strict=True))
        path = tmp_path / f"{name}{suffix}"
        if suffix.startswith(".fits"):
            labels = {"brickname": [f"{index:08d}" for index in range(len(rows))]}
            Table({**labels, **columns}).write(path, format="fits")
        elif suffix == ".parquet":
            parquet.write_table(pa.table(columns), path)
        else:
            with pa.output_stream(path, compression="gzip" if ".gz" in suffix else None) as out:
                csv.write_csv(pa.table(columns), out)
        return path

    return write


@pytest.fixture(scope="module")
def moc():
    cones = [
        MOC.from_cone(ra * u.deg, dec * u.deg, radius=2 * u.deg, max_depth=9)
        for ra, dec in ((0, 0), (150, 2), (10, 90), (200, -89))
    ]
    return cones[0].union(*cones[1:])


def inside(path, *places):
    ra, dec = np.array(places, float).T
    return load_footprint(path)(ra, dec).tolist()


def test_bricks_may_be_in_another_unit(write_bricks):
    path = write_bricks(np.radians((10, 20, -5, 5)))
    for name in NAMES:
        fits.setval(path, f"TUNIT{NAMES.index(name) + 2}", value="rad", ext=1)
    assert inside(path, (15, 0), (0.2, 0)) == [True, False]


@pytest.mark.parametrize("kind", ["fits", "json"])
def test_a_moc_is_a_cone_on_the_sky(moc, tmp_path, kind):
    """Compared with angular distances by astropy, away from the edge's pixels."""
    path = tmp_path / f"moc.{kind}"
    moc.save(path, kind)
    rng = np.random.default_rng(1)
    ra = np.concatenate([rng.uniform(0, 360, 3000), [0, 360, 359.999, 0.001, 150]])
    dec = np.concatenate([rng.uniform(-90, 90, 3000), [0, 0, 0, 90, 2]])
    places = SkyCoord(ra, dec, unit="deg")
    centres = SkyCoord([0, 150, 10, 200], [0, 2, 90, -89], unit="deg")
    distance = places[:, None].separation(centres[None]).deg.min(axis=1)
    clear = np.abs(distance - 2) > 0.3
    found = load_footprint(path)(ra, dec)
    assert (found[clear] == (distance < 2)[clear]).all()
    assert found[-5:].all()


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("names", [NAMES, tuple(name.upper() for name in NAMES)])
def test_bricks_of_every_kind(write_bricks, suffix, names):
    path = write_bricks((10, 11, 4, 5), (11, 12, 5, 6), suffix=suffix, names=names)
    places = [(10.5, 4.5), (11.5, 5.5), (10.5, 5.5), (11.5, 4.5), (10, 4), (11, 4), (10.5, 5)]
    assert inside(path, *places) == [True, True, False, False, True, False, False]


def test_bricks_over_ra_zero(write_bricks):
    wide = write_bricks((359, 1, 0, 1), name="wide")
    negative = write_bricks((-1, 1, 0, 1), name="negative")
    beyond = write_bricks((359, 361, 0, 1), name="beyond")
    places = [(ra, 0.5) for ra in (358.9, 359, 359.99, 0, 360, 0.99, 1, 180)]
    for path in (wide, negative, beyond):
        assert inside(path, *places) == [False, True, True, True, True, True, False, False]


def test_bricks_at_the_poles(write_bricks):
    path = write_bricks((0, 360, 89.75, 90), (0, 180, -90, -89))
    places = [(0, 90), (123, 89.8), (360, 89.8), (0, 89.7), (90, -90), (179, -89.5), (181, -89.5)]
    assert inside(path, *places) == [True, True, True, False, True, True, False]


def test_bricks_that_overlap_are_their_union(write_bricks):
    """Compared with every rectangle looked at by itself."""
    rng = np.random.default_rng(3)
    ra1, dec1 = rng.uniform(0, 360, 60), rng.uniform(-90, 80, 60)
    ra2, dec2 = (ra1 + rng.uniform(1, 60, 60)) % 360, dec1 + rng.uniform(0.1, 10, 60)
    path = write_bricks(*np.stack([ra1, ra2, dec1, dec2], axis=1))
    ra, dec = rng.uniform(0, 360, 4000), rng.uniform(-90, 90, 4000)
    west, east = ra[:, None] >= ra1, ra[:, None] < ra2
    in_ra = np.where(ra1 < ra2, west & east, west | east)
    expected = (in_ra & (dec[:, None] >= dec1) & (dec[:, None] < dec2)).any(axis=1)
    assert 0.1 < expected.mean() < 0.9
    assert (load_footprint(path)(ra, dec) == expected).all()


def test_a_survey_of_bricks_is_quick(write_bricks):
    """360,000 bricks and 100,000 galaxies, a few at a time as the stage asks."""
    edges = np.linspace(0, 360, 501)
    rows = np.arange(-90, 90, 0.25)
    ra1, dec1 = (grid.ravel() for grid in np.meshgrid(edges[:-1], rows))
    path = write_bricks(*np.stack([ra1, ra1 + 0.72, dec1, dec1 + 0.25], axis=1))
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, (400, 250)), rng.uniform(-90, 90, (400, 250))
    start = time.process_time()
    footprint = load_footprint(path)
    assert all(footprint(*some).all() for some in zip(ra, dec, strict=True))
    assert time.process_time() - start < 10


def test_screen_settles_who_is_outside_and_keeps_the_order(write_bricks):
    path = write_bricks((10, 11, 4, 5))
    targets = [Target(f"g{n}", 10 + n % 2 + 0.5, 4.5, 0.262, 32) for n in range(600)]
    items = list(screen(iter(targets), path))
    assert items[0::2] == targets[0::2]
    assert [item.target for item in items[1::2]] == targets[1::2]
    assert {(item.status, item.reason) for item in items[1::2]} == {
        ("no_coverage", "outside the footprint bricks.fits")
    }
    assert list(screen(iter(targets), None)) == targets


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([(1, 2, 5, 5)], NAMES),
        ([(1, 2, 6, 5)], NAMES),
        ([(1, 2, np.nan, 5)], NAMES),
        ([(np.nan, 2, 4, 5)], NAMES),
        ([(1, np.inf, 4, 5)], NAMES),
        ([], NAMES),
        ([(1, 2, 3, 4)], ("ra1", "ra2", "dec1", "dec")),
        ([(1, 2, 3, 4)], ("RA1", "ra2", "dec1", "dec2")),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".fits"])
def test_odd_tables_are_refused_in_one_line(write_bricks, rows, names, suffix):
    path = write_bricks(*rows, suffix=suffix, names=names)
    with pytest.raises(UserError) as caught:
        load_footprint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.fits", b""),
        ("a.fits", b"no FITS"),
        ("a.fits", b"SIMPLE  =                    T" + b" " * 6000),
        ("a.json", b""),
        ("a.json", b"null"),
        ("a.json", b"[]"),
        ("a.json", b"{}"),
        ("a.json", b'{"3": [1, 2'),
        ("a.json", b'{"99": [1]}'),
        ("a.json", b'{"3": "many"}'),
        ("a.json", b"\xff\xfe\x00"),
        ("a.json", json.dumps({"29": []}).encode()),
        ("a.csv", b"ra1,ra2\n"),
        ("a.parquet", b"PAR1"),
        ("a.txt", b"1 2 3 4"),
        ("a.fits.gz", gzip.compress(b"no FITS", mtime=0)),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_footprint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_fits_that_is_no_footprint_is_refused(tmp_path):
    path = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((9, 9)))]).writeto(path)
    with pytest.raises(UserError, match="not a MOC"):
        load_footprint(path)


@pytest.mark.parametrize("kind", ["fits", "json"])
def test_damage_anywhere_is_refused_or_harmless(moc, tmp_path, kind):
    """Whatever the bytes are, nothing but a clear refusal comes of them."""
    path = tmp_path / f"moc.{kind}"
    moc.save(path, kind)
    whole = path.read_bytes()
    rng = random.Random(1)
    refusals = []
    for _ in range(150):
        damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(min(len(damaged), rng.choice([0, 1, 20]))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load_footprint(path)(np.array([10.0]), np.array([5.0]))
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert not any("\n" in refusal for refusal in refusals)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_footprint(tmp_path / "moc.fits")

"""Fixtures of the stages' tests: small tables and cutouts."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import settings
from pyarrow import csv, parquet
from pytest_httpserver import HTTPServer

from galaxymill import products
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.web import http

settings.register_profile("galaxymill", deadline=None)
settings.load_profile("galaxymill")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DATA = np.random.default_rng(1).normal(0.01, 0.01, (3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="session")
def make_fits():
    """A function that writes a cutout as the Legacy Surveys viewer does."""

    def write(data=DATA, bands="grz", ra=150.0, dec=2.0, scale=0.262):
        # A copy: astropy swaps the bytes of what it writes, and servers share it among threads.
        hdu = fits.PrimaryHDU(data.copy())
        for axis, (kind, value, sign) in enumerate((("RA---", ra, -1), ("DEC--", dec, 1)), start=1):
            hdu.header[f"CTYPE{axis}"] = f"{kind}TAN"
            hdu.header[f"CRVAL{axis}"] = value
            hdu.header[f"CRPIX{axis}"] = (data.shape[-axis] + 1) / 2
            hdu.header[f"CD{axis}_{axis}"] = sign * scale / 3600
        hdu.header["BANDS"] = bands
        file = io.BytesIO()
        hdu.writeto(file)
        return file.getvalue()

    return write


@pytest.fixture
def short_waits(monkeypatch):
    """Tries follow each other quickly."""
    monkeypatch.setattr(http, "_WAIT_MAX_S", 0.05)


@pytest.fixture(scope="module")
def running_server():
    """A local HTTP server for a module's tests."""
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.fixture
def server(running_server):
    """The module's server, of which the test before has left nothing."""
    yield running_server
    running_server.clear()


@pytest.fixture(scope="module")
def browser():
    """A browser without a window; it is Debian's own."""
    if CHROMIUM is None:
        pytest.skip("no chromium; apt-get install chromium")
    driver = pytest.importorskip("playwright.sync_api")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def write_table(tmp_path):
    """A function that writes a user's table as .csv, .csv.gz, .parquet or .fits."""

    def write(columns, suffix=".csv", name="galaxies"):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".fits":
            Table(columns).write(path)
        elif suffix == ".parquet":
            parquet.write_table(pa.table(columns), path)
        else:
            with pa.output_stream(path, compression="gzip" if suffix == ".csv.gz" else None) as out:
                csv.write_csv(pa.table(columns), out)
        return path

    return write


@pytest.fixture
def write_tile(tmp_path):
    """A function that writes a tile of the catalogue from its rows."""

    def write(rows, optional=()):
        schema = products.objects(optional)
        plain = [{"ra": 150.0, "dec": 2.0, "_healpix_29": 0, **row} for row in rows]
        path = tmp_path / "tiles" / "g0-k0-p4.parquet"
        write_product(path, pa.Table.from_pylist(plain, schema), Origin("partition"), schema)
        return path

    return write


@pytest.fixture
def write_cutouts(tmp_path):
    """A function that writes a cutouts product from (object_id, status, payload)."""

    def write(*rows, name="g0-k0-p4"):
        plain = [
            {"object_id": key, "status": status, "payload": payload, "reason": "", "url": ""}
            for key, status, payload in rows
        ]
        table = pa.Table.from_pylist(plain, products.CUTOUTS)
        path = tmp_path / "cutouts" / f"{name}.parquet"
        write_product(path, table, Origin("fetch"), products.CUTOUTS)
        return path

    return write


@pytest.fixture
def galaxymill():
    """Run the command line in a process of its own."""

    def run(*words):
        code = "from galaxymill.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run

"""Cutouts a second, by the clock, from tiles on disk: 3×128×128 of 3 × 4000×4000."""

import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.wcs import WCS
from figures import SHORT, best_seconds, figure
from pyarrow import csv

from galaxymill import products
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services.tiles import TilesSettings
from galaxymill.web.network import Network

GALAXIES, SIDE = (20, 400) if SHORT else (2000, 4000)
SCALE = 0.262


def write_tiles(folder: Path, packed: bool) -> Path:
    """Write one brick of noise in three bands, and the table of it."""
    rng = np.random.default_rng(1)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = (SIDE + 1) / 2, (SIDE + 1) / 2
    wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
    rows = []
    for band in "grz":
        data = rng.normal(0.01, 0.01, (SIDE, SIDE)).astype(np.float32)
        image = fits.PrimaryHDU(data, wcs.to_header())
        if packed:
            image = fits.CompImageHDU(data, wcs.to_header(), tile_shape=(100, 100))
        path = f"{band}.fits{'.fz' if packed else ''}"
        image.writeto(folder / path)
        radius = SIDE * SCALE / 3600 * 0.71
        rows.append(
            dict(tile="brick", band=band, path=path, ra=150.0, dec=2.0, radius=radius)  # noqa: C408
        )
    table = folder / "tiles.csv"
    csv.write_csv(pa.Table.from_pylist(rows), table)
    return table


def write_galaxies(folder: Path) -> Path:
    """Write a partition of galaxies all over the brick."""
    rng = np.random.default_rng(2)
    reach = SIDE * SCALE / 3600 * 0.48
    schema = products.objects()
    rows = [
        {"object_id": f"g{i}", "ra": 150 + east, "dec": 2 + north, "_healpix_29": i}
        for i, (east, north) in enumerate(rng.uniform(-reach, reach, (GALAXIES, 2)))
    ]
    path = folder / "g0-k0-p0.parquet"
    write_product(path, pa.Table.from_pylist(rows, schema), Origin("partition"), schema)
    return path


def tiles() -> None:
    """Print the figures of plain and fpacked tiles: the whole stage, product included."""
    logging.getLogger("galaxymill").setLevel(logging.WARNING)
    for packed in (False, True):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            table, galaxies = write_tiles(folder, packed), write_galaxies(folder)
            settings = TilesSettings(table=table, folder=temporary, size=128, pixel_scale=SCALE)

            def fetch_all(
                galaxies: Path = galaxies, folder: Path = folder, settings: TilesSettings = settings
            ) -> None:
                """Make the product."""
                out = folder / "cutouts.parquet"
                # A product that is here would be left as it is.
                out.unlink(missing_ok=True)
                fetch(galaxies, out, "tiles", settings, Network())

            name, goal = ("fetch_tiles_fpacked", 200) if packed else ("fetch_tiles", 300)
            seconds = best_seconds(fetch_all, 3, time.perf_counter)
            figure(name, GALAXIES / seconds, "cutouts/s", at_least=goal)


if __name__ == "__main__":
    tiles()

"""The HATS catalog of a release: adaptive HEALPix tiles that LSDB opens."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.catalog.healpix import HIGHEST_ORDER, INDEX_ORDER, Pixel, count_pixels
from galaxymill.errors import UserError
from galaxymill.release.sources import Part

SKYMAP_ORDER = 8

Histogram = npt.NDArray[np.int64]


def count_galaxies(parts: Sequence[Part]) -> Histogram:
    """Count the galaxies of all partitions in each pixel of ``HIGHEST_ORDER``.

    Returns
    -------
    ndarray of int64, shape (12 · 4^HIGHEST_ORDER,)

    Raises
    ------
    UserError
        When a galaxy is outside its partition's pixel.
    """
    counts: Histogram = np.zeros(12 * 4**HIGHEST_ORDER, np.int64)
    for part in parts:
        path, place = part.files["tile"], part.partition
        with pq.ParquetFile(path, memory_map=False) as file:
            index = file.read(columns=["_healpix_29"])["_healpix_29"].to_numpy()
        low, high = Pixel(place.order, place.pixel, place.n_rows).range
        outside = int(((index < low) | (index >= high)).sum())
        if outside:
            raise UserError(
                f"{path}: {outside} galaxies outside HEALPix pixel {place.pixel} of order "
                f"{place.order}; run partition again"
            )
        counts += count_pixels(index)
    return counts


def _coarsen(counts: Histogram, order: int) -> Histogram:
    """Add up a histogram to a lower order: the children of a nested pixel follow each other."""
    coarse: Histogram = counts.reshape(12 * 4**order, -1).sum(axis=1)
    return coarse


def write_tile(folder: Path, tile: Pixel, rows: pa.Table) -> None:
    """Write the rows of one tile, sorted by ``_healpix_29``, into the catalog at ``folder``."""
    from hats.io import file_io, paths
    from hats.pixel_math.healpix_pixel import HealpixPixel

    path = paths.new_pixel_catalog_file(folder, HealpixPixel(tile.order, tile.pixel))
    pq.write_table(rows, str(path), **file_io.get_parquet_write_table_kwargs(rows.schema))


def finish_catalog(folder: Path, name: str, tiles: Sequence[Pixel], counts: Histogram) -> None:
    """Write what turns the tiles at ``folder`` into a catalog: metadata, maps, properties.

    Parameters
    ----------
    folder : Path
        The catalog.
    name : str
        Name of the release.
    tiles : sequence of Pixel
        Those that were written.
    counts : ndarray
        From `count_galaxies`.
    """
    from hats.catalog.partition_info import PartitionInfo
    from hats.io import file_io, paths
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.io.skymap import write_skymap
    from hats.pixel_math.healpix_pixel import HealpixPixel

    pixels = [HealpixPixel(tile.order, tile.pixel) for tile in tiles]
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=folder)
    write_parquet_metadata(folder, create_thumbnail=True, create_per_partition_stats=True)
    order = max(SKYMAP_ORDER, *(tile.order for tile in tiles))
    skymap = _coarsen(counts, order)
    file_io.write_fits_image(skymap, paths.get_point_map_file_pointer(folder))
    write_skymap(skymap, folder)
    covered = float(f"{np.mean(skymap > 0):.5g}")
    _write_properties(folder, name, tiles, order, covered)


def _write_properties(
    folder: Path, name: str, tiles: Sequence[Pixel], skymap_order: int, covered: float
) -> None:
    from hats.catalog.dataset.table_properties import TableProperties

    made = TableProperties.new_provenance_dict(folder, f"galaxymill v{version('galaxymill')}")
    # A release made again from the same inputs is the same, byte by byte.
    del made["hats_creation_date"]
    properties = TableProperties(
        catalog_name=name,
        catalog_type="object",
        total_rows=sum(tile.rows for tile in tiles),
        ra_column="ra",
        dec_column="dec",
        healpix_column="_healpix_29",
        healpix_order=INDEX_ORDER,
        skymap_order=skymap_order,
        moc_sky_fraction=covered,
        hats_order=max(tile.order for tile in tiles),
        hats_max_rows=max(tile.rows for tile in tiles),
        **made,
    )
    properties.to_properties_file(folder)

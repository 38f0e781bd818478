"""The HATS collection of a release: adaptive HEALPix tiles that LSDB opens, and their margin."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.release.tables.margin import Margin
from galaxymill.sky.healpix import INDEX_ORDER, Pixel, count_pixels

SKYMAP_ORDER = 8

Histogram = npt.NDArray[np.int64]


class Collection:
    """Writes a HATS collection: `add` all its tiles in the order of the sky, then `finish` it.

    Galaxies within ``margin_arcsec`` of a tile are in its margin: cross-matches need them.
    """

    def __init__(
        self, folder: Path, name: str, tiles: Sequence[Pixel], margin_arcsec: float
    ) -> None:
        self._folder, self._name, self._tiles = folder, name, tiles
        self._margin = Margin(tiles, margin_arcsec)
        self._arcsec = margin_arcsec

    def add(self, tile: Pixel, rows: pa.Table) -> None:
        """Write the rows of one tile, sorted by ``_healpix_29``."""
        _write_tile(self._folder / self._name, tile, rows)
        self._margin.add(tile, rows)

    def finish(self, counts: Histogram, default_columns: Sequence[str]) -> None:
        """Write margin, metadata, maps and properties.

        Parameters
        ----------
        counts : ndarray
            Galaxies in each nested pixel of ``HIGHEST_ORDER``.
        default_columns : sequence of str
            Those that readers load unless they ask for others.
        """
        more: dict[str, Any] = {"default_columns": list(default_columns)}
        _finish(self._folder / self._name, self._name, self._tiles, counts, "object", more)
        margin = f"{self._name}_{self._arcsec:g}arcs"
        found = self._margin.tables()
        for tile, rows in found.items():
            _write_tile(self._folder / margin, tile, rows)
        if found:
            index = [rows["_healpix_29"].to_numpy() for rows in found.values()]
            more |= {"primary_catalog": self._name, "margin_threshold": self._arcsec}
            inside = count_pixels(np.concatenate(index))
            _finish(self._folder / margin, margin, list(found), inside, "margin", more)
        from hats.catalog.dataset.collection_properties import CollectionProperties

        properties = CollectionProperties(
            name=self._name,
            hats_primary_table_url=self._name,
            all_margins=[margin] if found else None,
            default_margin=margin if found else None,
            **_made_by(self._folder),
        )
        properties.to_properties_file(self._folder)


def _write_tile(folder: Path, tile: Pixel, rows: pa.Table) -> None:
    from hats.io import file_io, paths
    from hats.pixel_math.healpix_pixel import HealpixPixel

    path = paths.new_pixel_catalog_file(folder, HealpixPixel(tile.order, tile.pixel))
    settings = file_io.get_parquet_write_table_kwargs(rows.schema)
    # hats' own choice, zstd at level 15, takes thirty times as long to save a tenth.
    del settings["compression_level"]
    pq.write_table(rows, str(path), **settings | {"compression": "snappy"})


def _finish(
    folder: Path,
    name: str,
    tiles: Sequence[Pixel],
    counts: Histogram,
    kind: str,
    more: Mapping[str, Any],
) -> None:
    from hats.catalog.dataset.table_properties import TableProperties
    from hats.catalog.partition_info import PartitionInfo
    from hats.io import file_io, paths
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.io.skymap import write_skymap
    from hats.pixel_math.healpix_pixel import HealpixPixel

    pixels = [HealpixPixel(tile.order, tile.pixel) for tile in tiles]
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=folder)
    write_parquet_metadata(folder, create_thumbnail=True, create_per_partition_stats=True)
    order = max(SKYMAP_ORDER, *(tile.order for tile in tiles))
    # The children of a nested pixel follow each other.
    skymap: Histogram = counts.reshape(12 * 4**order, -1).sum(axis=1)
    file_io.write_fits_image(skymap, paths.get_point_map_file_pointer(folder))
    write_skymap(skymap, folder)
    properties = TableProperties(
        catalog_name=name,
        catalog_type=kind,
        total_rows=sum(tile.rows for tile in tiles),
        ra_column="ra",
        dec_column="dec",
        healpix_column="_healpix_29",
        healpix_order=INDEX_ORDER,
        hats_order=max(tile.order for tile in tiles),
        hats_max_rows=max(tile.rows for tile in tiles),
        skymap_order=order,
        moc_sky_fraction=float(f"{np.mean(skymap > 0):.5g}"),
        **more,
        **_made_by(folder),
    )
    properties.to_properties_file(folder)


def _made_by(folder: Path) -> dict[str, Any]:
    from hats.catalog.dataset.table_properties import TableProperties

    made = TableProperties.new_provenance_dict(folder, f"galaxymill v{version('galaxymill')}")
    # A release made again from the same inputs is the same, byte by byte.
    del made["hats_creation_date"]
    return dict(made)

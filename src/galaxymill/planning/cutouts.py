"""Count the galaxies, requests and bytes of fetching a survey."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxymill.catalog.partition import part_files
from galaxymill.storage.parquet import open_parquet
from galaxymill.surveys.base import ServiceSettings
from galaxymill.surveys.footprint import Footprint, load_footprint
from galaxymill.surveys.pixel_scale import RADII, cutout_sizes, require_columns


@dataclass
class Fetching:
    """What fetching a survey needs.

    Attributes
    ----------
    galaxies, inside : int
        In the catalogue, and of these, on the footprint.
    requests : int
    payload_bytes : int
        Of uncompressed pixels, an upper bound.
    """

    galaxies: int = 0
    inside: int = 0
    requests: int = 0
    payload_bytes: int = 0


def count_cutouts(partitions: Path, settings: ServiceSettings) -> Fetching:
    """Count what fetching the partitions of a table needs.

    Raises
    ------
    UserError
        When there is no such table, or a tile has no radii and its cutouts' sizes need them.
    """
    region = load_footprint(settings.footprint) if settings.footprint else None
    total = Fetching()
    for tile in part_files(partitions, partitions.parent / "tiles"):
        _count(tile, settings, region, total)
    return total


def _count(
    tile: Path, settings: ServiceSettings, region: Footprint | None, total: Fetching
) -> None:
    by_radius = settings.pixel_scale == "gz_decals"
    columns = (["ra", "dec"] if region else []) + (RADII if by_radius else [])
    with open_parquet(tile) as file:
        require_columns(tile, file.schema_arrow.names, settings)
        rows = file.read(columns=columns)
    inside = np.ones(rows.num_rows, bool)
    if region is not None:
        inside = region(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    number = int(inside.sum())
    total.galaxies += rows.num_rows
    total.inside += number
    total.requests += settings.requests(number)
    if by_radius:
        total.payload_bytes += _bytes_by_radius(rows.filter(pa.array(inside)), settings)
    else:
        total.payload_bytes += number * settings.payload_bytes(settings.size)


def _bytes_by_radius(rows: pa.Table, settings: ServiceSettings) -> int:
    """Bytes of cutouts whose sizes follow the galaxies' radii."""
    r50, r90 = (rows[name].cast(pa.float64()).to_numpy() for name in RADII)
    sizes, counts = np.unique(cutout_sizes(r50, r90, settings), return_counts=True)
    each = map(settings.payload_bytes, sizes.tolist())
    return sum(one * count for one, count in zip(each, counts.tolist(), strict=True))

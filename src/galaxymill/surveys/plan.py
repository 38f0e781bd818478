"""What a survey will cost, counted before anything is asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from galaxymill.catalog.partition import part_files, read_partitions
from galaxymill.surveys.base import Network, ServiceSettings
from galaxymill.surveys.footprint import Footprint, load_footprint
from galaxymill.surveys.pixel_scale import RADII, pixel_scale_and_size, require_radii


@dataclass
class _Counts:
    galaxies: int = 0
    asked: int = 0
    bytes: int = 0
    requests: int = 0


def plan(partitions: Path, service: str, settings: ServiceSettings, network: Network) -> str:
    """Count a survey's partitions, requests, bytes and hours.

    Parameters
    ----------
    partitions : Path
        ``partitions.csv``.
    service : str
        A name of `galaxymill.surveys.registry.SERVICES`.
    settings : ServiceSettings
        Of that service.
    network : Network
        The rate the hours are counted at; those of all jobs together.

    Returns
    -------
    str
        A table for people, one line a figure. Galaxies outside the footprint need no request.
        Bytes are those of uncompressed pixels, an upper bound.
    """
    tiles = read_partitions(partitions)
    largest = max((tile.n_rows for tile in tiles), default=0)
    region = load_footprint(settings.footprint) if settings.footprint else None
    counts = _Counts()
    for path in part_files(partitions, partitions.parent / "tiles"):
        _count(path, settings, region, counts)
    lines = [
        ("partitions", f"{len(tiles):,}"),
        ("jobs", f"{3 * len(tiles):,} (fetch, render and predict, each once a partition)"),
        ("galaxies", f"{counts.galaxies:,} (at most {largest:,} a partition)"),
    ]
    if region is not None:
        outside = counts.galaxies - counts.asked
        lines.append(("outside", f"{outside:,} galaxies are off the footprint: not asked for"))
    lines.append(("bytes", f"at most {_bytes(counts.bytes)}"))
    if settings.host:
        pace = f"at {network.requests_per_second:g} requests/s"
        seconds = counts.requests / network.requests_per_second
        lines += [
            ("requests", f"{counts.requests:,} to {settings.host}"),
            ("time", f"{_duration(seconds)} {pace}"),
        ]
    else:
        lines.append(("requests", f"none leaves this machine ({service})"))
    return "\n".join(f"{name:<11}{value}" for name, value in lines)


def _count(
    tile: Path, settings: ServiceSettings, region: Footprint | None, counts: _Counts
) -> None:
    by_radius = settings.pixel_scale == "gz_decals"
    require_radii(tile, set(pq.read_schema(tile).names), settings)
    columns = (["ra", "dec"] if region else []) + (RADII if by_radius else [])
    rows = pq.read_table(tile, columns=columns)
    inside = np.ones(rows.num_rows, bool)
    if region is not None:
        inside = region.contains(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    asked = int(inside.sum())
    counts.galaxies += rows.num_rows
    counts.asked += asked
    counts.requests += settings.requests(asked)
    if by_radius:
        radii = rows.select(RADII).filter(inside).to_pylist()
        sizes = [pixel_scale_and_size(row[RADII[0]], row[RADII[1]], settings)[1] for row in radii]
        counts.bytes += sum(map(settings.payload_bytes, sizes))
    else:
        counts.bytes += asked * settings.payload_bytes(settings.size)


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"

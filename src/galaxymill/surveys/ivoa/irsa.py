"""Which MER mosaics lie where: regions to ask IRSA's SIA2 service for, and its answers' rows."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.votable import text

BANDS = ("VIS", "Y", "J", "H", "u", "g", "r", "i", "z")
_NAME = re.compile(
    r"EUC_MER_BGSUB-MOSAIC-([A-Za-z-]+)_TILE(\d+)\b(?:[\w.-]*?_(\d{8}T[\d.]+Z))?[\w.-]*\.fits"
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Listed:
    """A background-subtracted mosaic that the SIA2 service lists.

    ``band`` may be none of ``BANDS``; ``tile`` is a number; ``created`` sorts by time, and is empty
    when the file's name does not hold it.
    """

    name: str
    band: str
    tile: str
    created: str
    url: str


def cells(targets: Iterable[Target], cell_deg: float) -> Iterator[list[Target]]:
    """Group galaxies by squares of the sky of about this side, in degrees."""
    groups: dict[tuple[int, int], list[Target]] = defaultdict(list)
    for target in targets:
        row = math.floor(target.dec / cell_deg)
        along = target.ra * math.cos(math.radians(row * cell_deg))
        groups[row, math.floor(along / cell_deg)].append(target)
    yield from groups.values()


def circle(targets: list[Target]) -> tuple[float, float, float]:
    """Give a circle around the fields of galaxies near each other: ra, dec, radius in degrees."""
    from astropy.coordinates import SkyCoord

    places = SkyCoord([t.ra for t in targets], [t.dec for t in targets], unit="deg")
    middle = SkyCoord(places.cartesian.mean(), frame="icrs")
    field_deg = max(target.size * target.pixel_scale for target in targets) * math.sqrt(0.5) / 3600
    radius = places.separation(middle).max().deg + field_deg
    return float(middle.spherical.lon.deg), float(middle.spherical.lat.deg), float(radius)


def by_tile(
    rows: Iterable[Mapping[str, Any]], bands: Sequence[str], s3: str | None
) -> dict[str, dict[str, Listed]]:
    """Find the newest mosaic of each tile, by its number, in each of ``bands``.

    ``rows`` are those of an SIA2 answer; ``s3`` is the address of a bucket, with ``{bucket}`` for
    its name, or None for the files at IRSA.
    """
    found: dict[str, dict[str, Listed]] = defaultdict(dict)
    mosaics = [one for row in rows if (one := _listed(row, s3)) and one.band in bands]
    # The bands in their order; of one band the newest is the last.
    for one in sorted(mosaics, key=lambda one: (bands.index(one.band), one.created, one.name)):
        found[one.tile][one.band] = one
    return found


def _listed(row: Mapping[str, Any], s3: str | None) -> Listed | None:
    """Read one row of an SIA2 answer; None for what is no background-subtracted mosaic."""
    bucket, key = _cloud(text(row.get("cloud_access")))
    url = text(row.get("access_url"))
    name = (key or url).split("?")[0].rpartition("/")[2]
    parts = _NAME.fullmatch(name)
    if parts is None or text(row.get("dataproduct_subtype")) not in ("", "science"):
        return None
    if s3 is not None:
        # The name becomes part of a host: it comes from outside.
        if not _BUCKET.fullmatch(bucket):
            return None
        url = f"{s3.replace('{bucket}', bucket)}/{quote(key.lstrip('/'))}"
    elif not url.startswith(("http://", "https://")):
        return None
    band = _band(text(row.get("energy_bandpassname")) or parts[1])
    return Listed(name, band, parts[2], parts[3] or "", url)


def _cloud(value: str) -> tuple[str, str]:
    """Bucket and key of a ``cloud_access`` value; empty when it has none."""
    try:
        place = json.loads(value)["aws"]
        return str(place["bucket_name"]), str(place["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def _band(name: str) -> str:
    """Euclid's names of bands: VIS; Y, NIR_Y and NIR-Y; g, DECAM_g and DES-G."""
    band = re.split(r"[_-]", name)[-1]
    return band if band in BANDS else band.lower()

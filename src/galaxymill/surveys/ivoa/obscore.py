"""Images of an archive as rows of ObsCore: which are looked for, and which one is cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from galaxymill.sky.angles import offsets_deg
from galaxymill.surveys.base import Target

if TYPE_CHECKING:
    from galaxymill.surveys.services.sia import SiaSettings

WAVELENGTHS = {
    "u": 365e-9,
    "g": 480e-9,
    "r": 622e-9,
    "i": 754e-9,
    "z": 880e-9,
    "y": 970e-9,
    "Y": 1020e-9,
    "J": 1250e-9,
    "H": 1640e-9,
    "K": 2200e-9,
    "VIS": 720e-9,
}
"""Wavelengths in metres that lie inside the band of that name in every survey."""
COLUMNS = (
    "obs_collection",
    "obs_publisher_did",
    "access_url",
    "access_format",
    "access_estsize",
    "s_ra",
    "s_dec",
    "em_min",
    "em_max",
)


@dataclass(frozen=True)
class Dataset:
    """One image of the archive, as a row of ObsCore describes it.

    ``did`` is its identifier, ``access_url`` leads to the image or to its DataLink, and
    ``links_url`` to the DataLink where there is one. The centre is in degrees, the band's edges
    in metres; ``band`` is the value of the column that names it. What is unknown is empty or NaN.
    """

    did: str
    access_url: str
    access_format: str
    links_url: str = ""
    ra: float = float("nan")
    dec: float = float("nan")
    em_min: float = float("nan")
    em_max: float = float("nan")
    band: str = ""
    kilobytes: float = float("nan")
    collection: str = ""

    @property
    def file_url(self) -> str:
        """Address of the file itself; empty when it is unknown."""
        return self.access_url if "fits" in self.access_format.lower() else ""

    @property
    def linked_id(self) -> str:
        """The identifier that the address of its DataLink asks for."""
        query = parse_qsl(urlsplit(self.links_url).query)
        return next((value for name, value in query if name.upper() == "ID"), "")


def adql(settings: "SiaSettings", anywhere: bool = False) -> str:
    """Write the join of uploaded galaxies with the archive's images, or a query for any image."""
    columns = [*COLUMNS, *([settings.band_column] if settings.band_column else [])]
    conditions = ["o.dataproduct_type = 'image'"]
    if settings.collection:
        conditions.append(f"o.obs_collection = {_quoted(settings.collection)}")
    if settings.calib_level is not None:
        conditions.append(f"o.calib_level = {settings.calib_level}")
    if settings.band_column:
        names = ", ".join(map(_quoted, settings.bands))
        conditions.append(f"o.{settings.band_column} IN ({names})")
    else:
        metres = [f"{WAVELENGTHS[band]:.4g}" for band in settings.bands]
        inside = (f"(o.em_min <= {m} AND o.em_max >= {m})" for m in metres)
        conditions.append(f"({' OR '.join(inside)})")
    if settings.where:
        conditions.append(f"({settings.where})")
    where = f"WHERE {' AND '.join(conditions)}"
    if anywhere:
        return f"SELECT TOP 1 o.access_url FROM {settings.obscore} AS o {where}"
    return (
        f"SELECT t.object_id, {', '.join(f'o.{name}' for name in columns)} "
        f"FROM TAP_UPLOAD.galaxies AS t JOIN {settings.obscore} AS o "
        f"ON CONTAINS(POINT('ICRS', t.ra, t.dec), o.s_region) = 1 {where}"
    )


def bands_of(settings: "SiaSettings", datasets: Sequence[Dataset]) -> str:
    """Name the bands that images are of, as far as that is known."""
    if settings.band_column:
        return ", ".join(sorted({one.band for one in datasets}))
    edges = {(one.em_min * 1e9, one.em_max * 1e9) for one in datasets}
    return ", ".join(f"{low:.0f} to {high:.0f} nm" for low, high in sorted(edges))


def choose(
    settings: "SiaSettings", datasets: Sequence[Dataset], target: Target, band: str
) -> Dataset | None:
    """Choose one image of a band: the best-matching filter, then the nearest centre, then id."""
    # Without a meaning where a column names the bands.
    wavelength = WAVELENGTHS.get(band, 0.0)

    def rank(one: Dataset) -> tuple[int, float, str, str]:
        middle = (one.em_min + one.em_max) / 2
        off_nm = 0 if settings.band_column else round(abs(middle - wavelength) * 1e9)
        far = math.hypot(*offsets_deg(one.ra, one.dec, target.ra, target.dec))
        return off_nm, far if math.isfinite(far) else math.inf, one.did, one.access_url

    if settings.band_column:
        fitting = [one for one in datasets if one.band == band]
    else:
        fitting = [one for one in datasets if one.em_min <= wavelength <= one.em_max]
    return min(fitting, key=rank, default=None)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

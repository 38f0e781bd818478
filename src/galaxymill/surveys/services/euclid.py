"""Service ``euclid``: cutouts of the Euclid Q1 MER mosaics, cut here out of the files at IRSA.

IRSA's SIA2 service lists the mosaics; of those, only the rows around the galaxies are read, by
ranges, from the public copy on S3. Galaxies are taken tile by tile and upwards on each, so that
a mosaic is opened once and rows are shared. On two overlapping tiles a galaxy is cut from the one
whose edge is farther away.

It cannot join two tiles: a field that reaches beyond the edge of the better one is ``partial``.
It does not resample: a field of another pixel scale is cut on the mosaics' own 0.1 arcsec. RMS
and flag maps are not read. Rows are shared while those of one galaxy's height, over all bands,
stay below 128 MB: 256 pixels in four bands, 500 in two.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import numpy as np
from pydantic import Field

from galaxymill.decoding.decode import PayloadError
from galaxymill.settings import Names
from galaxymill.surveys.base import Cutout, PixelScale, Target
from galaxymill.surveys.ivoa.votable import (
    ArchiveError,
    asking,
    overflows,
    require_images,
    rows_of,
    session,
    sia2,
    text,
)
from galaxymill.surveys.mosaics.mosaic import Mosaic, cut, zero_point_factor
from galaxymill.surveys.mosaics.native import NativeSettings, assemble, native_scale
from galaxymill.surveys.mosaics.range_reader import BlockCache, RangeFile, Unreadable, requests_for
from galaxymill.surveys.mosaics.tile_image import TileImage
from galaxymill.surveys.per_galaxy import HttpService
from galaxymill.web.http import Http
from galaxymill.web.network import Network, Url

_BANDS = ("VIS", "Y", "J", "H", "u", "g", "r", "i", "z")
_NAME = re.compile(
    r"EUC_MER_BGSUB-MOSAIC-([A-Za-z-]+)_TILE(\d+)\b(?:[\w.-]*?_(\d{8}T[\d.]+Z))?[\w.-]*\.fits"
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ROW_BYTES = 19200 * 4
_MAX_SIDE = 100_000
_CACHE_BYTES = 128_000_000
_ANSWER_BYTES = 20_000_000
_CELL_DEG = 0.5
_LEAST_CELL_DEG = 0.01
_GRID_TOLERANCE_PIXELS = 0.1


class EuclidSettings(NativeSettings):
    """Settings of the service ``euclid``."""

    operational: ClassVar[frozenset[str]] = NativeSettings.operational | {"s3", "source"}
    native_pixel_scale: ClassVar[float] = 0.1
    known_bands: ClassVar[frozenset[str]] = frozenset(_BANDS)

    pixel_scale: PixelScale = native_scale(0.1)
    bands: Names = Field(
        ("VIS", "Y"), min_length=1, description=f"bands of the MER mosaics: {', '.join(_BANDS)}"
    )
    collection: str = Field(
        "euclid_DpdMerBksMosaic", pattern=r"^\w+$", description="SIA2 collection of the mosaics"
    )
    mosaic_zero_point: float | None = Field(
        None,
        gt=0,
        lt=60,
        description="AB zero point of mosaics whose header has no MAGZERO; without it those are "
        "not used",
    )
    server: Url = Field("https://irsa.ipac.caltech.edu/SIA", description="SIA2 service")
    source: Literal["s3", "irsa"] = Field(
        "s3", description="read the public copy on S3, or IRSA's own files"
    )
    s3: Url = Field(
        "https://{bucket}.s3.amazonaws.com",
        description="address of a bucket on S3; {bucket} stands for its name",
    )

    def requests(self, galaxies: int) -> int:
        """Count the range requests of so many galaxies that share no rows."""
        rows = self._native_size(self.size)
        return galaxies * len(self.bands) * requests_for(rows, _ROW_BYTES)


@dataclass(frozen=True)
class _MerFile:
    """A background-subtracted mosaic that the SIA2 service lists; ``created`` sorts by time."""

    name: str
    band: str
    tile: str
    created: str
    url: str


class _Tile:
    """The mosaics of one tile, each opened at most once."""

    def __init__(
        self, listed: Mapping[str, _MerFile], http: Http, zero_point: float | None
    ) -> None:
        self.listed = listed
        self.name = next(iter(listed.values())).name
        self._http, self._zero_point = http, zero_point
        self._cache = BlockCache(_CACHE_BYTES)
        self._opened: dict[str, Mosaic | Unreadable] = {}

    def mosaics(self) -> dict[str, Mosaic]:
        """All bands, on the same pixels; raises Unreadable."""
        mosaics = {band: self.mosaic(band) for band in self.listed}
        first = next(iter(mosaics))
        for band, mosaic in mosaics.items():
            if not _same_pixels(mosaics[first], mosaic):
                raise Unreadable("invalid", f"band {band} is not on the pixels of {first}")
        return mosaics

    def mosaic(self, band: str = "") -> Mosaic:
        """One band, by default the first; raises Unreadable, then without asking again."""
        band = band or next(iter(self.listed))
        if band not in self._opened:
            listed = self.listed[band]
            name = f"mosaic {listed.name}"
            try:
                file = RangeFile(self._http, listed.url, self._cache)
                self._opened[band] = self._calibrated(TileImage(file, "", name))
            except Unreadable as error:
                reason = f"{name}: {error.reason}"
                self._opened[band] = Unreadable(error.status, reason, error.http_status)
            except PayloadError as error:
                self._opened[band] = Unreadable("invalid", str(error), 206)
        mosaic = self._opened[band]
        if isinstance(mosaic, Unreadable):
            raise mosaic
        return mosaic

    def _calibrated(self, image: TileImage) -> Mosaic:
        if max(image.shape) > _MAX_SIDE:
            raise Unreadable("invalid", f"FITS axes {image.shape} are not those of a mosaic")
        try:
            zero_point = float(image.header.get("MAGZERO", self._zero_point or np.nan))
            mosaic = Mosaic(image, image.header, zero_point_factor(zero_point))
            # All that is used later: what a header from outside makes of it is caught here.
            place = mosaic.pixel(*mosaic.wcs.all_pix2world(0, 0, 0))
            numbers = [*place, 1 / mosaic.pixel_scale, len(mosaic.wcs_header)]
        except Exception as error:
            raise Unreadable("invalid", f"unusable header ({type(error).__name__})") from error
        if not (np.isfinite(numbers).all() and 0 < zero_point < 60):
            raise Unreadable("invalid", "no usable WCS, or no MAGZERO: give mosaic_zero_point")
        return mosaic


class EuclidService(HttpService):
    """Find the mosaics by SIA2, and cut the galaxies out of them tile by tile."""

    _settings: EuclidSettings

    def __init__(self, settings: EuclidSettings, network: Network) -> None:
        super().__init__(settings, network, max_bytes=_ANSWER_BYTES)
        self._query = partial(sia2, settings.server, session(self._http), settings.collection)
        self._seen = False
        self._tiles: dict[str, _Tile] = {}

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, tile by tile."""
        on_tile: dict[str, list[tuple[float, Target]]] = defaultdict(list)
        for cell in _cells(targets, _CELL_DEG):
            for target, candidates in self._find(cell, _CELL_DEG):
                try:
                    number, y = _best_tile(target, candidates)
                    on_tile[number].append((y, target))
                except Unreadable as error:
                    yield _no_cutout(target, error)
        for number, members in on_tile.items():
            upwards = [target for _, target in sorted(members, key=lambda member: member[0])]
            yield from self._cut(self._tiles.pop(number), upwards)

    def _find(
        self, cell: list[Target], cell_deg: float
    ) -> Iterator[tuple[Target, dict[str, _Tile] | Unreadable]]:
        """Yield each galaxy of a cell with the tiles that lie there."""
        found: dict[str, _Tile] | Unreadable | None
        try:
            found = self._look_up(cell)
        except ArchiveError as error:
            found = Unreadable("failed", str(error), error.http_status)
        if found is None and cell_deg > _LEAST_CELL_DEG:
            for part in _cells(cell, cell_deg / 4):
                yield from self._find(part, cell_deg / 4)
            return
        if found is None:
            found = Unreadable("failed", "SIA2: more mosaics than the service lists at once", 200)
        for target in cell:
            yield target, found

    def _look_up(self, cell: list[Target]) -> dict[str, _Tile] | None:
        """Ask once for the tiles around some galaxies; None when there are too many to list."""
        settings = self._settings
        with asking("SIA2"):
            results = self._query(pos=_circle(cell)).execute()
            if overflows(results):
                return None
            rows = list(rows_of(results))
        if not rows and not self._seen:
            require_images(self._query(maxrec=1), settings.collection)
        self._seen = True
        s3 = settings.s3 if settings.source == "s3" else None
        found = _by_tile(rows, settings.bands, s3)
        for number in found.keys() - self._tiles.keys():
            tile = _Tile(found[number], self._http, settings.mosaic_zero_point)
            self._tiles[number] = tile
        return {number: self._tiles[number] for number in found}

    def _cut(self, tile: _Tile, targets: list[Target]) -> Iterator[Cutout]:
        try:
            mosaics = tile.mosaics()
        except Unreadable as error:
            for target in targets:
                yield _no_cutout(target, error, tile.name)
            return
        _, bytes_each = self._settings.largest(targets)
        yield from self._http.map_bounded(
            partial(self._cutout, tile.name, mosaics), targets, bytes_each
        )

    def _cutout(self, name: str, mosaics: Mapping[str, Mosaic], target: Target) -> Cutout:
        native = self._settings.native(target)
        try:
            if reason := self._settings.too_large(target):
                raise Unreadable("invalid", reason)
            cuts = {band: cut(mosaic, target, native.size) for band, mosaic in mosaics.items()}
            planes = {band: plane for band, plane in cuts.items() if plane is not None}
            if not planes:
                raise Unreadable("no_coverage", "outside every mosaic")
        except Unreadable as error:
            return _no_cutout(target, error, name)
        except PayloadError as error:
            return _no_cutout(target, Unreadable("invalid", str(error), 206), name)
        payload, verdict = assemble(planes, self._settings.bands, native)
        when = datetime.now(UTC)
        return Cutout(target, verdict.status, payload, 206, verdict.reason, f"/{name}", when)


def _no_cutout(target: Target, why: Unreadable, name: str = "") -> Cutout:
    url, now = f"/{name}" if name else "", datetime.now(UTC)
    return Cutout(target, why.status, None, why.http_status, why.reason, url, now)


def _best_tile(target: Target, tiles: Mapping[str, _Tile] | Unreadable) -> tuple[str, float]:
    """Choose the tile whose edge is farthest from a galaxy; return its number and the galaxy's y.

    Where a galaxy's field lies whole on several, the one with more bands comes first. Raises
    Unreadable when there is none, or when it might be one that cannot be opened.
    """
    if isinstance(tiles, Unreadable):
        raise tiles
    places = []
    unreadable: Unreadable | None = None
    for number, tile in tiles.items():
        try:
            mosaic = tile.mosaic()
        except Unreadable as error:
            unreadable = error
            continue
        x, y = mosaic.pixel(target.ra, target.dec)
        height, width = mosaic.data.shape
        margin = min(x + 0.5, y + 0.5, width - 0.5 - x, height - 0.5 - y)
        half = mosaic.size_of(target) / 2
        if margin > -half:
            places.append((margin >= half, len(tile.listed), margin, number, y))
    if places and (max(places)[0] or unreadable is None):
        *_, number, y = max(places)
        return number, y
    raise unreadable or Unreadable("no_coverage", "no mosaic here", 200)


def _same_pixels(first: Mosaic, other: Mosaic) -> bool:
    """Whether two mosaics have the same pixels on the sky, by their corners."""
    if other is first:
        return True
    height, width = first.data.shape
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    back = other.wcs.all_world2pix(first.wcs.all_pix2world(corners, 0), 0, quiet=True)
    together = bool(np.all(np.abs(back - corners) < _GRID_TOLERANCE_PIXELS))
    return first.data.shape == other.data.shape and together


def _cells(targets: Iterable[Target], cell_deg: float) -> Iterator[list[Target]]:
    """Group galaxies by squares of the sky of about this side, in degrees."""
    groups: dict[tuple[int, int], list[Target]] = defaultdict(list)
    for target in targets:
        row = math.floor(target.dec / cell_deg)
        along = target.ra * math.cos(math.radians(row * cell_deg))
        groups[row, math.floor(along / cell_deg)].append(target)
    yield from groups.values()


def _circle(targets: list[Target]) -> tuple[float, float, float]:
    """Find a circle around the fields of galaxies near each other: ra, dec, radius in degrees."""
    from astropy.coordinates import SkyCoord

    places = SkyCoord([t.ra for t in targets], [t.dec for t in targets], unit="deg")
    middle = SkyCoord(places.cartesian.mean(), frame="icrs")
    field_deg = max(target.size * target.pixel_scale for target in targets) * math.sqrt(0.5) / 3600
    radius = places.separation(middle).max().deg + field_deg
    return float(middle.spherical.lon.deg), float(middle.spherical.lat.deg), float(radius)


def _by_tile(
    rows: Iterable[Mapping[str, Any]], bands: Sequence[str], s3: str | None
) -> dict[str, dict[str, _MerFile]]:
    """Find the newest mosaic of each tile, by its number, in each of ``bands``.

    ``s3`` is the address of a bucket, with ``{bucket}`` for its name; None for the files at IRSA.
    """
    found: dict[str, dict[str, _MerFile]] = defaultdict(dict)
    mosaics = [one for row in rows if (one := _listed(row, s3)) and one.band in bands]
    # The bands in their order; of one band the newest is the last.
    for one in sorted(mosaics, key=lambda one: (bands.index(one.band), one.created, one.name)):
        found[one.tile][one.band] = one
    return found


def _listed(row: Mapping[str, Any], s3: str | None) -> _MerFile | None:
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
    return _MerFile(name, band, parts[2], parts[3] or "", url)


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
    return band if band in _BANDS else band.lower()

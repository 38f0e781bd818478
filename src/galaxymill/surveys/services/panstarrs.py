"""Service ``panstarrs``: stack cutouts of Pan-STARRS1 from MAST.

The names of the images are asked for many galaxies at once; then every galaxy is cut out band by
band. Where a position lies on several skycells, all bands are taken from the one with the most of
them, of equals the first that is listed: which has the galaxy best in its middle is not asked, and
none is completed from another. Images that the archive flags as bad are left out. It cannot cut
out single epochs, weights or masks.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
from pydantic import Field

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import first_image
from galaxymill.sky.angles import offsets_deg
from galaxymill.surveys.base import BATCH, Cutout, PixelScale, Target, cutout_of
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, zero_point_factor
from galaxymill.surveys.mosaics.native import NativeSettings, assemble, cut_native, native_scale
from galaxymill.surveys.per_galaxy import HttpService, fetch_bands
from galaxymill.web.answer import Answer, Verdict
from galaxymill.web.network import Url

_NAMES = "/cgi-bin/ps1filenames.py"
_CUT = "/cgi-bin/fitscut.cgi"
_TYPE = "stack"
_FILENAME = re.compile(r"/[\w./+-]+\.fits", re.ASCII)
_COLUMNS = {"projcell", "subcell", "ra", "dec", "filter", "type", "filename", "badflag"}
_ECHO_DEG = 2e-5
"""How far a listed position may be from the one that was asked for: it is printed rounded."""
_MARGIN = 4
_ZERO_POINT = 25.0
"""AB magnitude of one count a second in a stack (Waters+20, ApJS 251, 4)."""

Files = dict[str, str]
"""File name of the image by band."""


class PanstarrsSettings(NativeSettings):
    """Settings of the service ``panstarrs``."""

    native_pixel_scale: ClassVar[float] = 0.25
    known_bands: ClassVar[frozenset[str]] = frozenset("grizy")

    pixel_scale: PixelScale = native_scale(0.25)
    server: Url = Field(
        "https://ps1images.stsci.edu", description="the image server of the PS1 archive at MAST"
    )

    def requests(self, galaxies: int) -> int:
        """One request a band and galaxy, and one for the names of 64 galaxies."""
        return math.ceil(galaxies / BATCH) + galaxies * len(self.bands)


class PanstarrsService(HttpService):
    """Ask ``ps1filenames.py`` for the images, and ``fitscut.cgi`` for the cutouts."""

    _settings: PanstarrsSettings

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, as the answers come."""
        source = iter(targets)
        while some := list(islice(source, BATCH)):
            yield from self._batch(some)

    def _batch(self, targets: list[Target]) -> Iterator[Cutout]:
        """Answer some galaxies, whose file names are asked for at once."""
        text = "".join(" ".join(target.radec().values()) + "\n" for target in targets)
        query = {"filters": "".join(self._settings.bands), "type": _TYPE}
        files: dict[str, Files] = {}

        def judge(answer: Answer) -> Verdict:
            try:
                files.update(_files(answer.payload, targets))
            except ValueError as error:
                raise PayloadError(f"file names: {error}") from error
            return Verdict("ok")

        upload = {"file": ("positions.txt", text.encode())}
        answer = self._http.ask("POST", _NAMES, judge=judge, data=query, files=upload)
        if answer.verdict.status != "ok":
            for target in targets:
                yield cutout_of(answer, target)
            return
        _, cutout_bytes = self._settings.largest(targets)
        yield from self._http.map_bounded(partial(self._cutout, files), targets, cutout_bytes)

    def _cutout(self, files: dict[str, Files], target: Target) -> Cutout:
        """Answer one galaxy: one request a band."""
        if reason := self._settings.too_large(target):
            return Cutout(target, "invalid", reason=reason)
        native = self._settings.native(target)
        query = {**native.radec(), "size": native.size + _MARGIN, "format": "fits"}
        names = files[target.object_id]
        requests = {
            band: partial(self._http.get, f"{_CUT}?{urlencode({**query, 'red': names[band]})}")
            for band in self._settings.bands
            if band in names
        }
        if not requests:
            return Cutout(target, "no_coverage", None, 200, "no image", _NAMES, datetime.now(UTC))
        planes, last, fault = fetch_bands(requests, lambda payload, _: _plane(payload, native))
        if fault:
            return cutout_of(last, target, last.verdict.status, fault)
        if not planes:
            return replace(cutout_of(last, target, "no_coverage", "no image"), http_status=200)
        payload, verdict = assemble(planes, self._settings.bands, native)
        last = replace(last, payload=payload, http_status=200)
        return cutout_of(last, target, verdict.status, verdict.reason)


def _files(table: bytes, targets: list[Target]) -> dict[str, Files]:
    """Map the listed images to the galaxies whose positions they echo."""
    lines = table.decode("ascii", "replace").splitlines()
    names = lines[0].split() if lines else []
    if not set(names) >= _COLUMNS:
        raise ValueError("not the table that was asked for")
    rows = [dict(zip(names, line.split(), strict=True)) for line in lines[1:] if line.strip()]
    ra, dec = (np.array([float(row[name]) for row in rows]) for name in ("ra", "dec"))
    files: dict[str, Files] = {}
    for target in targets:
        off = np.hypot(*offsets_deg(ra, dec, target.ra, target.dec))
        near = np.flatnonzero(off <= _ECHO_DEG)
        files[target.object_id] = _of_one_skycell([rows[index] for index in near])
    return files


def _of_one_skycell(rows: list[dict[str, str]]) -> Files:
    """Choose the skycell with the most bands, the first of those: pixels of two never agree."""
    cells: dict[tuple[str, str], Files] = {}
    for row in rows:
        good = row["type"] == _TYPE and row["badflag"] == "0"
        if good and _FILENAME.fullmatch(row["filename"]):
            cell = cells.setdefault((row["projcell"], row["subcell"]), {})
            cell.setdefault(row["filter"], row["filename"])
    return max(cells.values(), key=len, default={})


def _plane(payload: bytes, native: Target) -> Plane | None:
    """Cut the square out of one answer, in nanomaggies; None when it lies outside."""
    header, data = first_image(payload)
    try:
        seconds = float(header["EXPTIME"])
        if not 0 < seconds < math.inf:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise PayloadError("no exposure time") from None
    factor = zero_point_factor(_ZERO_POINT) / seconds
    return cut_native(Mosaic(linear_flux(data, header), header, factor), native)


def linear_flux(data: npt.NDArray[Any], header: Any) -> npt.NDArray[np.float64]:
    """Undo the asinh scaling of stacks, where there is one; NaN where counts are not finite.

    ``BOFFSET + BSOFTEN (exp(x) − exp(−x))`` with ``x = data ln(10) / 2.5``: Waters+20 (ApJS 251,
    4), and the page "PS1 Image Cutout Service" of the archive. Stack files are scaled; cutouts
    come from there as linear fluxes, without BSOFTEN and BOFFSET. ``data``, shape (height, width),
    are pixels after BSCALE and BZERO.
    """
    flux = np.asarray(data, np.float64)
    if "BSOFTEN" in header and "BOFFSET" in header:
        with np.errstate(over="ignore"):
            doubled = 2 * np.sinh(flux * (math.log(10) / 2.5))
            flux = float(header["BOFFSET"]) + float(header["BSOFTEN"]) * doubled
    return np.where(np.isfinite(flux), flux, np.nan)

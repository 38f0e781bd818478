"""Service ``hips2fits``: any HiPS by name from CDS, FITS or pictures; queries made by astroquery.

A HiPS is a survey already resampled once, to HEALPix; hips2fits resamples it again, bilinearly:
good for the looks of galaxies, not for photometry. FITS takes one HiPS and one request a band.
Without ``zero_points`` values are those of the HiPS, in no unit that is known here. A picture does
not tell where it was taken; one of a HiPS without colours is grey, and stretched anew for each
galaxy.
"""

import json
import re
from dataclasses import replace
from functools import partial
from typing import Literal, Self
from urllib.parse import urlencode

import numpy as np
from pydantic import Field, model_validator

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import first_image
from galaxymill.decoding.place import SCALE_TOLERANCE, tangent_grid
from galaxymill.settings import Names, Numbers
from galaxymill.surveys.base import Cutout, ServiceSettings, Target, cutout_of
from galaxymill.surveys.ivoa.votable import shorten
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, flux_factors, stack
from galaxymill.surveys.per_galaxy import PerGalaxyService, fetch_bands
from galaxymill.surveys.validate import check_payload, is_empty, picture_of
from galaxymill.web.answer import Answer, Judge, Verdict
from galaxymill.web.network import Url

_PATH = "/hips-image-services/hips2fits"
_FORMATS = {"fits": "fits", "jpeg": "jpg", "png": "png"}
_ERROR_BYTES = 20_000
_OFF_COVERAGE = re.compile(
    r"\b(out of|outside)\b[\w\s]*\bcoverage\b|\bno coverage\b|\bnot covered\b", re.IGNORECASE
)


class Hips2FitsSettings(ServiceSettings):
    """Settings of the service ``hips2fits``."""

    hips: Names = Field(
        min_length=1,
        description="names of HiPS, such as CDS/P/DES-DR2/g: one a band for fits, in the order of "
        "bands; a single one for pictures",
    )
    format: Literal["fits", "jpeg", "png"] = Field("fits", description="what to ask for")
    zero_points: Numbers = Field(
        (), description="AB magnitude of one unit of each band (fits only), to get nanomaggies"
    )
    server: Url = Field(
        "https://alasky.cds.unistra.fr", description="CDS, or a mirror such as alaskybis"
    )

    @model_validator(mode="after")
    def _one_for_each_band(self) -> Self:
        if self.sends_pictures:
            if len(self.hips) != 1 or self.zero_points:
                raise ValueError(f"format {self.format} takes a single hips and no zero_points")
            return self
        for name in ("hips", "zero_points"):
            count = len(getattr(self, name))
            if count != len(self.bands) and (count or name == "hips"):
                raise ValueError(
                    f"{name}: {count} for {len(self.bands)} bands {','.join(self.bands)}; give one "
                    "a band, in their order"
                )
        if self.zero_points:
            flux_factors(self.zero_points, self.bands)
        return self

    @property
    def sends_pictures(self) -> bool:
        """Whether the cutouts are JPEG or PNG."""
        return self.format != "fits"

    @property
    def zero_point(self) -> float | None:
        """That of nanomaggies when ``zero_points`` are given; else None."""
        return super().zero_point if self.zero_points else None

    def requests(self, galaxies: int) -> int:
        """One request a HiPS and galaxy."""
        return galaxies * len(self.hips)


class Hips2FitsService(PerGalaxyService):
    """Ask ``hips-image-services/hips2fits`` for each galaxy and band."""

    _settings: Hips2FitsSettings

    def _cutout(self, target: Target) -> Cutout:
        if not self._settings.sends_pictures:
            return self._fits(target)
        return cutout_of(self._ask(self._settings.hips[0], target, picture_of(target)), target)

    def _fits(self, target: Target) -> Cutout:
        """Ask for every band; one that fails or is invalid decides over the galaxy."""
        named = zip(self._settings.bands, self._settings.hips, strict=True)
        requests = {band: partial(self._ask, hips, target) for band, hips in named}
        planes, last, fault = fetch_bands(requests, partial(self._plane, target))
        if fault:
            return cutout_of(last, target, last.verdict.status, fault)
        absent = [band for band in self._settings.bands if band not in planes]
        reason = f"no band {', '.join(absent)}" if absent else ""
        if not planes:
            return cutout_of(last, target, "no_coverage", f"{reason}: off the coverage")
        unit = "nanomaggy" if self._settings.zero_points else None
        payload = stack(planes, self._settings.bands, unit)
        cutout = cutout_of(last, target, "partial" if absent else "ok", reason)
        return replace(cutout, payload=payload)

    def _plane(self, target: Target, payload: bytes, band: str) -> Plane | None:
        """Read one band's answer, None when it is empty; raises PayloadError when it is unfit."""
        header, data = first_image(payload)
        points = self._settings.zero_points
        factor = flux_factors(points, self._settings.bands)[band] if points else 1.0
        flux = (data * factor).astype(np.float32)
        try:
            plane = Plane(flux, Mosaic(None, header).wcs_header, True)
        except Exception as error:
            # Whatever a header from outside makes the WCS library do, it is one galaxy's fault.
            raise PayloadError("no celestial WCS") from error
        bands = [band] if points else None
        payload = stack({band: plane}, [band])
        verdict = check_payload(payload, target, bands, scale_tolerance=SCALE_TOLERANCE)
        if verdict.status == "invalid":
            raise PayloadError(verdict.reason, verdict.truncated)
        return None if is_empty(flux) else plane

    def _ask(self, hips: str, target: Target, judge: Judge) -> Answer:
        from astroquery.hips2fits import hips2fits

        form = _FORMATS[self._settings.format]
        # A grid whose middle is the target: that of hips2fits is half a pixel off.
        size = target.size
        wcs = tangent_grid(target.ra, target.dec, target.pixel_scale, size, size)
        query = hips2fits.query_with_wcs(hips, wcs, format=form, get_query_payload=True)
        path = f"{_PATH}?{urlencode(query)}"
        # A HiPS that is there says nothing of the others.
        return self._http.get(path, group=hips, judge=judge, otherwise=_refusal)


def _refusal(answer: Answer) -> Verdict:
    """Judge an answer other than 200; errors are JSON: title and description."""
    try:
        # What is longer than errors are ends too early, and so is none.
        error = json.loads(answer.payload[:_ERROR_BYTES])
    except (ValueError, RecursionError):
        error = None
    error = error if isinstance(error, dict) else {}
    title, description = (str(error.get(key, "")) for key in ("title", "description"))
    refused = 400 <= (answer.http_status or 0) < 500
    off = refused and _OFF_COVERAGE.search(f"{title}. {description}")
    reason = f"{answer.reason}: {line}" if (line := shorten(title)) else answer.reason
    return Verdict("no_coverage" if off else "failed", reason)

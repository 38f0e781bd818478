"""Service ``synthetic``: noise-free images of simulations, as a survey would have taken them.

Files are found as those of service ``files`` are. Their light gets the survey's point sources,
pixels and noise. What is not done: other galaxies, stars, dust between us and them.
"""

from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from galaxymill.decoding.decode import FitsCutout, read_fits
from galaxymill.settings import Name, parse_json
from galaxymill.simulation.sky import generator
from galaxymill.surveys.base import MAX_SIZE, NANOMAGGY_ZERO_POINT, Cutout, Target
from galaxymill.surveys.observe.distance import STILL, arcsec_per_parsec
from galaxymill.surveys.observe.draw import CannotShowError, Source, Wanted, draw
from galaxymill.surveys.observe.sky import Plane
from galaxymill.surveys.services.files import FilesService, FilesSettings
from galaxymill.surveys.services.observed import shown
from galaxymill.surveys.telescope import Telescope

_JANSKY_ZERO_POINT = 8.9
_SQUARE_ARCSEC = 206264.80625**2
"""In a steradian."""
_PARSECS = {"pc": 1.0, "kpc": 1e3, "Mpc": 1e6}

Unit = Literal["mag/arcsec2", "nanomaggy", "Jy", "uJy", "nJy", "MJy/sr"]
"""Of a pixel's light: of a square arcsec, of the pixel, or of a steradian."""


class SyntheticSettings(FilesSettings):
    """Settings of the service ``synthetic``."""

    into: Name = Field(description="the survey that is to have taken them: telescope, pixels")
    unit: Unit = Field(description="unit of the light: mag/arcsec2 (AB), or a flux a pixel")
    redshift: float | None = Field(
        None, gt=0, le=20, description="of images whose pixels are a length (pc, kpc)"
    )
    pixel_scale: float = Field(0.0, ge=0, le=60, description="arcsec per pixel; 0: the survey's")
    size: int = Field(
        0, ge=0, le=MAX_SIZE, description="width and height in pixels; 0: all that is covered"
    )
    seed: int = Field(
        1, ge=0, description="of the noise: other numbers give more images of the same galaxies"
    )
    target: Annotated[Telescope, BeforeValidator(parse_json)] = Field(
        Telescope(), description="the survey's telescope; a config gives it from the survey"
    )

    @property
    def zero_point(self) -> float:
        """AB magnitude of one unit of flux: these are nanomaggies, whatever the files have."""
        return NANOMAGGY_ZERO_POINT

    @property
    def wanted(self) -> Wanted:
        """How they are shown."""
        return Wanted(self.bands, self.target, self.pixel_scale, self.size, same_sky=False)


class SyntheticService(FilesService):
    """Draw each target from its files."""

    _settings: SyntheticSettings

    def _cutout(self, target: Target) -> Cutout:
        found = super()._cutout(target)
        if found.status not in ("ok", "partial") or found.payload is None:
            return found
        when, url = found.fetched_at, found.url.replace("file:", "synthetic:", 1)
        make = partial(self._draw, target, found.payload)
        return shown(target, make, self._settings.bands, url, when)

    def _draw(self, target: Target, payload: bytes) -> bytes:
        source = self._source(read_fits(payload))
        return draw(source, STILL, self._settings.wanted, partial(self._random, target))

    def _source(self, cutout: FitsCutout) -> Source:
        pixel = self._pixel(cutout)
        planes = {band: self._light(plane, pixel) for band, plane in cutout.planes.items()}
        return Source(planes, pixel, cutout.place, None, cutout.cards)

    def _pixel(self, cutout: FitsCutout) -> float:
        """Side of a pixel, arcsec: of the header's positions, or of its lengths at a distance."""
        if cutout.pixel_scale:
            return cutout.pixel_scale
        unit = str(cutout.cards.get("CUNIT1") or cutout.cards.get("CTYPE1") or "").strip()
        length, redshift = cutout.cards.get("CDELT1"), self._settings.redshift
        if unit not in _PARSECS or not isinstance(length, float) or length == 0:
            raise CannotShowError("its pixel scale is not known: its header has none")
        if redshift is None:
            raise CannotShowError(f"its pixels are {length:g} {unit}, a length; give a redshift")
        return abs(length) * _PARSECS[unit] * arcsec_per_parsec(redshift)

    def _light(self, plane: Plane, pixel: float) -> Plane:
        """Nanomaggies per pixel; where no photon has fallen there are none."""
        light = to_nanomaggies(plane, self._settings.unit, pixel)
        return np.nan_to_num(light, nan=0.0, posinf=0.0, neginf=0.0)

    def _random(self, target: Target, band: str) -> np.random.Generator:
        return generator(self._settings.seed, "synthetic", target.object_id, band)


def to_nanomaggies(light: Plane, unit: Unit, pixel: float) -> Plane:
    """Turn light into nanomaggies per pixel of ``pixel`` arcsec; AB magnitudes (Oke & Gunn 1983).

    A surface brightness of 0 mag/arcsec2 or fainter than 60 is no light.
    """
    if unit == "mag/arcsec2":
        bright = np.where((light > 0) & (light < 60), light, np.inf)
        return np.asarray(10 ** (0.4 * (NANOMAGGY_ZERO_POINT - bright)) * pixel**2, np.float32)
    janskys = {"Jy": 1.0, "uJy": 1e-6, "nJy": 1e-9, "MJy/sr": 1e6 * pixel**2 / _SQUARE_ARCSEC}
    if unit == "nanomaggy":
        return light
    factor = janskys[unit] * 10 ** (0.4 * (NANOMAGGY_ZERO_POINT - _JANSKY_ZERO_POINT))
    return np.asarray(light * np.float32(factor))

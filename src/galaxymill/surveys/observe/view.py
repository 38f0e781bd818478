"""One plane of an image as another telescope, or another distance, would show it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from galaxymill.surveys.observe.optics import matching, moffat_transform, pixel_transform
from galaxymill.surveys.observe.sky import Plane, Sky, power

Floats = npt.NDArray[np.floating]
Complexes = npt.NDArray[np.complex64]

_WINGS = 4
"""Widths of the target's point sources over which a pixel reaches its neighbours."""


@dataclass(frozen=True)
class Optics:
    """Point sources and pixels of one band: FWHM in arcsec (0: a point), Moffat index, pixel."""

    fwhm: float
    beta: float
    pixel: float


@dataclass(frozen=True)
class View:
    """How a square image of ``side`` pixels is seen anew, on ``out`` pixels of the target.

    ``source`` is in the target's sky: its widths and pixels are those of the moved image. Both
    middles are the same.
    """

    source: Optics
    target: Optics
    side: int
    out: int

    def light(self, plane: Plane) -> Floats:
        """Light of a plane, flux per pixel kept as flux per pixel, shape (out, out).

        All pixels are finite.
        """
        at = _frequencies(self)
        margin = (at.padded - self.side) // 2
        padded = np.pad(plane, (margin, at.padded - self.side - margin), mode="reflect")
        spectrum = fft.rfft2(padded) * at.transfer
        centre = margin + (self.side - 1) / 2
        steps = (np.arange(self.out) - (self.out - 1) / 2) * at.ratio + centre
        return at.values(spectrum, steps) * at.ratio**2

    def noise(self, sky: Sky) -> Floats:
        """Covariance of what becomes of a plane's noise, by the step between the new pixels."""
        at = _frequencies(self)
        spectrum = power(sky, at.along_x, at.along_y, 1.0) * at.transfer.astype(np.float64) ** 2
        reach = int(np.ceil(_WINGS * self.target.fwhm / self.target.pixel / 2)) + 3
        steps = np.arange(-reach, reach + 1) * at.ratio
        return at.values(spectrum.astype(np.complex64), steps) * at.ratio**4

    def holes(self, plane: Plane) -> npt.NDArray[np.bool_]:
        """New pixels over whose middle the plane has a pixel that is not finite."""
        ratio = self.target.pixel / self.source.pixel
        steps = (np.arange(self.out) - (self.out - 1) / 2) * ratio + (self.side - 1) / 2
        nearest = np.clip(np.round(steps).astype(int), 0, self.side - 1)
        return ~np.isfinite(plane)[np.ix_(nearest, nearest)]


@dataclass(frozen=True)
class _Frequencies:
    """A padded image's frequencies, in cycles per pixel, and what is done at each of them."""

    padded: int
    ratio: float
    along_x: Floats
    along_y: Floats
    transfer: npt.NDArray[np.float32]

    def values(self, spectrum: Complexes, steps: Floats) -> Floats:
        """Value of a real image at the positions ``steps`` of both axes, by its half spectrum."""
        rows = np.exp(2j * np.pi * np.outer(steps, self.along_y)).astype(np.complex64)
        columns = np.exp(2j * np.pi * np.outer(self.along_x, steps)).astype(np.complex64)
        # The other half is the conjugate of this one, but for the ends.
        columns[1 : (self.padded + 1) // 2] *= 2
        return np.asarray((rows @ (spectrum @ columns)).real / self.padded**2, np.float64)


@lru_cache(maxsize=8)
def _frequencies(view: View) -> _Frequencies:
    source, target = view.source, view.target
    wings = int(np.ceil(_WINGS * target.fwhm / source.pixel))
    padded = fft.next_fast_len(view.side + 2 * min(wings, view.side - 1), real=True)
    along_x, along_y = fft.rfftfreq(padded), fft.fftfreq(padded)
    across, up = along_x / source.pixel, along_y / source.pixel
    radius = np.hypot(across, up[:, None])
    both = [
        moffat_transform(radius, one.fwhm, one.beta) * pixel_transform(across, up, one.pixel)
        for one in (source, target)
    ]
    transfer = matching(*both).astype(np.float32)
    return _Frequencies(padded, target.pixel / source.pixel, along_x, along_y, transfer)


def covered(side: int, source_pixel: float, target_pixel: float) -> int:
    """Pixels of the target that an image of ``side`` pixels covers."""
    return int(np.floor(side * source_pixel / target_pixel + 1e-6))

"""A cutout as another telescope, or another distance, would show it: all bands, with its header."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from galaxymill.decoding.place import Place
from galaxymill.surveys.mosaics.mosaic import CutoutForm
from galaxymill.surveys.observe.distance import Move
from galaxymill.surveys.observe.optics import depth_of, sky_sigma
from galaxymill.surveys.observe.sky import Plane, Sky, measure_sky, missing_noise, white
from galaxymill.surveys.observe.view import Optics, View, covered
from galaxymill.surveys.telescope import Telescope
from galaxymill.surveys.validate import is_empty

if TYPE_CHECKING:
    from astropy.io.fits import Header

_FEWEST_PIXELS = 16
_TOLERANCE = 1.01
"""By which the source may be worse than its target, so that equal ones pass."""

Draws = Callable[[str], np.random.Generator]
"""Random numbers for each band's noise."""


class CannotShowError(ValueError):
    """A galaxy cannot be shown so, whatever its pixels: the reason."""


@dataclass(frozen=True)
class Source:
    """What is shown anew: planes of fluxes, y up, with pixels of ``pixel`` arcsec.

    ``telescope`` is None for images without noise or blur, as simulations make them. ``cards`` of
    their header may say how wide point sources are, as those of `draw` do.
    """

    planes: Mapping[str, Plane]
    pixel: float
    place: Place | None
    telescope: Telescope | None
    cards: Mapping[str, Any]

    def fwhm(self, band: str) -> float:
        """Width of point sources, arcsec: of the header, else of the telescope."""
        if self.telescope is None:
            return 0.0
        found = self.cards.get(f"FWHM{list(self.planes).index(band)}")
        if isinstance(found, float) and found > 0:
            return found
        if band not in self.telescope.seeing:
            raise CannotShowError(f"band {band}: its seeing is not known; see telescope.seeing")
        return self.telescope.seeing[band]


@dataclass(frozen=True)
class Wanted:
    """How it is shown: bands, telescope, arcsec per pixel (0: as is), pixels (0: what is covered).

    ``same_sky``: the noise is that of the source's own sky, not that of the telescope's depth.
    """

    bands: Sequence[str]
    telescope: Telescope
    pixel_scale: float
    size: int
    same_sky: bool


def draw(source: Source, move: Move, wanted: Wanted, draws: Draws) -> bytes:
    """Draw the FITS cutout of one galaxy, farther away or through another telescope.

    Its header has, for each band, ``FWHM0`` … (arcsec) and ``DEPTH0`` … (5 sigma, AB). A band that
    is empty stays so, and pixels that are not finite stay holes. Raises CannotShowError where the
    source is not better than what it is to show.
    """
    bands = [band for band in wanted.bands if band in source.planes]
    drawn = [_draw_band(band, source, move, wanted, draws) for band in bands]
    sides = {len(plane) for plane, _, _ in drawn}
    if len(sides) != 1:
        raise CannotShowError(f"none of the bands {', '.join(wanted.bands)} is there")
    pixel = wanted.pixel_scale or source.pixel
    header = _header(source.place, pixel, sides.pop())
    for index, (_, fwhm, depth) in enumerate(drawn):
        header[f"FWHM{index}"] = fwhm
        if depth is not None:
            header[f"DEPTH{index}"] = depth
    return CutoutForm(header, bands).write(np.stack([plane for plane, _, _ in drawn]))


def _draw_band(
    band: str, source: Source, move: Move, wanted: Wanted, draws: Draws
) -> tuple[Plane, float, float | None]:
    """One plane, the width of its point sources, and its depth, None for an empty one."""
    plane = _square(source.planes[band])
    view = _view(band, len(plane), source, move, wanted)
    if is_empty(plane):
        return np.zeros((view.out, view.out), np.float32), view.target.fwhm, None
    sky = None if source.telescope is None else _own_sky(band, plane, source)
    noise = _wanted_noise(band, sky, source, view, wanted)
    own = None if sky is None else sky.scaled(sky.sigma * move.flux)
    there = np.zeros((1, 1)) if own is None else view.noise(own)
    middle = len(there) // 2
    sigma = float(np.sqrt(max(there[middle, middle], 0)))
    if sigma > _TOLERANCE * noise.sigma:
        raise CannotShowError(
            f"band {band}: its noise would be {sigma:.3g} nanomaggies a pixel, more than the "
            f"{noise.sigma:.3g} wanted; the source is not deep enough"
        )
    light = view.light(_filled(plane)) * move.flux
    image = light + missing_noise(noise, there, view.out, draws(band))
    image[view.holes(plane)] = np.nan
    target = view.target
    depth = depth_of(noise.sigma, target.fwhm, target.beta, target.pixel)
    return image.astype(np.float32), target.fwhm, depth


def _square(plane: Plane) -> Plane:
    """The middle of a plane that is not square."""
    height, width = plane.shape
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    return plane[y : y + side, x : x + side]


def _view(band: str, side: int, source: Source, move: Move, wanted: Wanted) -> View:
    """How a band is seen; CannotShowError where that would magnify, or make up what is outside."""
    beta = wanted.telescope.beta
    own = source.telescope or Telescope()
    pixel = wanted.pixel_scale or source.pixel
    before = Optics(source.fwhm(band) * move.size, own.beta, source.pixel * move.size)
    after = Optics(wanted.telescope.seeing.get(band) or source.fwhm(band), beta, pixel)
    if before.fwhm > _TOLERANCE * after.fwhm:
        raise CannotShowError(
            f"band {band}: point sources would be {before.fwhm:.3g} arcsec wide, more than the "
            f"{after.fwhm:.3g} wanted; the source is not sharp enough"
        )
    if before.pixel > _TOLERANCE * after.pixel:
        raise CannotShowError(
            f"its pixels would be {before.pixel:.3g} arcsec, larger than the {after.pixel:.3g} "
            "wanted"
        )
    most = covered(side, before.pixel, after.pixel)
    out = wanted.size or most
    if out > most or out < _FEWEST_PIXELS:
        raise CannotShowError(
            f"the cutout is too small: {side} pixels of it cover {most} of those wanted, "
            f"{f'not {out}' if out > most else f'fewer than {_FEWEST_PIXELS}'}"
        )
    return View(before, after, side, out)


def _own_sky(band: str, plane: Plane, source: Source) -> Sky:
    """Noise of the source, measured on its sky or else by its depth."""
    sky = measure_sky(plane)
    telescope = source.telescope or Telescope()
    if sky is None and band in telescope.depth:
        depth = telescope.depth[band]
        sky = white(sky_sigma(depth, source.fwhm(band), telescope.beta, source.pixel))
    if sky is None:
        raise CannotShowError(
            f"band {band}: too little of the cutout is sky, and its depth is not known; larger "
            "cutouts, or telescope.depth"
        )
    return sky


def _wanted_noise(band: str, sky: Sky | None, source: Source, view: View, wanted: Wanted) -> Sky:
    """Noise of the target's pixels: by its depth, or of the source's own sky."""
    target, depth = view.target, wanted.telescope.depth.get(band)
    if sky is not None and (wanted.same_sky or depth is None):
        # Noise of an area grows with its side.
        return sky.scaled(sky.sigma * target.pixel / source.pixel)
    if depth is None:
        raise CannotShowError(f"band {band}: its depth is not known; see telescope.depth")
    return white(sky_sigma(depth, target.fwhm, target.beta, target.pixel))


def _filled(plane: Plane) -> Plane:
    """Put the mean of their neighbours where pixels are not finite, 0 where these are none."""
    good = np.isfinite(plane)
    if good.all():
        return plane
    values = ndimage.uniform_filter(np.where(good, plane, 0), 5, mode="nearest")
    share = ndimage.uniform_filter(good.astype(np.float32), 5, mode="nearest")
    # Sums of floats leave crumbs where there is nothing.
    mean = np.divide(values, share, out=np.zeros_like(values), where=share > 0.01)
    return np.where(good, plane, mean)


def _header(place: Place | None, pixel: float, side: int) -> "Header":
    """WCS of the target: its middle and its axes are the source's."""
    from astropy.io.fits import Header

    header = Header()
    if place is None:
        return header
    axes: npt.NDArray[np.float64] = np.array(place.axes)
    matrix = (axes / np.linalg.norm(axes, axis=1, keepdims=True)).T * pixel / 3600
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = place.ra, place.dec
    header["CRPIX1"] = header["CRPIX2"] = (side + 1) / 2
    for row in (0, 1):
        for column in (0, 1):
            header[f"CD{row + 1}_{column + 1}"] = float(matrix[row, column])
    return header

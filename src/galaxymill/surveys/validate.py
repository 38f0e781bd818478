"""Is what the service sent the cutout that was asked for? HTTP 200 does not say so."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import (
    FitsCutout,
    PayloadError,
    is_fits,
    read_fits,
    read_raster,
    read_samples,
)
from galaxymill.sky.angles import separation_arcsec
from galaxymill.surveys.base import Target
from galaxymill.web.answer import Judge, Verdict

CENTRE_TOLERANCE_PIXELS = 0.5
CUT_TOLERANCE_PIXELS = 0.75
"""For cutouts on a mosaic's own pixels: half a pixel in each direction, and some rounding."""
MAX_FLUX = 1e8
"""In one pixel, nanomaggies: a star of magnitude 2.5. Detectors saturate long before; damaged or
byte-swapped numbers do not."""
MAX_HOLES = 0.01
"""Share of a band's pixels that may be not finite: some dead ones, no edge of a survey."""


def check_payload(
    payload: bytes | None,
    target: Target | None,
    bands: Sequence[str] | None,
    tolerance_pixels: float = CENTRE_TOLERANCE_PIXELS,
    scale_tolerance: float = np.inf,
    max_holes: float = MAX_HOLES,
) -> Verdict:
    """Check the bytes of one answer: ``ok``, ``partial`` or ``invalid``.

    ``partial`` when a band is empty, absent or has holes. No check can find damage to a FITS file's
    pixels, without a DATASUM, that leaves them possible fluxes, nor to those of a picture whose
    data still decode to their end.

    Parameters
    ----------
    payload : bytes or None
        FITS, JPEG, PNG or WebP.
    target : Target or None
        What was asked for; None when position and size are not to be checked.
    bands : sequence of str or None
        Bands a FITS cutout in nanomaggies must hold; None when bands and unit are not known.
    tolerance_pixels, scale_tolerance : float
        How far its middle may be from the target, and its pixel scale, as a share, from the
        target's.
    max_holes : float
        Share of a band's pixels that may be not finite; 1 where the ends of images are known.
    """
    if not payload:
        return Verdict("invalid", "empty answer")
    try:
        if is_fits(payload):
            cutout = read_fits(payload)
            if target is not None:
                _require_place(cutout, target, tolerance_pixels, scale_tolerance)
            return _check_planes(cutout, bands, max_holes)
        if bands is not None:
            return Verdict("invalid", "not a FITS file")
        image = read_samples(payload)
        if image.min() == image.max():
            return Verdict("invalid", "every pixel has the same value")
        if target is not None:
            _require_size("image is {}", image.shape, target)
    except PayloadError as error:
        return Verdict("invalid", str(error), error.truncated)
    return Verdict("ok")


def check_picture(payload: bytes, target: Target) -> Verdict:
    """Check that the bytes of one answer are a picture of the sky, a JPEG, PNG or WebP.

    Where it was taken cannot be checked. It is ``no_coverage`` when all pixels are of one colour,
    as services draw them off their footprint, and ``invalid`` when it cannot be decoded or has
    another size than ``target``.
    """
    try:
        if is_fits(payload):
            raise PayloadError("a FITS file, not a picture")
        image = read_raster(payload)
        _require_size("image is {}", image.shape, target)
    except PayloadError as error:
        return Verdict("invalid", str(error), error.truncated)
    if (image == image[0, 0]).all():
        return Verdict("no_coverage", "the picture is blank: off the footprint")
    return Verdict("ok")


def picture_of(target: Target) -> Judge:
    """Make the judge of answers that should be pictures of ``target``; see `Http.ask`."""
    return lambda answer: check_picture(answer.payload, target)


def _require_size(what: str, shape: tuple[int, ...], target: Target) -> None:
    if shape[:2] != (target.size, target.size):
        raise PayloadError(what.format(f"{shape[1]}×{shape[0]}") + f", not {target.size}")


def _require_place(
    cutout: FitsCutout, target: Target, tolerance_pixels: float, scale_tolerance: float
) -> None:
    _require_size("cutout is {} pixels", next(iter(cutout.planes.values())).shape, target)
    place, off = cutout.place, np.nan
    if place is not None:
        away = separation_arcsec(place.ra, place.dec, target.ra, target.dec)
        off = away / place.pixel_scale
    if not off <= tolerance_pixels:
        raise PayloadError(f"centre is {off:.1f} pixels from the galaxy")
    scale = cutout.pixel_scale or 0.0
    if abs(scale / target.pixel_scale - 1) > scale_tolerance:
        raise PayloadError(f"pixel scale is {scale:.4g} arcsec, not {target.pixel_scale:.4g}")


def _check_planes(cutout: FitsCutout, bands: Sequence[str] | None, max_holes: float) -> Verdict:
    planes = cutout.planes
    ranges = {band: _range(plane) for band, plane in planes.items()}
    absurd = [band for band, (low, high) in ranges.items() if max(-low, high) > MAX_FLUX]
    if absurd and bands is not None:
        return Verdict("invalid", f"band {', '.join(absurd)} holds impossible fluxes")
    if absent := [band for band in bands or () if band not in planes]:
        return Verdict("partial", f"no band {', '.join(absent)}")
    if empty := [band for band, (low, high) in ranges.items() if not low < high]:
        return Verdict("partial", f"band {', '.join(empty)} is empty")
    good = {band: np.count_nonzero(np.isfinite(plane)) for band, plane in planes.items()}
    if holes := [band for band, n in good.items() if 1 - n / planes[band].size > max_holes]:
        return Verdict("partial", f"band {', '.join(holes)} has pixels that are not finite")
    return Verdict("ok")


def is_empty(plane: npt.NDArray[np.float32]) -> bool:
    """Whether a plane holds no image: all its finite pixels are equal, or there are none."""
    low, high = _range(plane)
    return not low < high


def _range(plane: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Least and greatest finite value; NaN when there is none."""
    # These pass over NaN without a copy of the plane.
    low, high = (float(least.reduce(plane, axis=None)) for least in (np.fmin, np.fmax))
    if np.isinf([low, high]).any():
        return _range(np.where(np.isinf(plane), np.float32(np.nan), plane))
    return low, high

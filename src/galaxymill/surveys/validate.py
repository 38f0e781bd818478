"""Is what the service sent the cutout that was asked for? HTTP 200 does not say so."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import FitsCutout, PayloadError, is_fits, read_fits, read_samples
from galaxymill.sky.angles import separation_arcsec
from galaxymill.surveys.base import Target
from galaxymill.web.answer import Verdict

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
    """Check the bytes of one answer.

    Parameters
    ----------
    payload : bytes or None
        FITS, JPEG, PNG or WebP.
    target : Target or None
        What was asked for; None when position and size are not to be checked.
    bands : sequence of str or None
        Bands a FITS cutout in nanomaggies must hold; None when bands and unit are not known.
    tolerance_pixels : float
        How far the middle of a FITS cutout may be from the target.
    scale_tolerance : float
        How far its pixel scale may be from the target's, as a share; by default any will do.
    max_holes : float
        Share of a band's pixels that may be not finite; 1 for who knows where its images end.

    Returns
    -------
    Verdict
        ``ok``; ``partial`` when a band is empty, absent or has holes; ``invalid`` when these are
        not the bytes that were asked for.

    Notes
    -----
    What no check can see: damage to a FITS file's pixels, without a DATASUM, that leaves them
    possible fluxes, and to those of a picture whose data still decode to their end.
    """
    if not payload:
        return Verdict("invalid", "empty answer")
    try:
        if is_fits(payload):
            cutout = read_fits(payload)
            verdict = _check_fits(cutout, target, bands, tolerance_pixels, scale_tolerance)
            return _check_holes(cutout, max_holes) if verdict.status == "ok" else verdict
        if bands is not None:
            return Verdict("invalid", "not a FITS file")
        image = read_samples(payload)
    except PayloadError as error:
        return Verdict("invalid", str(error), error.truncated)
    if image.min() == image.max():
        return Verdict("invalid", "every pixel has the same value")
    if target is not None and image.shape[:2] != (target.size, target.size):
        return Verdict("invalid", f"image is {image.shape[1]}×{image.shape[0]}, not {target.size}")
    return Verdict("ok")


def _check_fits(
    cutout: FitsCutout,
    target: Target | None,
    bands: Sequence[str] | None,
    tolerance_pixels: float,
    scale_tolerance: float,
) -> Verdict:
    if target is not None:
        height, width = next(iter(cutout.planes.values())).shape
        if (height, width) != (target.size, target.size):
            return Verdict("invalid", f"cutout is {width}×{height} pixels, not {target.size}")
        place, off = cutout.place, np.nan
        if place is not None:
            away = separation_arcsec(place.ra, place.dec, target.ra, target.dec)
            off = away / place.pixel_scale
        if not off <= tolerance_pixels:
            return Verdict("invalid", f"centre is {off:.1f} pixels from the galaxy")
        scale = cutout.pixel_scale or 0.0
        if abs(scale / target.pixel_scale - 1) > scale_tolerance:
            asked = f"not {target.pixel_scale:.4g}"
            return Verdict("invalid", f"pixel scale is {scale:.4g} arcsec, {asked}")
    ranges = {band: _range(plane) for band, plane in cutout.planes.items()}
    if bands is not None:
        absurd = [band for band, (low, high) in ranges.items() if max(-low, high) > MAX_FLUX]
        if absurd:
            return Verdict("invalid", f"band {', '.join(absurd)} holds impossible fluxes")
    absent = [band for band in bands or () if band not in cutout.planes]
    if absent:
        return Verdict("partial", f"no band {', '.join(absent)}")
    empty = [band for band, (low, high) in ranges.items() if not low < high]
    if empty:
        return Verdict("partial", f"band {', '.join(empty)} is empty")
    return Verdict("ok")


def _check_holes(cutout: FitsCutout, most: float) -> Verdict:
    good = {band: np.count_nonzero(np.isfinite(p)) / p.size for band, p in cutout.planes.items()}
    holes = [band for band, share in good.items() if 1 - share > most]
    if holes:
        return Verdict("partial", f"band {', '.join(holes)} has pixels that are not finite")
    return Verdict("ok")


def is_empty(plane: npt.NDArray[np.float32]) -> bool:
    """Tell whether a plane holds no image: all its finite pixels are equal, or there are none."""
    low, high = _range(plane)
    return not low < high


def _range(plane: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Least and greatest finite value; NaN when there is none."""
    # These pass over NaN without a copy of the plane.
    low, high = (float(least.reduce(plane, axis=None)) for least in (np.fmin, np.fmax))
    if np.isinf([low, high]).any():
        return _range(np.where(np.isinf(plane), np.float32(np.nan), plane))
    return low, high

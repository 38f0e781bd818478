"""North up, east left: by quarter turns and a reflection, which keep every pixel, or resampled."""

import math

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import FitsCutout, PayloadError
from galaxymill.decoding.place import Place, celestial_wcs, tangent_grid

Plane = npt.NDArray[np.float32]


def upright(plane: Plane, place: Place | None) -> Plane:
    """Turn a plane, shape (height, width), y up as in a FITS file, to be seen as on the sky.

    The first row of this view is at the top; north is up to 45 degrees, east is left. Without a
    place it is taken to lie so already.
    """
    mirrored, turns, _ = _turns(place)
    seen = plane[:, ::-1] if mirrored else plane
    return np.rot90(seen[::-1], turns)


def residual_deg(place: Place | None) -> float | None:
    """Angle from up to north in an upright image, towards east, -45 to 45 degrees."""
    return None if place is None else _turns(place)[2]


def _turns(place: Place | None) -> tuple[bool, int, float]:
    """Whether to mirror x, then how many quarter turns to the left, and what angle is left."""
    if place is None:
        return False, 0, 0.0
    (x_east, x_north), (y_east, y_north) = place.axes
    # Seen with y up, east is left of north when the area of (x, y) in (east, north) is negative.
    mirrored = x_east * y_north - x_north * y_east > 0
    if mirrored:
        x_north = -x_north
    # North is where the declination grows fastest: along (x_north, y_north).
    angle = math.degrees(math.atan2(-x_north, y_north))
    quarters = round(angle / 90)
    return mirrored, -quarters % 4, angle - 90 * quarters


def resampled(cutout: FitsCutout, fill: float, outline: tuple[int, int]) -> dict[str, Plane]:
    """Resample a cutout, by cubic splines, so that north is exactly up and east left.

    About its middle, at its own pixel scale. ``outline`` is height and width of the planes, which
    have y up. Pixels that are not finite, and corners that the cutout does not reach, have the flux
    ``fill``. Raises PayloadError when the cutout does not say where on the sky it lies.
    """
    from reproject import reproject_interp

    place = cutout.place
    if place is None:
        raise PayloadError("cannot be reprojected: it has no usable WCS")
    source = celestial_wcs(cutout.cards)
    target = tangent_grid(place.ra, place.dec, place.pixel_scale, outline[1], outline[0])
    planes = {}
    for band, plane in cutout.planes.items():
        finite = np.where(np.isfinite(plane), plane, np.float32(fill))
        flux = reproject_interp(
            (finite, source), target, outline, order="bicubic", return_footprint=False
        )
        planes[band] = np.where(np.isfinite(flux), flux, fill).astype(np.float32)
    return planes

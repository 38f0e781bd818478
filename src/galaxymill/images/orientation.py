"""North up, east left: by quarter turns and a reflection, which leave every pixel as it is."""

import math

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.place import Place

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
    """Angle from up to north in an upright image, towards east, -45 to 45 degrees.

    None where the place is not known.
    """
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

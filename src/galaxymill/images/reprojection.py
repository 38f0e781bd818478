"""North exactly up: fluxes resampled onto a grid that lies straight on the sky."""

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import FitsCutout, PayloadError
from galaxymill.decoding.place import celestial_wcs, tangent_grid


def straight(
    cutout: FitsCutout, fill: float, outline: tuple[int, int]
) -> dict[str, npt.NDArray[np.float32]]:
    """Resample a cutout, by cubic splines, about its middle at its own pixel scale.

    ``outline`` is height and width of the planes that are given by band, y up, north up, east left.
    Pixels that are not finite, and corners that the cutout does not reach, have the flux ``fill``.
    Raises PayloadError when it does not say where on the sky it lies.
    """
    from reproject import reproject_interp

    if cutout.place is None:
        raise PayloadError("cannot be reprojected: it has no usable WCS")
    place, (height, width) = cutout.place, outline
    target = tangent_grid(place.ra, place.dec, place.pixel_scale, width, height)
    resampled = {}
    for band, plane in cutout.planes.items():
        finite = np.where(np.isfinite(plane), plane, np.float32(fill))
        flux = reproject_interp(
            (finite, celestial_wcs(cutout.cards)),
            target,
            outline,
            order="bicubic",
            return_footprint=False,
        )
        resampled[band] = np.where(np.isfinite(flux), flux, fill).astype(np.float32)
    return resampled

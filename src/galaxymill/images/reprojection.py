"""North exactly up: fluxes resampled onto a grid that lies straight on the sky."""

from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import FitsCutout, PayloadError
from galaxymill.decoding.place import Place, celestial_wcs


def straight(
    cutout: FitsCutout, fill: float, outline: tuple[int, int]
) -> dict[str, npt.NDArray[np.float32]]:
    """Resample a cutout, by cubic splines, about its middle at its own pixel scale.

    Parameters
    ----------
    cutout : FitsCutout
    fill : float
        Flux of pixels that are not finite, and of corners that the cutout does not reach.
    outline : tuple of int
        Height and width of the result.

    Returns
    -------
    dict of str to ndarray, shape (height, width)
        By band, y up, north up, east left.

    Raises
    ------
    PayloadError
        When it does not say where on the sky it lies.
    """
    from reproject import reproject_interp

    if cutout.place is None:
        raise PayloadError("cannot be reprojected: it has no usable WCS")
    resampled = {}
    for band, plane in cutout.planes.items():
        finite = np.where(np.isfinite(plane), plane, np.float32(fill))
        target = _grid(cutout.place, *outline)
        flux = reproject_interp(
            (finite, celestial_wcs(cutout.cards)),
            target,
            outline,
            order="bicubic",
            return_footprint=False,
        )
        resampled[band] = np.where(np.isfinite(flux), flux, fill).astype(np.float32)
    return resampled


def _grid(place: Place, height: int, width: int) -> Any:
    from astropy.wcs import WCS

    grid = WCS(naxis=2)
    grid.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    grid.wcs.crval = [place.ra, place.dec]
    grid.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    grid.wcs.cdelt = [-place.pixel_scale / 3600, place.pixel_scale / 3600]
    return grid

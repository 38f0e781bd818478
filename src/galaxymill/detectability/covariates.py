"""What can be made out of a galaxy's image: its size beside the seeing, its brightness beside the
depth, its redshift.
"""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from galaxymill.settings import Settings

Values = npt.NDArray[np.float64]

NAMES = ("size_fwhm", "contrast", "redshift")
_LARGEST_REDSHIFT = 20.0


class View(Settings):
    """How a survey shows galaxies, in one band: as they are, or farther away."""

    seeing: float = Field(gt=0, le=60, description="FWHM of point sources, arcsec")
    depth: float = Field(ge=5, le=40, description="5 sigma depth for point sources, AB magnitude")
    farther: float = Field(1.0, ge=1, le=1000, description="times as far away")
    redshift: float | None = Field(None, gt=0, le=20, description="or at this redshift")


def covariates(size: Values, magnitude: Values, redshift: Values | None, view: View) -> Values:
    """Give the covariates of galaxies as a view shows them.

    Parameters
    ----------
    size : ndarray, shape (n,)
        Half-light radius, arcsec.
    magnitude : ndarray, shape (n,)
        Total AB magnitude in the view's band.
    redshift : ndarray, shape (n,), or None
        Of the galaxies themselves; None where redshift is no covariate.
    view : View
        With a redshift, sizes go by angular diameter distances and surface brightness dims by
        (1 + z)⁴, as the service ``observed`` does it; farther away in a space that does not expand,
        redshifts grow with the distance.

    Returns
    -------
    ndarray, shape (n, 2 or 3)
        Each grows with what can be made out: the logarithm of size / FWHM; contrast, the depth
        minus the mean surface brightness within the half-light radius (AB magnitudes per square
        arcsec; Graham & Driver 2005, PASA 22, 118, eq. 9); minus the redshift. NaN in every column
        where one of them is unknown or cannot be, as a negative redshift.
    """
    shrunk, dimmed = np.full(len(size), view.farther), np.zeros(len(size))
    seen_at = None if redshift is None else redshift * view.farther
    if redshift is not None and view.redshift is not None:
        known = (redshift > 0) & (redshift <= view.redshift)
        own = np.where(known, redshift, np.nan)
        shrunk = _angular_distance(np.array([view.redshift])) / _angular_distance(own)
        dimmed = 10 * np.log10((1 + view.redshift) / (1 + own))
        seen_at = np.where(known, view.redshift, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        brightness = magnitude + 2.5 * np.log10(2 * np.pi * size**2) + dimmed
        columns = [np.log(size / shrunk / view.seeing), view.depth - brightness]
        if seen_at is not None:
            columns.append(
                np.where((seen_at > 0) & (seen_at <= _LARGEST_REDSHIFT), -seen_at, np.nan)
            )
    rows = np.stack(columns, axis=1)
    rows[~np.isfinite(rows).all(axis=1)] = np.nan
    return rows


def _angular_distance(redshift: Values) -> Values:
    """Angular diameter distance, Mpc, in the cosmology of Planck 2018; NaN stays NaN."""
    from astropy.cosmology import Planck18

    known = np.isfinite(redshift)
    distances = np.full(len(redshift), np.nan)
    distances[known] = Planck18.angular_diameter_distance(redshift[known]).value
    return distances

"""How much smaller and fainter a galaxy is farther away."""

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Move:
    """From here to there: factors of a galaxy's angular size and of its flux, both at most 1."""

    size: float
    flux: float


STILL = Move(1.0, 1.0)
"""Where it is."""


def farther(times: float) -> Move:
    """Move by a factor of distance in a space that is flat and does not expand."""
    return Move(1 / times, 1 / times**2)


def to_redshift(own: float, wanted: float) -> Move:
    """Move from a galaxy's own redshift to a greater one, in the cosmology of Planck 2018.

    Sizes go by the angular diameter distance, fluxes by the luminosity distance squared (Hogg
    1999, eqs 18 and 21), so that surface brightness dims by ``(1 + z)⁴``. There is no K-correction
    and no evolution: each band shows what it showed.
    """
    near, far = _distances(own), _distances(wanted)
    return Move(near[0] / far[0], (near[1] / far[1]) ** 2)


def arcsec_per_parsec(redshift: float) -> float:
    """Angle of a length at a redshift, in the same cosmology."""
    return 206264.80625 / (_distances(redshift)[0] * 1e6)


@lru_cache(maxsize=4096)
def _distances(redshift: float) -> tuple[float, float]:
    """Angular diameter and luminosity distance, Mpc."""
    from astropy.cosmology import Planck18

    angular = float(Planck18.angular_diameter_distance(redshift).value)
    return angular, angular * (1 + redshift) ** 2

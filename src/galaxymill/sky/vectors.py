"""Positions as vectors of length 1, between which a tree finds the nearest."""

import numpy as np
import numpy.typing as npt

Degrees = npt.NDArray[np.float64]


def unit_vectors(ra: Degrees, dec: Degrees) -> Degrees:
    """Turn positions in degrees, shape (n,), into vectors of length 1, shape (n, 3)."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def chord(angle_arcsec: float) -> float:
    """Give the distance of two such vectors at this angle θ: 2 sin(θ/2)."""
    return float(2 * np.sin(np.radians(angle_arcsec / 3600) / 2))

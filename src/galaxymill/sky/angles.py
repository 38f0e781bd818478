"""Angles on the sky; positions are right ascension and declination in degrees."""

import math

import numpy as np
import numpy.typing as npt

Degrees = npt.NDArray[np.float64]


def unit_vectors(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Degrees:
    """Turn positions, shape (n,), into vectors of length 1, shape (n, 3)."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def separation_arcsec(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Angle between two positions, by the haversine formula (Sinnott 1984)."""
    lon1, lat1, lon2, lat2 = map(math.radians, (ra1, dec1, ra2, dec2))
    half = math.sin((lat2 - lat1) / 2) ** 2
    half += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half)))) * 3600


def offsets_deg(
    ra: npt.ArrayLike, dec: npt.ArrayLike, ra0: float, dec0: float
) -> tuple[Degrees, Degrees]:
    """How far positions lie east and north of one near them, shape (n,) each, in degrees."""
    east = ((np.asarray(ra) - ra0 + 180) % 360 - 180) * np.cos(np.radians(dec0))
    return east, np.asarray(dec) - dec0


def chord(angle_arcsec: float) -> float:
    """Distance of two unit vectors at this angle θ: 2 sin(θ/2)."""
    return float(2 * np.sin(np.radians(angle_arcsec / 3600) / 2))

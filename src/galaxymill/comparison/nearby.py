"""Parts of catalogues that touch on the sky, and in them the nearest galaxies."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from galaxymill.comparison.catalogue import Degrees, Part
from galaxymill.sky.angles import chord, unit_vectors
from galaxymill.sky.healpix import INDEX_ORDER, Pixel, healpix_pixels, neighbours

_ORDER = 8
"""A pixel of this order and those around it reach 7 arcmin beyond, which is more than twice the
widest radius: a counterpart is within one radius, who else is near to that within two."""

Rows = npt.NDArray[np.int64]
Place = tuple[Degrees, Degrees]


def nearby_parts(parts: Sequence[Part], others: Sequence[Part]) -> list[list[int]]:
    """List, for each part, the others that may have galaxies within twice the widest radius."""
    whole = (0, 12 * 4**INDEX_ORDER)
    first, end = np.array([part.pixel.range if part.pixel else whole for part in others]).T
    found = []
    for part in parts:
        near = np.zeros(len(others), bool)
        for low, high in _ranges(part.pixel) if part.pixel else [whole]:
            near |= (first < high) & (low < end)
        found.append(np.flatnonzero(near).tolist())
    return found


def _ranges(tile: Pixel) -> list[tuple[int, int]]:
    """Order-29 pixels of a tile, at least one of ``_ORDER``, and of the 8 around it."""
    order = min(tile.order, _ORDER)
    own = tile.pixel >> 2 * (tile.order - order)
    around = neighbours(np.array([own]), order)[0]
    return [Pixel(order, int(pixel), 0).range for pixel in (own, *around) if pixel >= 0]


def nearest(
    a: Sequence[Place], own: Place, around: Sequence[Place], radius_arcsec: float
) -> tuple[Rows, Rows, Degrees]:
    """Find galaxies of A whose nearest of B is in a part of it, not in those around that.

    Returns
    -------
    rows_a : ndarray, shape (n,)
        Counted through all of A, ascending.
    rows_b : ndarray, shape (n,)
        In the part of B.
    separation_arcsec : ndarray, shape (n,)
    """
    from scipy.spatial import cKDTree

    own_pixels = np.unique(healpix_pixels(*own, _ORDER))
    near = np.union1d(own_pixels, neighbours(own_pixels, _ORDER))
    rows_a, vectors_a = _within(a, near)
    _, vectors_around = _within(around, near)
    if not len(rows_a) or not len(own_pixels):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    tree = cKDTree(np.concatenate([unit_vectors(*own), vectors_around]))
    # The bound itself is excluded.
    bound = chord(radius_arcsec) * (1 + 1e-12)
    distance, rows_b = tree.query(vectors_a, distance_upper_bound=bound)
    found = rows_b < len(own[0])
    # The chord of an angle θ is 2 sin(θ/2).
    separation = np.degrees(2 * np.arcsin(distance[found] / 2)) * 3600
    return rows_a[found], rows_b[found].astype(np.int64), separation


def _within(places: Sequence[Place], pixels: Rows) -> tuple[Rows, Degrees]:
    """Rows, counted through all places, that lie in some pixels, and their vectors."""
    rows, vectors, start = [np.empty(0, np.int64)], [np.empty((0, 3))], 0
    for ra, dec in places:
        inside = np.flatnonzero(np.isin(healpix_pixels(ra, dec, _ORDER), pixels))
        rows.append(start + inside)
        vectors.append(unit_vectors(ra[inside], dec[inside]))
        start += len(ra)
    return np.concatenate(rows), np.concatenate(vectors)

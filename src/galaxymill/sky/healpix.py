"""HEALPix pixels of positions (nested), by cdshealpix: the index that HATS is built on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError

INDEX_ORDER = 29
"""Order of the column ``_healpix_29``."""
HIGHEST_ORDER = 10
"""Tiles are never smaller than a pixel of this order, 3.4 arcmin."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pixel:
    """One HEALPix pixel (nested) and the number of galaxies in it."""

    order: int
    pixel: int
    rows: int

    @property
    def range(self) -> tuple[int, int]:
        """First and one past the last order-29 pixel: a pixel has 4 children each order."""
        step = 4 ** (INDEX_ORDER - self.order)
        return self.pixel * step, (self.pixel + 1) * step


def healpix_pixels(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], order: int
) -> Integers:
    """Find the nested HEALPix pixel of each position, shape (n,), at an order of 0 to 29.

    ``ra`` and ``dec``, shape (n,), are ICRS degrees, finite: a NaN would get a pixel all the same.
    """
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    lon, lat = Longitude(ra % 360, unit="deg"), Latitude(dec, unit="deg", copy=False)
    pixels: Integers = lonlat_to_healpix(lon, lat, order).astype(np.int64)
    return pixels


def neighbours(pixels: Integers, order: int) -> Integers:
    """Find the 8 neighbours of each pixel, shape (n, 8); -1 where a corner has none."""
    from cdshealpix.nested import neighbours as around

    found = np.asarray(around(pixels.astype(np.uint64), order), np.int64)
    return found[:, np.arange(9) != 4]


def count_pixels(index: Integers) -> Integers:
    """Count galaxies per pixel of ``HIGHEST_ORDER``, shape (12 · 4^HIGHEST_ORDER,).

    ``index`` is column ``_healpix_29``, shape (n,).
    """
    pixels = index >> 2 * (INDEX_ORDER - HIGHEST_ORDER)
    return np.bincount(pixels, minlength=12 * 4**HIGHEST_ORDER)


def cut_sky(counts: Integers, most: int, setting: str) -> list[Pixel]:
    """Cut the sky into pixels of at most ``most`` galaxies each, as HATS does.

    Parameters
    ----------
    counts : ndarray, shape (12 · 4^HIGHEST_ORDER,)
        Galaxies per pixel, from `count_pixels`.
    most : int
    setting : str
        Where ``most`` comes from, to name in errors.

    Returns
    -------
    list of Pixel
        Those that hold galaxies, in the order of the sky.

    Raises
    ------
    UserError
        When one pixel of the highest order holds more.
    """
    from hats.pixel_math.partition_stats import generate_alignment

    if counts.max() > most:
        raise UserError(
            f"{setting}: {most} is less than the {counts.max()} galaxies in one HEALPix pixel of "
            f"order {HIGHEST_ORDER}; allowed: at least {counts.max()}"
        )
    # hats walks over every pixel in Python: start no finer than the crowded fields need.
    orders = range(HIGHEST_ORDER + 1)
    order = next(k for k in orders if counts.reshape(12 * 4**k, -1).sum(axis=1).max() <= most)
    alignment = generate_alignment(
        counts.reshape(12 * 4**order, -1).sum(axis=1),
        highest_order=order,
        lowest_order=0,
        threshold=most,
        drop_empty_siblings=True,
    )
    cut = {tuple(map(int, pixel)) for pixel in alignment if pixel is not None and pixel[2]}
    return sorted((Pixel(*pixel) for pixel in cut), key=lambda pixel: pixel.range)

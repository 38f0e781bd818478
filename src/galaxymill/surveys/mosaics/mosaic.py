"""Cut squares out of larger images, and stack bands into the one FITS form that render reads."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galaxymill.sky.angles import unit_vectors
from galaxymill.surveys.base import Target

if TYPE_CHECKING:
    from astropy.io.fits import Header

_BLOCK = 2880
_OWN_CARDS = {"CRPIX1", "CRPIX2", "WCSAXES", "BUNIT"}
_STRUCTURE = {"SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO"}
_ROUND_TRIP_PIXELS = 0.05
_MAX_AXES = 9
_MAX_ZERO_POINT = 50

Pixels = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mosaic:
    """A large image on the sky, in one band.

    ``data`` is an array, shape (height, width), or a `TileImage`, of which only what is cut is
    read; ``header`` has a celestial WCS; pixels times ``factor`` are nanomaggies.
    """

    data: Any
    header: "Header"
    factor: float = 1.0

    @cached_property
    def wcs(self) -> Any:
        """The celestial WCS, ICRS or FK5 of J2000 (0.02 arcsec apart); ValueError without one."""
        from astropy.wcs import WCS, FITSFixedWarning

        if not 2 <= int(self.header.get("WCSAXES", 2)) <= _MAX_AXES:
            # The library takes memory by its square.
            raise ValueError("its WCS has too few or too many axes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(self.header, naxis=2)
        _require_equatorial(wcs)
        return wcs

    @cached_property
    def wcs_header(self) -> "Header":
        """Cards of the WCS, distortions included."""
        header = self.wcs.to_header(relax=True)
        # The library leaves out what has its default value, 0.
        header["CRPIX1"], header["CRPIX2"] = map(float, self.wcs.wcs.crpix)
        return header

    @cached_property
    def pixel_scale(self) -> float:
        """In arcsec per pixel, the mean of both axes."""
        from astropy.wcs.utils import proj_plane_pixel_scales

        return float(np.mean(proj_plane_pixel_scales(self.wcs))) * 3600

    def pixels(self, ra: Pixels, dec: Pixels) -> tuple[Pixels, Pixels]:
        """Find pixel coordinates (x, y), from 0, of ICRS positions in degrees, all of shape (n,).

        They are NaN where the way back does not lead to the position again, as far from the image
        and where a distortion cannot be inverted.
        """
        ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        x, y = self.wcs.all_world2pix(ra, dec, 0, quiet=True)
        apart = unit_vectors(*self.wcs.all_pix2world(x, y, 0)) - unit_vectors(ra, dec)
        tolerance = np.radians(_ROUND_TRIP_PIXELS * self.pixel_scale / 3600)
        good = np.linalg.norm(apart, axis=-1) <= tolerance
        return np.where(good, x, np.nan), np.where(good, y, np.nan)

    def pixel(self, ra: float, dec: float) -> tuple[float, float]:
        """Pixel coordinates (x, y) of one ICRS position; see `pixels`."""
        x, y = self.pixels(np.array([ra]), np.array([dec]))
        return float(x[0]), float(y[0])

    def depths(self, ra: Pixels, dec: Pixels) -> Pixels:
        """Distances in pixels from the nearest edge, shape (n,); negative outside and where NaN."""
        x, y = self.pixels(ra, dec)
        height, width = self.data.shape
        nearest = np.min([x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y], axis=0)
        return np.where(np.isnan(nearest), -1.0, nearest)

    def size_of(self, target: Target) -> int:
        """Pixels of this image that the target's field spans."""
        return max(1, round(target.size * target.pixel_scale / self.pixel_scale))


@dataclass(frozen=True)
class Plane:
    """A square cut out of a mosaic, in nanomaggies, NaN beyond its edge; ``header`` is its WCS."""

    data: npt.NDArray[np.float32]
    header: "Header"
    whole: bool


def cut(mosaic: Mosaic, target: Target, size: int | None = None) -> Plane | None:
    """Cut the square around a target, as ``astropy.nddata.Cutout2D`` in mode ``partial`` does.

    The position is in the middle, to half a pixel; ``size`` is in pixels of the mosaic, by default
    those that the target's field spans. None when the square lies outside the mosaic.
    """
    side = size or mosaic.size_of(target)
    position = np.array(mosaic.pixel(target.ra, target.dec))
    if not np.isfinite(position).all():
        return None
    x, y = (int(start) for start in first_pixel(position, side))
    data = np.full((side, side), np.nan, np.float32)
    share = paste(data, mosaic.data, x, y, mosaic.factor)
    if share == 0:
        return None
    header = mosaic.wcs_header.copy()
    header["CRPIX1"] -= x
    header["CRPIX2"] -= y
    return Plane(data, header, share == side * side)


def first_pixel(position: Pixels, side: int | Indices) -> Indices:
    """First row or column of squares, rounded as in Cutout2D: ``ceil(position − side / 2)``."""
    return np.ceil(position - np.asarray(side) / 2).astype(np.int64)


def paste(square: npt.NDArray[Any], data: Any, x: int, y: int, factor: float = 1.0) -> int:
    """Fill a square with the pixels of an image, as far as it lies there, and count these.

    ``square``, shape (side, side), begins at column ``x`` and row ``y`` of the image, which may be
    negative; what lies outside is left as it is.
    """
    side = len(square)
    height, width = map(int, data.shape)
    rows = slice(max(y, 0), min(y + side, height))
    columns = slice(max(x, 0), min(x + side, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0
    pixels = data[rows, columns]
    inside = square[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    inside[:] = pixels if factor == 1 else pixels * np.float32(factor)
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def stack(
    planes: Mapping[str, Plane], bands: Sequence[str], unit: str | None = "nanomaggy"
) -> bytes:
    """Write the planes of one galaxy, all of one size, as a FITS cutout.

    Its primary HDU is (band, y, x), named by BAND0, BAND1, …, in the order of ``bands``; those that
    are absent are left out. The WCS is that of the first; ``unit`` is None when it is not known.
    """
    present = [band for band in bands if band in planes]
    header = planes[present[0]].header
    cube = np.stack([planes[band].data for band in present])
    return CutoutForm(header, present, unit).write(cube)


class CutoutForm:
    """Write cutouts of one mosaic: their headers differ in size and reference pixel alone."""

    def __init__(
        self, wcs_header: "Header", bands: Sequence[str], unit: str | None = "nanomaggy"
    ) -> None:
        from astropy.io.fits import Card, Header

        own = Header({f"BAND{index}": band for index, band in enumerate(bands)})
        if unit is not None:
            own["BUNIT"] = unit
        kept = [card for card in wcs_header.cards if not _is_own(card.keyword)]
        self._last = "".join(card.image for card in [*kept, *own.cards]) + f"{'END':<80}"
        first = (("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 3))
        self._first = "".join(Card(*pair).image for pair in first)
        # The default of a card that is absent is 0.
        self._crpix = tuple(float(wcs_header.get(f"CRPIX{axis}", 0)) for axis in (1, 2))

    def write(self, cube: npt.NDArray[Any], x: int = 0, y: int = 0) -> bytes:
        """Write one cutout, (band, height, width), from column x and row y of the mosaic on."""
        count, height, width = cube.shape
        axes = _number("NAXIS1", width) + _number("NAXIS2", height) + _number("NAXIS3", count)
        # WCSAXES must stand before every other card of the WCS.
        places = _number("CRPIX1", self._crpix[0] - x) + _number("CRPIX2", self._crpix[1] - y)
        head = (self._first + axes + _number("WCSAXES", 2) + places + self._last).encode("ascii")
        data = np.ascontiguousarray(cube, ">f4").tobytes()
        return b"".join((head, b" " * (-len(head) % _BLOCK), data, b"\0" * (-len(data) % _BLOCK)))


def _is_own(keyword: str) -> bool:
    """Whether a cutout has its own card of this name."""
    return keyword in _OWN_CARDS | _STRUCTURE or keyword.startswith(("NAXIS", "BAND"))


def _number(keyword: str, value: float) -> str:
    """Write one card in fixed format: 14 digits, which keeps a billionth of a pixel."""
    return f"{keyword:<8}= {value:>20.14G}".ljust(80)


def zero_point_factor(zero_point: float) -> float:
    """Nanomaggies in one unit of flux of this AB zero point: ``10 ** (0.4 (22.5 − zp))``."""
    return float(10 ** (0.4 * (22.5 - zero_point)))


def flux_factors(zero_points: Sequence[float], bands: Sequence[str]) -> dict[str, float]:
    """Nanomaggies in one unit of flux, by band, of one zero point for all or one each.

    Raises ValueError for another number of them, or absurd ones.
    """
    if len(zero_points) not in (1, len(bands)):
        counts = f"{len(zero_points)} numbers for {len(bands)} bands"
        raise ValueError(f"zero_points holds {counts}; give one, or one each")
    if not all(abs(point) <= _MAX_ZERO_POINT for point in zero_points):
        raise ValueError(f"zero_points: magnitudes are at most {_MAX_ZERO_POINT}")
    points = [*zero_points] * (len(bands) // len(zero_points))
    return {band: zero_point_factor(point) for band, point in zip(bands, points, strict=True)}


def _require_equatorial(wcs: Any) -> None:
    """Raise ValueError for a WCS in other coordinates: positions would be wrong."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    if wcs.wcs.lng != 0 or wcs.wcs.lat != 1:
        raise ValueError("its WCS is not celestial, right ascension first")
    frame = wcs_to_celestial_frame(wcs)
    j2000 = frame.name == "icrs" or (frame.name == "fk5" and abs(frame.equinox.jyear - 2000) < 1e-6)
    if not j2000:
        raise ValueError(
            "its WCS is not in right ascension and declination of J2000, in this order"
        )

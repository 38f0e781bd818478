"""Where on the sky an image lies, by a FITS header from outside.

Only the cards below reach the WCS library, as numbers and not as text: the celestial axes 1 and
2, linear terms, PV and SIP. Look-up tables, further axes and any other card are not looked at.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.sky.angles import unit_vectors

_KINDS = re.compile(r"(RA--|DEC-)-([A-Z]{3})(-SIP)?")
_PV = re.compile(r"PV([12])_(\d{1,2})")
_DEGREES = ("", "deg", "degree", "degrees")
_MAX_SIP_ORDER = 9
SQUARE_TOLERANCE = 0.02
SCALE_TOLERANCE = 0.02
"""By which a pixel scale may differ from the one asked for, as a share."""

_STEP = 1 / 8
"""Where the scale is measured, as a share of the image's sides from its middle: wide enough to
feel distortions, narrow enough to stay on the plane of the projection."""


@dataclass(frozen=True)
class Place:
    """Where an image lies on the sky: its middle in degrees, in the frame of the header.

    ``pixel_scale`` is in arcsec per pixel about the middle; ``axes`` are the steps
    (east, north), in arcsec, of one pixel along x and of one along y.
    """

    ra: float
    dec: float
    pixel_scale: float
    axes: tuple[tuple[float, float], tuple[float, float]]


def locate(header: Mapping[str, Any], width: int, height: int) -> Place | None:
    """Find where on the sky an image of this width and height in pixels lies, by its header.

    None without a usable WCS, which is no error, or when the pixels are not square to 2 %.
    """
    found = _measure(header, width, height)
    if found is None or np.ptp(found[1]) > SQUARE_TOLERANCE * found[1].max():
        return None
    (ra, dec), scales, steps = found
    lon, lat = np.radians(ra), np.radians(dec)
    east = np.array([-np.sin(lon), np.cos(lon), 0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    across, up = (np.degrees(steps @ np.stack([east, north], axis=1)) * 3600).tolist()
    return Place(ra % 360, dec, float(scales.mean()), (tuple(across), tuple(up)))


def pixel_size(header: Mapping[str, Any], width: int, height: int) -> tuple[float, float] | None:
    """Measure the height and width of a pixel, in arcsec, also where `locate` finds no place."""
    found = _measure(header, width, height)
    return None if found is None else (float(found[1][1]), float(found[1][0]))


def _measure(
    header: Mapping[str, Any], width: int, height: int
) -> tuple[tuple[float, float], npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Find ra and dec of the middle, the sides of a pixel in arcsec, and its steps as vectors."""
    try:
        ra, dec = celestial_wcs(header).all_pix2world(
            (width - 1) / 2 + width * _STEP * np.array([0, 1, -1, 0, 0]),
            (height - 1) / 2 + height * _STEP * np.array([0, 0, 0, 1, -1]),
            0,
        )
    except Exception:
        # Whatever a header from outside makes the WCS library do, it is one galaxy's fault.
        return None
    points = unit_vectors(ra, dec)
    steps = (points[1::2] - points[2::2]) / (2 * _STEP * np.array([[width], [height]]))
    scales = np.degrees(np.linalg.norm(steps, axis=1)) * 3600
    if not scales.min() > 0 or not scales.max() < np.inf:
        return None
    return (float(ra[0]), float(dec[0])), scales, steps


def tangent_grid(ra: float, dec: float, pixel_scale: float, width: int, height: int) -> Any:
    """Build the WCS of a tangential grid about a position, north up, at arcsec per pixel."""
    from astropy.wcs import WCS

    grid = WCS(naxis=2)
    grid.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    grid.wcs.crval = [ra, dec]
    grid.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    grid.wcs.cdelt = [-pixel_scale / 3600, pixel_scale / 3600]
    grid.pixel_shape = (width, height)
    return grid


def celestial_wcs(header: Mapping[str, Any]) -> Any:
    """Build the WCS from its cards, one by one; raises whatever it likes when they are no good."""
    from astropy.wcs import WCS

    kinds = [_KINDS.fullmatch(str(header[f"CTYPE{axis}"]).strip()) for axis in (1, 2)]
    if {kind and kind[1] for kind in kinds} != {"RA--", "DEC-"}:
        raise ValueError("the axes are not ra and dec")
    if any(str(header.get(f"CUNIT{axis}", "")).strip().lower() not in _DEGREES for axis in (1, 2)):
        raise ValueError("coordinates are not in degrees")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [str(header[f"CTYPE{axis}"]).strip() for axis in (1, 2)]
    wcs.wcs.crval = [float(header[f"CRVAL{axis}"]) for axis in (1, 2)]
    wcs.wcs.crpix = [float(header[f"CRPIX{axis}"]) for axis in (1, 2)]
    _set_scale(wcs.wcs, header)
    for name in ("LONPOLE", "LATPOLE"):
        if name in header:
            setattr(wcs.wcs, name.lower(), float(header[name]))
    pv = [(name, _PV.fullmatch(name)) for name in header]
    wcs.wcs.set_pv([(int(at[1]), int(at[2]), float(header[name])) for name, at in pv if at])
    if "A_ORDER" in header:
        wcs.sip = _sip(header, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def _set_scale(prm: Any, header: Mapping[str, Any]) -> None:
    """Set the matrix of the linear terms, in any of its three spellings (CD, PC, CROTA2)."""

    def matrix(kind: str, diagonal: float) -> list[list[float]]:
        return [
            [float(header.get(f"{kind}{i}_{j}", diagonal if i == j else 0)) for j in (1, 2)]
            for i in (1, 2)
        ]

    spelt = {
        kind for kind in ("CD", "PC") for i in "12" for j in "12" if f"{kind}{i}_{j}" in header
    }
    if spelt == {"CD", "PC"}:
        raise ValueError("the header has both a CD and a PC matrix")
    if "CD" in spelt:
        prm.cd = matrix("CD", 0.0)
        return
    prm.cdelt = [float(header[f"CDELT{axis}"]) for axis in (1, 2)]
    if "CROTA2" in header:
        prm.crota = [0.0, float(header["CROTA2"])]
    else:
        prm.pc = matrix("PC", 1.0)


def _sip(header: Mapping[str, Any], crpix: Any) -> Any:
    """Read the SIP polynomials (Shupe+05) from pixels to the sky."""
    from astropy.wcs import Sip

    polynomials = []
    for name in "AB":
        order = int(header[f"{name}_ORDER"])
        if not 0 <= order <= _MAX_SIP_ORDER:
            raise ValueError(f"SIP order {order}")
        terms = np.zeros((order + 1, order + 1))
        for i in range(order + 1):
            for j in range(order + 1 - i):
                terms[i, j] = float(header.get(f"{name}_{i}_{j}", 0))
        polynomials.append(terms)
    return Sip(*polynomials, None, None, crpix)

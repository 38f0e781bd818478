"""Where a survey has been: galaxies outside are answered without a request."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError
from galaxymill.surveys.base import Cutout, Target
from galaxymill.tables import in_unit, read_table, require_file

_BRICK = ("ra1", "ra2", "dec1", "dec2")
_MOC_KINDS = {".fits": "fits", ".json": "json"}
_MAX_BYTES = 500_000_000
_AT_ONCE = 256
_MAX_PIECES = 20_000_000
_PLACES = 5000
_GOLDEN_DEG = 360 * (5**0.5 - 1) / 2
_WHOLE_SKY = 0.98
OUTSIDE = "outside the footprint"

logger = logging.getLogger("galaxymill")

Degrees = npt.NDArray[np.float64]


class Footprint(Protocol):
    """A region of the sky."""

    def contains(self, ra: Degrees, dec: Degrees) -> npt.NDArray[np.bool_]:
        """Tell which ICRS positions (degrees, shape (n,)) lie inside."""


class _Moc:
    def __init__(self, path: Path, kind: str) -> None:
        from mocpy import MOC

        try:
            self._moc = MOC.load(path, kind)
            empty = self._moc.empty()
        except Exception as error:
            # The reader's own errors are of many kinds.
            raise UserError(f"{path}: not a MOC ({_one_line(error)}); allowed: FITS or JSON") from (
                error
            )
        if empty:
            raise UserError(f"{path}: no MOC, or an empty one: no galaxy would be asked for")

    def contains(self, ra: Degrees, dec: Degrees) -> npt.NDArray[np.bool_]:
        """Tell which positions lie inside."""
        from astropy import units as u

        inside: npt.NDArray[np.bool_] = self._moc.contains_lonlat(ra * u.deg, dec * u.deg)
        return inside


class _Bricks:
    """A table of rectangles; those with ra1 > ra2 go over RA 0.

    The declinations of all their edges cut the sky into bands. The rectangles' pieces in all
    bands are intervals of one number: right ascension, and a stride for each band.
    """

    _STRIDE = 720.0

    def __init__(self, path: Path) -> None:
        ra1, ra2, dec1, dec2 = _corners(path)
        dec2 = np.where(dec2 >= 90, 91, dec2)
        self._edges = np.unique(np.concatenate([dec1, dec2]))
        first, last = np.searchsorted(self._edges, dec1), np.searchsorted(self._edges, dec2)
        counts = last - first
        if counts.sum() > _MAX_PIECES:
            raise UserError(f"{path}: its bricks are in no rows; make a MOC of it")
        brick = np.repeat(np.arange(len(counts)), counts)
        band = first[brick] + np.arange(len(brick)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = ra1[brick] % 360
        width = np.where(ra2 < ra1, ra2 - ra1 + 360, ra2 - ra1)[brick]
        stop = start + np.minimum(width, 360)
        over = stop > 360
        starts = np.concatenate([start, np.zeros(over.sum())])
        stops = np.concatenate([np.minimum(stop, 360), stop[over] - 360])
        offsets = np.concatenate([band, band[over]]) * self._STRIDE
        order = np.argsort(starts + offsets)
        self._starts = (starts + offsets)[order]
        # How far all that begin before reach: inside is whoever has not come so far.
        self._reach = np.maximum.accumulate((stops + offsets)[order])

    def contains(self, ra: Degrees, dec: Degrees) -> npt.NDArray[np.bool_]:
        """Tell which positions lie inside."""
        band = np.searchsorted(self._edges, dec, side="right") - 1
        place = ra % 360 + band * self._STRIDE
        index = np.searchsorted(self._starts, place, side="right") - 1
        inside: npt.NDArray[np.bool_] = (index >= 0) & (place < self._reach[index])
        return inside


def _corners(path: Path) -> list[Degrees]:
    """Read ra1, ra2, dec1, dec2 of all bricks; the names are in lower or upper case."""
    try:
        table = read_table(path, _BRICK)
    except UserError as error:
        try:
            table = read_table(path, [name.upper() for name in _BRICK])
        except UserError:
            raise error from None
    columns = [in_unit(path, table, name, "deg").to_numpy() for name in table.column_names]
    finite = all(np.isfinite(values).all() for values in columns)
    if not (len(table) and finite and (columns[2] < columns[3]).all()):
        raise UserError(
            f"{path}: every brick needs finite ra1, ra2 and dec1 < dec2; there are {len(table)}"
        )
    return columns


def load_footprint(path: Path) -> Footprint:
    """Read a footprint: a MOC (``.fits``, ``.json``), or a table of bricks.

    Bricks (``.fits``, ``.csv``, ``.parquet``) have the columns ra1, ra2, dec1, dec2 in degrees, as
    the Legacy Surveys publish (those of a release: ``survey-bricks`` alone names the bricks of the
    whole sky). Raises UserError when it is none of these.
    """
    require_file(path)
    if path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: larger than {_MAX_BYTES / 1e6:.0f} MB; no footprint is")
    kind = _MOC_KINDS.get(path.suffix.lower())
    if kind is None or (kind == "fits" and _has_bricks(path)):
        return _Bricks(path)
    return _Moc(path, kind)


def _has_bricks(path: Path) -> bool:
    from astropy.io import fits

    try:
        with warnings.catch_warnings(action="ignore"), fits.open(path, memmap=True) as hdus:
            tables = [hdu.columns.names for hdu in hdus[1:] if hasattr(hdu, "columns")]
    except Exception as error:
        # The reader's own errors are of many kinds.
        raise UserError(f"{path}: not a FITS file ({_one_line(error)})") from error
    return any(set(_BRICK) <= {name.lower() for name in names} for names in tables)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def screen(targets: Iterable[Target], footprint: Path | None) -> Iterator[Target | Cutout]:
    """Settle the galaxies outside a footprint; the others are given as they are, in order."""
    if footprint is None:
        yield from targets
        return
    region = load_footprint(footprint)
    if _sky_share(region) > _WHOLE_SKY:
        logger.warning(
            "footprint %s covers the whole sky, so it settles no galaxy: take a table of the "
            "bricks that the survey has observed, not of all that there could be",
            footprint,
        )
    reason = f"{OUTSIDE} {footprint.name}"
    waiting = iter(targets)
    while some := list(islice(waiting, _AT_ONCE)):
        ra, dec = (np.array([getattr(target, name) for target in some]) for name in ("ra", "dec"))
        for target, inside in zip(some, region.contains(ra, dec), strict=True):
            yield target if inside else Cutout(target, "no_coverage", reason=reason)


def _sky_share(region: Footprint) -> float:
    """Estimate which share of the sky a region covers, from places on a spiral (González 2010)."""
    turn = np.arange(_PLACES, dtype=np.float64)
    ra, z = turn * _GOLDEN_DEG % 360, (2 * turn + 1) / _PLACES - 1
    return float(region.contains(ra, np.degrees(np.arcsin(z))).mean())

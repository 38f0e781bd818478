"""Where a survey has been: galaxies outside are answered without a request."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError
from galaxymill.surveys.base import Cutout, Target
from galaxymill.tables import column_names, in_unit, read_table, require_file

_BRICK = ("ra1", "ra2", "dec1", "dec2")
_MOC_KINDS = {".fits": "fits", ".json": "json"}
_MAX_BYTES = 500_000_000
_AT_ONCE = 256
_MAX_PIECES = 20_000_000
_PLACES = 5000
_GOLDEN_DEG = 360 * (5**0.5 - 1) / 2
_WHOLE_SKY = 0.98
_STRIDE = 720.0
OUTSIDE = "outside the footprint"

logger = logging.getLogger("galaxymill")

Degrees = npt.NDArray[np.float64]


Footprint = Callable[[Degrees, Degrees], npt.NDArray[np.bool_]]
"""A region of the sky: which ICRS positions (degrees, shape (n,)) lie inside."""


def _moc(path: Path, kind: str) -> Footprint:
    from astropy import units as u
    from mocpy import MOC

    try:
        moc = MOC.load(path, kind)
        empty = moc.empty()
    except Exception as error:
        # The reader's own errors are of many kinds.
        reason = _one_line(error)
        raise UserError(f"{path}: not a MOC ({reason}); allowed: FITS or JSON") from error
    if empty:
        raise UserError(f"{path}: no MOC, or an empty one: no galaxy would be asked for")
    return lambda ra, dec: moc.contains_lonlat(ra * u.deg, dec * u.deg)


def _bricks(path: Path) -> Footprint:
    """Read a table of rectangles; those with ra1 > ra2 go over RA 0.

    The declinations of all their edges cut the sky into bands. The rectangles' pieces in all
    bands are intervals of one number: right ascension, and a stride for each band.
    """
    ra1, ra2, dec1, dec2 = _corners(path)
    dec2 = np.where(dec2 >= 90, 91, dec2)
    edges = np.unique(np.concatenate([dec1, dec2]))
    first, last = np.searchsorted(edges, dec1), np.searchsorted(edges, dec2)
    counts = last - first
    if counts.sum() > _MAX_PIECES:
        raise UserError(f"{path}: its bricks are in no rows; make a MOC of it")
    brick = np.repeat(np.arange(len(counts)), counts)
    band = first[brick] + np.arange(len(brick)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = ra1[brick] % 360
    width = np.where(ra2 < ra1, ra2 - ra1 + 360, ra2 - ra1)[brick]
    stop = start + np.minimum(width, 360)
    over = stop > 360
    offsets = np.concatenate([band, band[over]]) * _STRIDE
    starts = np.concatenate([start, np.zeros(over.sum())]) + offsets
    stops = np.concatenate([np.minimum(stop, 360), stop[over] - 360]) + offsets
    order = np.argsort(starts)
    starts = starts[order]
    # How far all that begin before reach: inside is whoever has not come so far.
    reach = np.maximum.accumulate(stops[order])

    def contains(ra: Degrees, dec: Degrees) -> npt.NDArray[np.bool_]:
        place = ra % 360 + (np.searchsorted(edges, dec, side="right") - 1) * _STRIDE
        index = np.searchsorted(starts, place, side="right") - 1
        return (index >= 0) & (place < reach[index])

    return contains


def _corners(path: Path) -> list[Degrees]:
    """Read ra1, ra2, dec1, dec2 of all bricks; the names are in lower or upper case."""
    upper = [name.upper() for name in _BRICK]
    table = read_table(path, upper if set(upper) <= set(column_names(path)) else _BRICK)
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
        return _bricks(path)
    return _moc(path, kind)


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
    """Answer the galaxies outside a footprint; the others are passed on as they are, in order."""
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
        for target, inside in zip(some, region(ra, dec), strict=True):
            yield target if inside else Cutout(target, "no_coverage", reason=reason)


def _sky_share(region: Footprint) -> float:
    """Estimate which share of the sky a region covers, from places on a spiral (González 2010)."""
    turn = np.arange(_PLACES, dtype=np.float64)
    ra, z = turn * _GOLDEN_DEG % 360, (2 * turn + 1) / _PLACES - 1
    return float(region(ra, np.degrees(np.arcsin(z))).mean())

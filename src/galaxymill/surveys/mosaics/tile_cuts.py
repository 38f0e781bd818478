"""Cut all galaxies of one tile: where their squares lie, what is read at once, what comes out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import PayloadError
from galaxymill.surveys.base import MAX_PAYLOAD_BYTES, MAX_SIZE, Cutout, Target
from galaxymill.surveys.mosaics.mosaic import CutoutForm, Indices, Mosaic, first_pixel, paste
from galaxymill.surveys.mosaics.tile_image import TileImage
from galaxymill.surveys.validate import is_empty

_COINCIDE_PIXELS = 0.1
_READ_PIXELS = 20_000_000
"""Most pixels of a tile held at once, over all bands; a single square may have more."""


@dataclass(frozen=True)
class _Square:
    """Where the cutout of one galaxy lies, in pixels of the tile.

    ``corners`` are column and row of the first pixel by band, and may be negative; ``apart`` is
    the first band whose pixels do not coincide with the others', or empty.
    """

    target: Target
    side: int
    corners: dict[str, tuple[int, int]]
    apart: str = ""


def cut_tile(
    name: str, mosaics: Mapping[str, Mosaic], targets: Sequence[Target], bands: Sequence[str]
) -> Iterator[Cutout]:
    """Cut all galaxies of one tile: one cutout per target, in the order of the tile's rows.

    ``mosaics`` is the tile by band, their data `TileImage`; ``bands`` are those that are asked for.
    A square that the tile cannot be read for is ``failed``.
    """
    url, first = f"tile:{name}", next(iter(mosaics.values()))
    form = CutoutForm(first.wcs_header, list(mosaics))
    good = []
    for square in _squares(mosaics, first, targets):
        if reason := _unfit(square, mosaics):
            yield Cutout(square.target, "invalid", reason=reason, url=url)
        else:
            good.append(square)
    for group in _groups(good, first.data, _READ_PIXELS // len(mosaics)):
        try:
            pastes = {band: _read(mosaic, band, group) for band, mosaic in mosaics.items()}
        except PayloadError as error:
            for square in group:
                yield Cutout(square.target, "failed", reason=str(error), url=url)
            continue
        for square in group:
            yield _cut(square, pastes, form, bands, url)
        # The pixels of one group are not held while those of the next are read.
        del pastes


def _squares(
    mosaics: Mapping[str, Mosaic], first: Mosaic, targets: Sequence[Target]
) -> list[_Square]:
    """Find where the cutouts lie: in the first band around the galaxy, in others on its pixels."""
    sides = np.array([first.size_of(target) for target in targets], np.int64)
    ra = np.array([target.ra for target in targets])
    dec = np.array([target.dec for target in targets])
    x, y = (first_pixel(position, sides) for position in first.pixels(ra, dec))
    corners: dict[str, list[tuple[int, int]]] = {}
    apart = np.full(len(targets), "", dtype=object)
    for band, mosaic in mosaics.items():
        own_x, own_y, coincide = _on_other_grid(first, mosaic, x, y, sides)
        apart[~coincide & (apart == "")] = band
        corners[band] = list(zip(own_x.tolist(), own_y.tolist(), strict=True))
    places = [dict(zip(corners, each, strict=True)) for each in zip(*corners.values(), strict=True)]
    return list(map(_Square, targets, sides.tolist(), places, apart))


def _on_other_grid(
    first: Mosaic, other: Mosaic, x: Indices, y: Indices, sides: Indices
) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """First pixels of the same squares in another band, and whether their pixels coincide.

    They do when three corners fall on whole pixels, as far apart as in the first band, to a tenth
    of a pixel: shifted tiles are cut, rotated or finer ones are not.
    """
    if other is first or str(other.wcs_header) == str(first.wcs_header):
        return x, y, np.ones(len(x), bool)
    last = sides - 1
    right, up = np.array([[0, 1, 0], [0, 0, 1]])[:, :, None] * last
    at = other.pixels(*first.wcs.all_pix2world(x + right, y + up, 0))
    start_x, start_y = (np.rint(np.nan_to_num(axis[0])).astype(np.int64) for axis in at)
    off = np.hypot(at[0] - start_x - right, at[1] - start_y - up)
    # NaN, where there is no pixel, compares as false.
    return start_x, start_y, off.max(axis=0) <= _COINCIDE_PIXELS


def _unfit(square: _Square, mosaics: Mapping[str, Mosaic]) -> str:
    """Why a square cannot be cut; empty when it can."""
    if square.side > MAX_SIZE or square.side**2 * 4 * len(mosaics) > MAX_PAYLOAD_BYTES:
        return f"the field spans {square.side} pixels of the tile, too many; choose a smaller one"
    if square.apart:
        return f"band {square.apart} lies on other pixels than {next(iter(mosaics))}"
    return ""


def _groups(squares: Sequence[_Square], image: TileImage, most: int) -> list[list[_Square]]:
    """Put together, in the order of the rows, the squares that are read at once.

    Squares that share rows are read in one strip of at most ``most`` pixels, so that nothing is
    decompressed twice; where galaxies are sparse and the tile is compressed in small pieces, each
    by itself is less work. ``image`` is the tile in the first band.
    """
    band = next(iter(squares[0].corners)) if squares else ""
    strips: list[list[_Square]] = []
    begin = end = 0
    for square in sorted(squares, key=lambda one: one.corners[band][::-1]):
        start = square.corners[band][1]
        stop = start + square.side
        if strips and start < end and (max(stop, end) - begin) * image.shape[1] <= most:
            strips[-1].append(square)
        else:
            strips.append([square])
            begin = end = start
        end = max(end, stop)
    singles = [[square] for strip in strips for square in strip]
    cheaper = sum(_cost(one, band, image) for one in singles) < sum(
        _cost(strip, band, image) for strip in strips
    )
    return singles if cheaper else strips


def _box(group: Sequence[_Square], band: str, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the tile that a group of squares spans."""

    def span(axis: int, length: int) -> slice:
        start = min(square.corners[band][axis] for square in group)
        stop = max(square.corners[band][axis] + square.side for square in group)
        return slice(min(max(start, 0), length), max(min(stop, length), 0))

    return span(1, shape[0]), span(0, shape[1])


def _cost(group: Sequence[_Square], band: str, image: TileImage) -> int:
    """Pixels that are read and decompressed for a group."""
    cost = 1
    for span, grain in zip(_box(group, band, image.shape), image.grain, strict=True):
        cost *= (-(-span.stop // grain) - span.start // grain) * grain
    return cost


_Paste = Callable[[npt.NDArray[Any], int, int], int]
"""Fills a plane whose first pixel is (x, y) of the tile; see `mosaic.paste`."""


def _read(mosaic: Mosaic, band: str, group: Sequence[_Square]) -> _Paste:
    """Read the pixels that a group of squares needs, in one band, to be pasted."""
    rows, columns = _box(group, band, mosaic.data.shape)
    empty = rows.start >= rows.stop or columns.start >= columns.stop
    data = np.empty((0, 0)) if empty else mosaic.data[rows, columns]
    left, low, factor = columns.start, rows.start, mosaic.factor
    return lambda plane, x, y: paste(plane, data, x - left, y - low, factor)


def _cut(
    square: _Square,
    pastes: Mapping[str, _Paste],
    form: CutoutForm,
    bands: Sequence[str],
    url: str,
) -> Cutout:
    """Cut one square: its place and shape are right by construction, its pixels may not be."""
    cube = np.full((len(pastes), square.side, square.side), np.nan, ">f4")
    written = [
        paste_into(plane, *square.corners[band])
        for plane, (band, paste_into) in zip(cube, pastes.items(), strict=True)
    ]
    empty = [band for band, plane in zip(pastes, cube, strict=True) if is_empty(plane)]
    if len(empty) == len(pastes):
        reason = f"{url}: every band is empty here"
        return Cutout(square.target, "no_coverage", reason=reason, url=url)
    absent = [band for band in bands if band not in pastes]
    faults = {
        "reaches over the tile's edge": min(written) < square.side**2,
        f"no band {', '.join(absent)}": bool(absent),
        f"band {', '.join(empty)} is empty": bool(empty),
    }
    reason = "; ".join(fault for fault, is_so in faults.items() if is_so)
    payload = form.write(cube, *square.corners[next(iter(pastes))])
    status, now = "partial" if reason else "ok", datetime.now(UTC)
    return Cutout(square.target, status, payload, None, reason, url, now)

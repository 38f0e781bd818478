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
class Square:
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
    cutter = _Cutter(f"tile:{name}", mosaics, bands)
    good = []
    for square in squares(mosaics, targets):
        if reason := _unfit(square, mosaics):
            yield cutter.without(square, "invalid", reason)
        else:
            good.append(square)
    for group in groups(good, _first(mosaics).data, _READ_PIXELS // len(mosaics)):
        yield from cutter.cut(group)


def _first(mosaics: Mapping[str, Mosaic]) -> Mosaic:
    return next(iter(mosaics.values()))


def squares(mosaics: Mapping[str, Mosaic], targets: Sequence[Target]) -> list[Square]:
    """Find where the cutouts lie: in the first band around the galaxy, in others on its pixels."""
    first = _first(mosaics)
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
    return list(map(Square, targets, sides.tolist(), places, apart))


def _on_other_grid(
    first: Mosaic, other: Mosaic, x: Indices, y: Indices, sides: Indices
) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """First pixels of the same squares in another band, and whether their pixels coincide.

    They do when three corners of the square fall on whole pixels, as far apart as in the first
    band, to a tenth of a pixel: shifted tiles are cut, rotated or finer ones are not.
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


def _unfit(square: Square, mosaics: Mapping[str, Mosaic]) -> str:
    """Say why a square cannot be cut; empty when it can."""
    if square.side > MAX_SIZE or square.side**2 * 4 * len(mosaics) > MAX_PAYLOAD_BYTES:
        return f"the field spans {square.side} pixels of the tile, too many; choose a smaller one"
    if square.apart:
        return f"band {square.apart} lies on other pixels than {next(iter(mosaics))}"
    return ""


def groups(squares: Sequence[Square], image: TileImage, most: int) -> list[list[Square]]:
    """Put together what is read at once.

    Squares that share rows are read in one strip, so that nothing is decompressed twice; where
    galaxies are sparse and the tile is compressed in small pieces, each by itself is less work.

    ``image`` is the tile in the first band; a strip has ``most`` pixels at most, unless a single
    square has more. Groups are in the order of the rows.
    """
    band = next(iter(squares[0].corners)) if squares else ""
    strips: list[list[Square]] = []
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


def _box(group: Sequence[Square], band: str, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the tile that a group of squares spans."""

    def span(axis: int, length: int) -> slice:
        start = min(square.corners[band][axis] for square in group)
        stop = max(square.corners[band][axis] + square.side for square in group)
        return slice(min(max(start, 0), length), max(min(stop, length), 0))

    return span(1, shape[0]), span(0, shape[1])


def _cost(group: Sequence[Square], band: str, image: TileImage) -> int:
    """Pixels that are read and decompressed for a group."""
    cost = 1
    for span, grain in zip(_box(group, band, image.shape), image.grain, strict=True):
        cost *= (-(-span.stop // grain) - span.start // grain) * grain
    return cost


_Paste = Callable[[npt.NDArray[Any], int, int], int]
"""Fills a plane whose first pixel is (x, y) of the tile; see `mosaic.paste`."""


def _read(mosaic: Mosaic, band: str, group: Sequence[Square]) -> _Paste:
    """Read the pixels that a group of squares needs, in one band, to be pasted."""
    rows, columns = _box(group, band, mosaic.data.shape)
    empty = rows.start >= rows.stop or columns.start >= columns.stop
    data = np.empty((0, 0)) if empty else mosaic.data[rows, columns]
    left, low, factor = columns.start, rows.start, mosaic.factor
    return lambda plane, x, y: paste(plane, data, x - left, y - low, factor)


class _Cutter:
    """Make cutouts of squares, and say what is wrong with them."""

    def __init__(self, url: str, mosaics: Mapping[str, Mosaic], bands: Sequence[str]) -> None:
        self._url, self._mosaics, self._bands = url, mosaics, bands
        self._form = CutoutForm(_first(mosaics).wcs_header, list(mosaics))

    def without(self, square: Square, status: str, reason: str) -> Cutout:
        """Answer without pixels."""
        return Cutout(square.target, status, reason=reason, url=self._url)

    def cut(self, group: Sequence[Square]) -> Iterator[Cutout]:
        """Read what a group needs, and cut its squares; the pixels are let go at the end."""
        try:
            blocks = {band: _read(mosaic, band, group) for band, mosaic in self._mosaics.items()}
        except PayloadError as error:
            for square in group:
                yield self.without(square, "failed", str(error))
            return
        for square in group:
            yield self._cut(square, blocks)

    def _cut(self, square: Square, blocks: Mapping[str, _Paste]) -> Cutout:
        """Cut one square: its place and shape are right by construction, its pixels may not be."""
        cube = np.full((len(blocks), square.side, square.side), np.nan, ">f4")
        written = [
            block(plane, *square.corners[band])
            for plane, (band, block) in zip(cube, blocks.items(), strict=True)
        ]
        empty = [band for band, plane in zip(blocks, cube, strict=True) if is_empty(plane)]
        if len(empty) == len(blocks):
            return self.without(square, "no_coverage", f"{self._url}: every band is empty here")
        absent = [band for band in self._bands if band not in blocks]
        faults = {
            "reaches over the tile's edge": min(written) < square.side**2,
            f"no band {', '.join(absent)}": bool(absent),
            f"band {', '.join(empty)} is empty": bool(empty),
        }
        reason = "; ".join(fault for fault, is_so in faults.items() if is_so)
        payload = self._form.write(cube, *square.corners[next(iter(blocks))])
        status, now = "partial" if reason else "ok", datetime.now(UTC)
        return Cutout(square.target, status, payload, None, reason, self._url, now)

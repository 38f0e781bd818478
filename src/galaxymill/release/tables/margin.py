"""The margin of a HATS catalog: galaxies just outside each tile, which cross-matches need.

A galaxy is in the margin of a tile when it lies in one of the small pixels around it, whose width
is at least the margin's: so all that are near enough are there, and some a little farther.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.sky.healpix import INDEX_ORDER, Pixel, neighbours

Integers = npt.NDArray[np.int64]


class Margin:
    """Margins of some tiles, gathered as the tiles come.

    They stay in memory: they are one in a thousand galaxies, more only where tiles are tiny. All
    tiles are known beforehand, in the order of the sky.
    """

    def __init__(self, tiles: Sequence[Pixel], arcsec: float) -> None:
        from hats.pixel_math.healpix_shim import margin2order

        self._order = int(margin2order(np.array([arcsec / 60]))[0])
        self._tiles = tiles
        shift = 2 * (INDEX_ORDER - self._order)
        self._first = np.array([tile.range[0] >> shift for tile in tiles], np.int64)
        self._end = np.array([tile.range[1] >> shift for tile in tiles], np.int64)
        self._found: dict[int, list[pa.Table]] = {}

    def add(self, tile: Pixel, rows: pa.Table) -> None:
        """Note which rows of a tile are in the margins of others."""
        pixels = rows["_healpix_29"].to_numpy() >> 2 * (INDEX_ORDER - self._order)
        border = np.flatnonzero(_is_at_border(pixels, self._order - tile.order))
        if not len(border):
            return
        owners = self._owners(neighbours(pixels[border], self._order))
        own = self._owners(pixels[border][:1])[0]
        for owner in set(np.unique(owners).tolist()) - {own, -1}:
            near = border[(owners == owner).any(axis=1)]
            self._found.setdefault(owner, []).append(rows.take(near))

    def _owners(self, pixels: Integers) -> Integers:
        """Which tile each small pixel is in; -1: none, or no such pixel."""
        place = np.searchsorted(self._first, pixels, side="right") - 1
        inside = (place >= 0) & (pixels < self._end[place]) & (pixels >= 0)
        return np.where(inside, place, -1)

    def tables(self) -> dict[Pixel, pa.Table]:
        """Give the margin of every tile that has one, in the order of the sky."""
        order = [("_healpix_29", "ascending"), ("object_id", "ascending")]
        tables = {}
        for place in sorted(self._found):
            rows = pa.concat_tables(self._found[place]).sort_by(order)
            tile = self._tiles[place]
            tables[Pixel(tile.order, tile.pixel, rows.num_rows)] = rows
        return tables


def _is_at_border(pixels: Integers, depth: int) -> npt.NDArray[np.bool_]:
    """Tell which small pixels touch the border of their tile, ``depth`` orders above.

    In the nested scheme the even bits are the place along one side, the odd bits that along the
    other (Górski+05, section 4.1).
    """
    even = sum(1 << 2 * bit for bit in range(depth))
    along, across = pixels & even, (pixels >> 1) & even
    at_border: npt.NDArray[np.bool_] = np.isin(along, (0, even)) | np.isin(across, (0, even))
    return at_border

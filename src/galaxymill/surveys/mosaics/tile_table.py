"""The table of tiles, searched by position: no tile is opened to learn where it lies."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.errors import UserError
from galaxymill.sky.angles import unit_vectors
from galaxymill.tables import check_range, column_names, in_unit, read_table

COLUMNS = ("tile", "band", "path", "ra", "dec", "radius")
_TEXTS = ("tile", "band", "path", "hdu")

Degrees = npt.NDArray[np.float64]


class TileFile(NamedTuple):
    """The file of one tile in one band, as in the table; see `TileTable`."""

    path: str
    hdu: str


class Tile(NamedTuple):
    """A tile with its files by band, in the order of the bands asked for."""

    name: str
    files: dict[str, TileFile]


class TileTable:
    """Tiles by their position.

    The table (CSV, Parquet or FITS) has one row per tile and band: ``tile``, ``band``, ``path``,
    the centre ``ra``, ``dec`` and the ``radius`` of a circle around the tile in degrees, and, where
    it is not the first image of its file, ``hdu``. Raises UserError when it cannot be read, a row
    is bad or given twice, or one of ``bands`` is nowhere.
    """

    def __init__(self, path: Path, bands: Sequence[str]) -> None:
        table = _read(path)
        self._bands = bands
        texts = {name: table.column(name).to_pylist() for name in _TEXTS}
        _check_texts(path, texts)
        ra, dec, radius = (
            check_range(path, in_unit(path, table, name, "deg"), name, low, high).to_numpy()
            for name, low, high in (("ra", -360, 360), ("dec", -90, 90), ("radius", 0, 180))
        )
        there = sorted(set(texts["band"]))
        if absent := [band for band in bands if band not in there]:
            raise UserError(
                f"{path}: no tile in band {', '.join(absent)}; the bands are: {', '.join(there)}"
            )
        self._rows: dict[str, dict[str, int]] = {}
        for row, (tile, band) in enumerate(zip(texts["tile"], texts["band"], strict=True)):
            if band in bands:
                self._rows.setdefault(tile, {})[band] = row
        self._files = list(map(TileFile, texts["path"], texts["hdu"]))
        self._names = texts["tile"]
        self._chosen = np.array([row for rows in self._rows.values() for row in rows.values()])
        self._centres = unit_vectors(ra, dec)[self._chosen]
        # A chord is a little longer than rounding may make it.
        self._chords = 2 * np.sin(np.radians(radius[self._chosen]) / 2) + 1e-9

    def near(self, ra: Degrees, dec: Degrees) -> Iterator[tuple[Tile, npt.NDArray[np.int64]]]:
        """Yield tiles, by name, with the sorted numbers of the ICRS positions in their circles."""
        from scipy.spatial import KDTree

        if not len(ra):
            return
        # The tree holds the galaxies, for each tile has a radius of its own.
        lists = KDTree(unit_vectors(ra, dec)).query_ball_point(self._centres, self._chords)
        found: dict[str, set[int]] = {}
        for row, positions in zip(self._chosen, lists, strict=True):
            if positions:
                found.setdefault(self._names[row], set()).update(positions)
        for name in sorted(found):
            rows = self._rows[name]
            files = {band: self._files[rows[band]] for band in self._bands if band in rows}
            yield Tile(name, files), np.array(sorted(found[name]), np.int64)


def _read(path: Path) -> pa.Table:
    if "hdu" in column_names(path):
        table = read_table(path, (*COLUMNS, "hdu"), _TEXTS)
        index = table.schema.get_field_index("hdu")
        return table.set_column(index, "hdu", table.column("hdu").fill_null(""))
    table = read_table(path, COLUMNS, _TEXTS[:3])
    return table.append_column("hdu", pa.array([""] * len(table), pa.string()))


def _check_texts(path: Path, texts: dict[str, list[str]]) -> None:
    seen: dict[tuple[str, str], int] = {}
    rows = zip(texts["tile"], texts["band"], texts["path"], strict=True)
    for row, (tile, band, file) in enumerate(rows, start=1):
        if not (tile and band and file):
            raise UserError(f"{path}: row {row}: tile, band and path must not be empty")
        if ".." in PurePosixPath(file).parts:
            raise UserError(
                f"{path}: row {row}: path {file!r} leaves its folder; give paths without '..'"
            )
        first = seen.setdefault((tile, band), row)
        if first != row:
            raise UserError(
                f"{path}: row {row}: tile {tile!r} in band {band!r} was already given in row "
                f"{first}; keep one row per tile and band"
            )

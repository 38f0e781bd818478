"""A catalogue on disk, read part by part: a tile of HATS, or a whole table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.comparison.layouts import LAYOUTS, Layout, find_layout
from galaxymill.errors import UserError, unknown_name
from galaxymill.sky.healpix import Pixel
from galaxymill.tables import (
    as_numbers,
    as_text,
    check_ids,
    check_range,
    column_names,
    positions,
    read_table,
)

if TYPE_CHECKING:
    from dask.delayed import Delayed

Values = npt.NDArray[np.float32]
Degrees = npt.NDArray[np.float64]

# Unmasked fractions first: where a question would rarely be asked, the friendly table has none.
_RELEASED = ("hats", "advanced.parquet", "friendly.parquet")
_ROUNDING = 1e-3
_HATS = ("collection.properties", "hats.properties", "properties")


@dataclass(frozen=True)
class Part:
    """A tile of a HATS catalogue and what it covers, or a table, which may be all over the sky."""

    place: Path
    pixel: Pixel | None = None


@dataclass(frozen=True)
class Catalogue:
    """A table file, which is one part, or a folder of a HATS catalogue, whose tiles are parts.

    ``layout_name`` is one of ``LAYOUTS``; ``tiled_rows`` are the galaxies in tiles, 0 for a table.
    """

    path: Path
    layout_name: str
    columns: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    tiled_rows: int = 0

    @classmethod
    def open(cls, path: Path, layout: str | None, option: str) -> "Catalogue":
        """Find the table and its layout; reads no rows.

        Parameters
        ----------
        path : Path
            A release's folder, of which HATS or else the advanced table is taken where there is
            one; a HATS folder; or a Parquet, CSV or FITS file.
        layout : str or None
            The value of ``option``; None: found by the columns.
        option : str
            Such as ``--layout-a``.

        Raises
        ------
        UserError
            When there is no such table, or its layout is not known.
        """
        if path.is_dir() and not _is_hats(path):
            released = [path / name for name in _RELEASED if (path / name).exists()]
            if not released:
                raise UserError(
                    f"{path}: neither a release ({' or '.join(_RELEASED)}) nor a HATS catalogue "
                    f"({', '.join(_HATS)})"
                )
            path, layout = released[0], layout or "galaxymill"
        if not path.is_dir():
            columns = column_names(path)
            layout = find_layout(str(path), columns, layout, option)
            return cls(path, layout, tuple(columns), (Part(path),))
        sky = _open_hats(path, "all")
        layout = find_layout(str(path), sky.columns, layout, option)
        parts = tuple(_part(path, pixel) for pixel in sky.get_healpix_pixels())
        return cls(path, layout, tuple(sky.columns), parts, len(sky))

    @property
    def layout(self) -> Layout:
        """What its columns are called."""
        return LAYOUTS[self.layout_name]

    def ids(self, column: str) -> "list[Delayed]":
        """List tasks that read the identifiers of each part as text, one a galaxy.

        They raise `UserError` when one is empty or there twice, or they are decimal numbers.
        """
        return self._read(_read_ids, [column], [column], column)

    def positions(self) -> "list[Delayed]":
        """List tasks that read right ascension and declination of each part, in degrees.

        They raise `UserError` when one is absent or not within 0 to 360 or -90 to 90.

        Raises
        ------
        UserError
            When there are no such columns.
        """
        ra, dec = self.layout.ra, self.layout.dec
        if not {ra, dec} & set(self.columns):
            raise UserError(
                f"{self.path}: has no positions (no column {ra}, {dec}); match by identifier: "
                "leave --sky out"
            )
        return self._read(_read_positions, [ra, dec], [], ra, dec)

    def numbers(self, columns: Sequence[str], fractions: bool = False) -> "list[Delayed]":
        """List tasks that read numeric columns of each part by name, float32, NaN for none.

        They raise `UserError` when one is not numeric or, of ``fractions``, not within 0 to 1.
        """
        return self._read(_read_numbers, list(dict.fromkeys(columns)), [], fractions)

    def _read(
        self, reader: Any, columns: list[str], texts: Sequence[str], *more: object
    ) -> "list[Delayed]":
        from dask import delayed

        for name in columns:
            if name not in self.columns:
                raise unknown_name(str(self.path), name, self.columns, "column")
        path = self.path.absolute()  # workers may stand in another folder
        if path.is_dir():
            tables = _open_hats(path, columns).to_delayed()
        else:
            tables = [delayed(read_table)(path, columns, texts)]
        read = delayed(lambda table, part: reader(part, _arrow(table, columns), *more))
        return [read(table, part) for table, part in zip(tables, self.parts, strict=True)]


def _read_ids(part: Part, table: pa.Table, column: str) -> pa.Array:
    values = as_text(part.place, table[column], column)
    # Beyond 2 GB of text Arrow's plain strings end.
    ids = values.cast(pa.large_string())
    check_ids(part.place, ids, column, names_files=False)
    return ids.combine_chunks()


def _read_positions(part: Part, table: pa.Table, ra: str, dec: str) -> tuple[Degrees, Degrees]:
    if part.pixel is None:
        east, north = positions(part.place, table, ra, dec)
    else:  # HATS has degrees: a tile near (0, 0) is not to be taken for radians
        east, north = (
            check_range(part.place, as_numbers(part.place, table[name], name), name, *ends)
            for name, ends in ((ra, (0, 360)), (dec, (-90, 90)))
        )
    return east.to_numpy(), north.to_numpy()


def _read_numbers(part: Part, table: pa.Table, fractions: bool) -> dict[str, Values]:
    found = {}
    for name in table.column_names:
        values = as_numbers(part.place, table[name], name).to_numpy().astype(np.float32)
        found[name] = np.where(np.isfinite(values), values, np.float32(np.nan))
        odd = (values < -_ROUNDING) | (values > 1 + _ROUNDING)
        if fractions and odd.any():
            row = int(np.argmax(odd))
            way = "divide percentages by 100" if values[row] > 1 else "leave empty what is none"
            raise UserError(
                f"{part.place}: row {row + 1}: {name} is {values[row]:g} ({odd.sum()} of "
                f"{len(values)} rows are so); a fraction is 0 to 1, or empty: {way}"
            )
    return found


def _arrow(table: Any, columns: list[str]) -> pa.Table:
    """Turn what LSDB has read, maybe with other columns, into a table of Arrow."""
    if isinstance(table, pa.Table):
        return table
    return pa.Table.from_pandas(table[columns], preserve_index=False)


def _is_hats(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _HATS)


def _part(folder: Path, pixel: Any) -> Part:
    place = f"Norder={pixel.order}/Npix={pixel.pixel}"
    return Part(folder / place, Pixel(int(pixel.order), int(pixel.pixel), 0))


def _open_hats(folder: Path, columns: list[str] | str) -> Any:
    import lsdb

    try:
        return lsdb.open_catalog(folder, columns=columns)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{folder}: is no HATS catalogue: {error}") from error

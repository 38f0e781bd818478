"""A catalogue on disk, of which only the columns asked for are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.comparison.layouts import LAYOUTS, Layout, find_layout
from galaxymill.errors import UserError, unknown_name
from galaxymill.tables import (
    as_numbers,
    as_text,
    check_ids,
    column_names,
    positions,
    read_table,
)

Values = npt.NDArray[np.float32]
Degrees = npt.NDArray[np.float64]

# Unmasked fractions first: where a question would rarely be asked, the friendly table has none.
_RELEASED = ("advanced.parquet", "friendly.parquet")
_ROUNDING = 1e-3
_HATS = ("collection.properties", "hats.properties", "properties")


@dataclass(frozen=True)
class Catalogue:
    """A table file, or a folder of a HATS catalogue.

    Attributes
    ----------
    path : Path
    layout_name : str
        A name of ``LAYOUTS``.
    columns : tuple of str
        All there are.
    """

    path: Path
    layout_name: str
    columns: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, layout: str | None, option: str) -> "Catalogue":
        """Find the table and its layout; reads no rows.

        Parameters
        ----------
        path : Path
            A release's folder, of which the advanced table is taken where there is one; a HATS
            folder; or a Parquet, CSV or FITS file.
        layout : str or None
            Given by ``option``; None: the columns tell.
        option : str
            E.g. ``--layout-a``.

        Raises
        ------
        UserError
            When there is no such table, or its layout is not known.
        """
        if path.is_dir() and not _is_hats(path):
            released = [path / name for name in _RELEASED if (path / name).is_file()]
            if not released:
                raise UserError(
                    f"{path}: neither a release ({' or '.join(_RELEASED)}) nor a HATS catalogue "
                    f"({', '.join(_HATS)})"
                )
            path, layout = released[0], layout or "galaxymill"
        columns = _hats_columns(path) if path.is_dir() else column_names(path)
        return cls(path, find_layout(str(path), columns, layout, option), tuple(columns))

    @property
    def layout(self) -> Layout:
        """Names of its columns."""
        return LAYOUTS[self.layout_name]

    def ids(self, column: str) -> pa.ChunkedArray:
        """Read identifiers as text, one a galaxy.

        Raises
        ------
        UserError
            When one is empty or given twice, or they are decimal numbers.
        """
        values = self._read([column], texts=[column])[column]
        # Beyond 2 GB of text Arrow's plain strings end.
        ids = as_text(self.path, values, column).cast(pa.large_string())
        check_ids(self.path, ids, column, names_files=False)
        return ids

    def positions(self) -> tuple[Degrees, Degrees]:
        """Read right ascension and declination.

        Returns
        -------
        ra, dec : ndarray, shape (n,)
            Degrees, 0 to 360 and -90 to 90.

        Raises
        ------
        UserError
            When one is absent or out of range.
        """
        ra, dec = self.layout.ra, self.layout.dec
        if not {ra, dec} & set(self.columns):
            raise UserError(
                f"{self.path}: has no positions (no column {ra}, {dec}); match by identifier: "
                "leave --sky out"
            )
        places = positions(self.path, self._read([ra, dec]), ra, dec)
        return places[0].to_numpy(), places[1].to_numpy()

    def numbers(self, columns: Sequence[str], fractions: bool = False) -> dict[str, Values]:
        """Read numeric columns; NaN for null and for what is not finite.

        Parameters
        ----------
        columns : sequence of str
        fractions : bool
            Whether they are fractions, of 0 to 1.

        Returns
        -------
        dict of str to ndarray, shape (n,), float32

        Raises
        ------
        UserError
            When one is not numeric, or a fraction is a percentage or stands for none.
        """
        table = self._read(list(dict.fromkeys(columns)))
        found = {}
        for name in table.column_names:
            values = as_numbers(self.path, table[name], name).to_numpy().astype(np.float32)
            found[name] = np.where(np.isfinite(values), values, np.float32(np.nan))
            odd = (values < -_ROUNDING) | (values > 1 + _ROUNDING)
            if fractions and odd.any():
                row = int(np.argmax(odd))
                way = "divide percentages by 100" if values[row] > 1 else "leave empty what is none"
                raise UserError(
                    f"{self.path}: row {row + 1}: {name} is {values[row]:g} ({odd.sum()} of "
                    f"{len(values)} rows are so); a fraction is 0 to 1, or empty: {way}"
                )
        return found

    def _read(self, columns: list[str], texts: Sequence[str] = ()) -> pa.Table:
        for name in columns:
            if name not in self.columns:
                raise unknown_name(str(self.path), name, self.columns, "column")
        if not self.path.is_dir():
            return read_table(self.path, columns, texts)
        import lsdb

        try:
            frame = lsdb.open_catalog(self.path, columns=columns).compute(progress_bar=False)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise UserError(f"{self.path}: cannot be read: {error}") from error
        return pa.Table.from_pandas(frame[columns], preserve_index=False)


def _is_hats(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _HATS)


def _hats_columns(folder: Path) -> list[str]:
    import lsdb

    try:
        return list(lsdb.open_catalog(folder, columns="all").columns)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{folder}: is no HATS catalogue: {error}") from error

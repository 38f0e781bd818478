"""Two releases of the same galaxies, compared column by column."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.release.columns import PARQUET
from galaxymill.storage.parquet import read_batches

Floats = npt.NDArray[np.float64]

ROWS_AT_ONCE = 50_000


@dataclass
class Difference:
    """How much a column of one release differs from the other's.

    Attributes
    ----------
    beyond
        Rows that differ by more than the tolerance, or where only one is null.
    largest, rms
        Of the absolute differences of numbers; 0 for columns of others.
    """

    table: str
    column: str
    rows: int = 0
    beyond: int = 0
    largest: float = 0.0
    squares: float = 0.0

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return float(np.sqrt(self.squares / max(self.rows, 1)))

    def add(self, one: pa.Array, other: pa.Array, tolerance: float) -> None:
        """Compare some rows."""
        self.rows += len(one)
        if pa.types.is_fixed_size_list(one.type):
            self._add_numbers(_flat(one), _flat(other), tolerance, one.type.list_size)
        elif pa.types.is_floating(one.type) or pa.types.is_integer(one.type):
            self._add_numbers(_numbers(one), _numbers(other), tolerance, 1)
        else:
            same = pc.fill_null(pc.equal(one, other), False)
            both = pc.and_(one.is_null(), other.is_null())
            self.beyond += len(one) - int(pc.sum(pc.or_(same, both)).as_py() or 0)

    def _add_numbers(self, one: Floats, other: Floats, tolerance: float, width: int) -> None:
        off = np.abs(one - other)
        off[np.isnan(one) & np.isnan(other)] = 0
        off[np.isnan(off)] = np.inf
        finite = off[np.isfinite(off)]
        self.largest = max(self.largest, float(finite.max(initial=0)))
        self.squares += float((finite**2).sum()) / width
        self.beyond += int((off.reshape(-1, width).max(axis=1) > tolerance).sum())


def _numbers(array: pa.Array) -> Floats:
    """Numbers with NaN where null."""
    return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _flat(array: pa.FixedSizeListArray) -> Floats:
    """Numbers of all lists, NaN for those of a null list."""
    width = array.type.list_size
    values = np.full(len(array) * width, np.nan)
    valid = np.repeat(array.is_valid().to_numpy(zero_copy_only=False), width)
    values[valid] = array.drop_null().flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def compare_releases(one: Path, other: Path, tolerance: float) -> list[Difference]:
    """Compare the friendly and the advanced tables of two releases, row by row.

    Parameters
    ----------
    tolerance : float
        Numbers that differ by no more are the same.

    Returns
    -------
    list of Difference
        One a column, in the tables' order. A row that is only in one of them, or out of order,
        is a difference of ``object_id``; a column that is, a difference in every row.
    """
    return [found for table in PARQUET for found in _compare(one, other, table, tolerance)]


def _compare(one: Path, other: Path, table: str, tolerance: float) -> list[Difference]:
    paths = [folder / f"{table}.parquet" for folder in (one, other)]
    fields = [{field.name: field.type for field in pq.read_schema(path)} for path in paths]
    found = {name: Difference(table, name) for name in [*fields[0], *fields[1]]}
    rows = [pq.read_metadata(path).num_rows for path in paths]
    shared = [name for name, kind in fields[0].items() if fields[1].get(name) == kind]
    for name in found.keys() - set(shared):
        found[name].rows = found[name].beyond = max(rows)
    # Pieces are of as many rows in both, however their row groups lie.
    pieces = (read_batches(path, shared, ROWS_AT_ONCE) for path in paths)
    for a, b in zip(*pieces, strict=False):
        for name in shared:
            found[name].add(a[name].combine_chunks(), b[name].combine_chunks(), tolerance)
    found["object_id"].beyond += abs(rows[0] - rows[1])
    return list(found.values())

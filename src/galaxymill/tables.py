"""Read users' tables (CSV, Parquet, FITS) and refuse bad contents by file, row and value."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError

MAX_ID_LENGTH = 128
_BAD_ID = re.compile(r"/|\.\.|[\x00-\x1f\x7f]|^\s|\s$|^$")


def read_table(path: Path, columns: Sequence[str], text_columns: Sequence[str] = ()) -> pa.Table:
    """Read chosen columns of a user's table.

    Parameters
    ----------
    path : Path
        ``.parquet``, ``.csv`` (also ``.csv.gz``) or ``.fits``.
    columns : sequence of str
        Columns to read, in this order.
    text_columns : sequence of str
        Those that are text even when they look like numbers (identifiers).

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    UserError
        When the file cannot be read or a column is absent.
    """
    require_file(path)
    kind = next((name for name in _READERS if path.name.lower().endswith(name)), None)
    if kind is None:
        raise UserError(f"{path}: unknown kind of table; allowed: {', '.join(_READERS)}")
    try:
        table = _READERS[kind](path, columns, text_columns)
        for name in text_columns:
            index = table.schema.get_field_index(name)
            if index >= 0 and not pa.types.is_string(table.schema.field(index).type):
                table = table.set_column(index, name, table.column(index).cast(pa.string()))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    return table


def require_file(path: Path) -> None:
    """Refuse a path that is no file.

    Raises
    ------
    UserError
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked in {Path.cwd()})")


def column_names(path: Path) -> list[str]:
    """Names of a table's columns, in the file's order.

    Raises
    ------
    UserError
        When the file is absent or cannot be read.
    """
    require_file(path)
    lowered = path.name.lower()
    try:
        if lowered.endswith(".parquet"):
            import pyarrow.parquet as pq

            return list(pq.read_schema(path).names)
        if lowered.endswith((".csv", ".csv.gz")):
            from pyarrow import csv

            with csv.open_csv(path) as reader:
                return list(reader.schema.names)
        if lowered.endswith((".fits", ".fits.gz")):
            from astropy.io import fits

            return list(fits.getdata(path, 1).names)
    except (OSError, ValueError, IndexError, AttributeError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    raise UserError(f"{path}: unknown kind of table; allowed: {', '.join(_READERS)}")


def _require(path: Path, columns: Sequence[str], present: Sequence[str]) -> None:
    absent = [name for name in columns if name not in present]
    if absent:
        shown = ", ".join(present[:40]) + (", …" if len(present) > 40 else "")
        raise UserError(f"{path}: no column {', '.join(absent)}; the columns are: {shown}")
    twice = [name for name in columns if list(present).count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {', '.join(twice)} is given twice; keep one of them")


def _read_parquet(path: Path, columns: Sequence[str], _: Sequence[str]) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _require(path, columns, file.schema_arrow.names)
        return file.read(columns=list(columns))


def _read_csv(path: Path, columns: Sequence[str], text_columns: Sequence[str]) -> pa.Table:
    from pyarrow import csv

    texts = dict.fromkeys(text_columns, pa.string())
    with csv.open_csv(path) as reader:
        _require(path, columns, reader.schema.names)
    options = csv.ConvertOptions(column_types=texts, include_columns=list(columns))
    return csv.read_csv(path, convert_options=options)


def _read_fits(path: Path, columns: Sequence[str], _: Sequence[str]) -> pa.Table:
    from astropy.table import Table

    table = Table.read(path, format="fits")
    _require(path, columns, table.colnames)
    arrays = {}
    for name in columns:
        values = np.ma.getdata(table[name].data)
        if values.dtype.kind == "S":
            values = np.char.strip(np.char.decode(values, "ascii"))
        native = values.astype(values.dtype.newbyteorder("="))
        arrays[name] = pa.array(native, mask=np.ma.getmaskarray(table[name].data))
    return pa.table(arrays)


_READERS = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".fits": _read_fits,
    ".fits.gz": _read_fits,
}


def check_ids(path: Path, ids: pa.ChunkedArray, column: str) -> None:
    """Refuse identifiers that are absent, twice, too long or unfit for file names.

    Raises
    ------
    UserError
        With the first offender's row (counted from 1, the header not counted) and value.
    """
    if ids.null_count:
        row = pc.index(pc.is_null(ids), pa.scalar(True)).as_py()
        raise UserError(f"{path}: row {row + 1}: {column} is empty; each galaxy needs one")
    seen: dict[str, int] = {}
    for row, value in enumerate(ids.to_pylist(), start=1):
        if _BAD_ID.search(value) or len(value) > MAX_ID_LENGTH:
            raise UserError(
                f"{path}: row {row}: {column} {value!r} is not allowed; an identifier has 1 to "
                f"{MAX_ID_LENGTH} characters, without '/', '..', control characters or spaces "
                "at its ends"
            )
        if value in seen:
            raise UserError(
                f"{path}: row {row}: {column} {value!r} was already given in row {seen[value]}; "
                "keep one row per galaxy"
            )
        seen[value] = row


def as_numbers(path: Path, values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Give a column as float64.

    Raises
    ------
    UserError
        When it is not numeric.
    """
    try:
        return pc.cast(values, pa.float64())
    except pa.ArrowException as error:
        raise UserError(f"{path}: column {column} is not numeric: {error}") from error


def check_range(
    path: Path, values: pa.ChunkedArray, column: str, low: float, high: float
) -> pa.ChunkedArray:
    """Refuse numbers outside [low, high], NaN and nulls; give them as float64.

    Raises
    ------
    UserError
        With the first offender's row and value.
    """
    numbers = as_numbers(path, values, column)
    plain = numbers.to_numpy()
    good = (plain >= low) & (plain <= high)
    if not good.all():
        row = int(np.argmin(good))
        raise UserError(
            f"{path}: row {row + 1}: {column} is {plain[row]:g}; allowed: {low:g} to {high:g}"
        )
    return numbers

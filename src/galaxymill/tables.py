"""Read users' tables of any kind, and refuse bad contents by file, row and value."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import units
from galaxymill.errors import UserError
from galaxymill.table_kinds import Source, open_source

MAX_ID_LENGTH = 128
_BAD_ID = r"/|\.\.|\p{Cc}|^[\s\p{Z}]|[\s\p{Z}]$"
# What spreadsheets, pandas and astropy write where there is nothing.
_NO_ID = r"(?i)^\s*(|nan|null|none|<na>|n/a|#n/a|na|nat|--)\s*$"
# 1.23E+18 and 1e+18, as of a number that has lost digits; not 12e4, which may be hexadecimal.
_EXPONENT = r"^[+-]?[0-9]+([.,][0-9]*[eE][+-]?[0-9]+|[eE][+-][0-9]+)$"
_WHOLE_DECIMAL = r"^[+-]?[0-9]+[.,]0*$"
_DECIMAL = r"^[+-]?[0-9]+[.,][0-9]*[1-9]"
_NUMBER = r"(?i)^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?(nan|inf|infinity)$"
_SEXAGESIMAL = r"^[+-]?[0-9]{1,3}[:hd° ]\s*[0-9]{1,2}[:m' ]"
ABSENT = pa.array(["", "NaN", "nan", "NA", "N/A", "n/a", "NULL", "null", "None", "<NA>"])
"""Texts that stand for no number."""


def read_table(
    path: Path,
    columns: Sequence[str],
    text_columns: Sequence[str] = (),
    raw: Sequence[str] = (),
    hdu: str | None = None,
) -> pa.Table:
    """Read chosen columns of a user's table.

    Parameters
    ----------
    path : Path
        One of `galaxymill.table_kinds.KINDS`, maybe with ``.gz``.
    columns : sequence of str
        Columns to read, in this order.
    text_columns : sequence of str
        Those that are text even when they look like numbers (identifiers).
    raw : sequence of str
        Those whose type is not guessed: text where the file has no types (CSV).
    hdu : str, optional
        Name or number of the table in a FITS file or a VOTable that has several.

    Returns
    -------
    pyarrow.Table
        The unit of a column, where the file says one, is in its field's metadata; ``untyped`` is
        in the table's, where the file does not say of which types its columns are.

    Raises
    ------
    UserError
        When the file cannot be read, a column is absent, or identifiers are decimal numbers.
    """
    with _opened(path, hdu) as source:
        _require(path, columns, source)
        table = source.read(columns, [*text_columns, *raw])
        for name in text_columns:
            index = table.schema.get_field_index(name)
            if index >= 0 and not pa.types.is_string(table.schema.field(index).type):
                table = table.set_column(index, name, as_text(path, table.column(index), name))
    return table


def read_blocks(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read columns of a table that may be larger than the memory, all as text if it is CSV.

    Raises
    ------
    UserError
        As `read_table`.
    """
    with _opened(path) as source:
        _require(path, columns, source)
        yield from source.blocks(columns)


@contextmanager
def _opened(path: Path, hdu: str | None = None) -> Iterator[Source]:
    """Open a table; whatever its reader says becomes a message."""
    require_file(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield open_source(path, hdu)
    except UserError:
        raise
    except Exception as error:
        # The readers' own errors are of many kinds.
        told = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(f"{path}: cannot be read: {told}") from error


def require_file(path: Path) -> None:
    """Refuse a path that is no file.

    Raises
    ------
    UserError
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked in {Path.cwd()})")


def column_names(path: Path, hdu: str | None = None) -> list[str]:
    """Names of a table's columns, in the file's order.

    Raises
    ------
    UserError
        When the file is absent or cannot be read.
    """
    with _opened(path, hdu) as source:
        return source.columns


def _require(path: Path, columns: Sequence[str], source: Source) -> None:
    present = source.columns
    absent = [name for name in columns if name not in present]
    if absent:
        shown = ", ".join(present[:40]) + (", …" if len(present) > 40 else "")
        raise UserError(
            f"{path}: no column {', '.join(absent)}; the columns are: {shown}{source.more}"
        )
    twice = [name for name in columns if present.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {', '.join(twice)} is given twice; keep one of them")


def as_text(path: Path, values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Give identifiers, as a file has them, as text.

    Raises
    ------
    UserError
        When they are decimal numbers, or no texts or numbers at all.
    """
    if pa.types.is_floating(values.type):
        first = next((value for value in values.slice(0, 1000).to_pylist() if value), "NaN")
        raise _decimals(path, column, f"such as {first}")
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    if pa.types.is_large_string(values.type):
        return values
    try:
        return pc.cast(values, pa.string())
    except pa.ArrowException as error:
        raise UserError(f"{path}: column {column} is of type {values.type}, no text") from error


def _decimals(path: Path, column: str, where: str) -> UserError:
    return UserError(
        f"{path}: column {column} holds decimal numbers, {where}, which are no names: they "
        "cannot tell large identifiers apart; give it as text or as whole numbers"
    )


def check_ids(path: Path, ids: pa.ChunkedArray, column: str, names_files: bool = True) -> None:
    """Refuse identifiers that are absent, twice, decimal numbers, or unfit for file names.

    Parameters
    ----------
    path : Path
        The file, to name in errors.
    ids : pyarrow.ChunkedArray of text
        See `as_text`.
    column : str
    names_files : bool
        Whether they will name files, so that not all characters and lengths are allowed.

    Raises
    ------
    UserError
        With the first offender's row (counted from 1, the header not counted) and value.
    """
    if ids.null_count:
        raise UserError(f"{path}: row {_first(pc.is_null(ids))}: {column} is empty; {_EACH}")
    for unfit, why in (
        (_matching(ids, _NO_ID), f"means that there is none; {_EACH}"),
        (_matching(ids, _EXPONENT), ""),
        (_whole_decimals(ids), ""),
        (_matching(ids, _BAD_ID) if names_files else None, _FIT),
        (pc.greater(pc.utf8_length(ids), MAX_ID_LENGTH) if names_files else None, _FIT),
    ):
        if unfit is not None and pc.any(unfit).as_py():
            row = _first(unfit)
            value = ids[row - 1].as_py()
            if not why:
                raise _decimals(path, column, f"such as {value!r} in row {row}")
            raise UserError(f"{path}: row {row}: {column} {value!r} {why}")
    _refuse_twice(path, ids, column)


_EACH = "each galaxy needs one"
_FIT = (
    f"is not allowed; an identifier has 1 to {MAX_ID_LENGTH} characters, without '/', '..', "
    "control characters or spaces at its ends"
)


def _matching(texts: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return pc.match_substring_regex(texts, pattern)


def _whole_decimals(ids: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Find 123.0, unless others such as 123.4 show that the point means something else."""
    found = _matching(ids, _WHOLE_DECIMAL)
    if not pc.any(found).as_py() or pc.any(_matching(ids, _DECIMAL)).as_py():
        return None
    return found


def _first(bad: pa.ChunkedArray) -> int:
    """Row, counted from 1, of the first that is true."""
    return int(pc.index(bad, pa.scalar(True)).as_py()) + 1


def _refuse_twice(path: Path, ids: pa.ChunkedArray, column: str) -> None:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    seen: dict[str, int] = {}
    for row, value in enumerate(ids.to_pylist(), start=1):
        if value in seen:
            raise UserError(
                f"{path}: row {row}: {column} {value!r} was already given in row {seen[value]}; "
                "keep one row per galaxy"
            )
        seen[value] = row


def no_absent(texts: pa.ChunkedArray, absent: pa.Array = ABSENT) -> pa.ChunkedArray:
    """Turn texts that stand for no value into nulls."""
    missing = pc.is_in(texts, absent.cast(texts.type))
    return pc.if_else(missing, pa.scalar(None, texts.type), texts)


def as_numbers(path: Path, values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Give a column as float64; null for texts that stand for none.

    Raises
    ------
    UserError
        When it is not numeric.
    """
    if pa.types.is_temporal(values.type):
        values = pc.cast(values, pa.string())  # 10:00:00 of a CSV file
    if values.type in (pa.string(), pa.large_string()):
        values = no_absent(pc.utf8_trim_whitespace(values))
        odd = pc.invert(_matching(values, _NUMBER))
        if pc.any(odd).as_py():
            row = _first(odd)
            text = values[row - 1].as_py()
            raise UserError(
                f"{path}: column {column} is not numeric: {text!r} in row {row}{_way_out(text)}"
            )
        values = pc.replace_substring_regex(values, r"^\+", "")
    try:
        return pc.cast(values, pa.float64())
    except pa.ArrowException as error:
        raise UserError(f"{path}: column {column} is not numeric: {error}") from error


def _way_out(text: str) -> str:
    if re.search(_SEXAGESIMAL, text):
        return (
            "; give decimal degrees instead of hours, minutes and seconds: astropy's "
            "SkyCoord(ra, dec, unit=('hourangle', 'deg')).ra.deg and .dec.deg"
        )
    return "; write a point instead of the decimal comma" if re.search(r"\d,\d", text) else ""


def in_unit(path: Path, table: pa.Table, column: str, unit: str) -> pa.ChunkedArray:
    """Give a column as float64 in a unit, from that which its file says; as it is if none.

    Raises
    ------
    UserError
        When it is not numeric, or the file's unit is unknown or measures something else.
    """
    numbers = as_numbers(path, table[column], column)
    given = unit_of(table.schema.field(column))
    if not given:
        return numbers
    try:
        factor = units.scale(given, unit)
    except ValueError as error:
        raise UserError(
            f"{path}: column {column} is in {given!r}, which cannot be turned into {unit} "
            f"({error}); correct the column, or the unit that the file says"
        ) from error
    return numbers if factor == 1 else pc.multiply(numbers, factor)


def unit_of(field: pa.Field) -> str:
    """Unit that a file says of a column; empty for none."""
    unit: str = (field.metadata or {}).get(b"unit", b"").decode(errors="replace").strip()
    return "" if unit.strip("-") == "" or unit.lower() == "none" else unit


def positions(
    path: Path, table: pa.Table, ra: str, dec: str, ids: pa.ChunkedArray | None = None
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Give right ascension and declination in degrees.

    Parameters
    ----------
    path : Path
    table : pyarrow.Table
        From `read_table`, so that it says the units of columns ``ra`` and ``dec``.
    ra, dec : str
    ids : pyarrow.ChunkedArray, optional
        To name in errors.

    Raises
    ------
    UserError
        When one is absent or off the sky.
    """
    return (
        check_range(path, in_unit(path, table, ra, "deg"), ra, 0, 360, ids),
        check_range(path, in_unit(path, table, dec, "deg"), dec, -90, 90, ids),
    )


def check_range(
    path: Path,
    values: pa.ChunkedArray,
    column: str,
    low: float,
    high: float,
    ids: pa.ChunkedArray | None = None,
) -> pa.ChunkedArray:
    """Refuse numbers outside [low, high], NaN and nulls; give them as float64.

    Raises
    ------
    UserError
        With the first offender's row and value, and identifier if these are given.
    """
    numbers = as_numbers(path, values, column)
    plain = numbers.to_numpy()
    good = (plain >= low) & (plain <= high)
    if not good.all():
        row = int(np.argmin(good))
        who = "" if ids is None else f" (galaxy {ids[row].as_py()!r})"
        west = (low, high) == (0, 360) and -180 <= plain[row] < 0
        add = "; add 360 to right ascensions below 0" if west else ""
        raise UserError(
            f"{path}: row {row + 1}: {column} is {plain[row]:g}; allowed: {low:g} to "
            f"{high:g}{add}{who}"
        )
    return numbers

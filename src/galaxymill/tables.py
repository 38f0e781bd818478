"""Read users' tables of any kind, and refuse bad contents by file, row and value."""

import logging
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import units
from galaxymill.errors import UserError
from galaxymill.table_kinds import Source, open_source

logger = logging.getLogger("galaxymill")

MAX_ID_LENGTH = 128
_BAD_ID = r"/|\.\.|\p{Cc}|\p{Cf}|^[\s\p{Z}]|[\s\p{Z}]$"
# What spreadsheets, pandas and astropy write where there is nothing.
_NOTHING = r"(?i)^\s*(|nan|null|none|<na>|n/a|#n/a|na|nat|--)\s*$"
# 1.23E+18 and 1e+18, as of a number that has lost digits; not 12e4, which may be hexadecimal.
_EXPONENT = r"^[+-]?[0-9]+([.,][0-9]*[eEdD][+-]?[0-9]+|[eE][+-][0-9]+)$"
_WHOLE_DECIMAL = r"^[+-]?[0-9]+[.,]0*$"
_DECIMAL = r"^[+-]?[0-9]+[.,][0-9]*[1-9]"
_NUMBER = r"(?i)^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$"
_NOT_ZERO = r"^[^eE]*[1-9]"
_INFINITE = r"(?i)^[+-]?inf(inity)?$"
_SEXAGESIMAL = r"^[+-]?[0-9]{1,3}[:hd° ]\s*[0-9]{1,2}[:m' ]"


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
        The unit of a column, where the file has one, is in its field's metadata; ``untyped`` is in
        the table's, where the file has no types.

    Raises
    ------
    UserError
        When the file cannot be read, a column is absent, or identifiers are decimal numbers.
    """
    with _opened(path, hdu) as source:
        _require(path, columns, source)
        table = source.read(columns, [*text_columns, *raw])
        for name in text_columns:
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, as_text(path, table[name], name))
    return table


def read_blocks(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read columns of a table that may be larger than the memory, all as text if it is CSV.

    Raises `UserError` as `read_table` does.
    """
    with _opened(path) as source:
        _require(path, columns, source)
        if source.blocks is None:
            yield from source.read(columns, columns).to_batches()
        else:
            yield from source.blocks(columns)


@contextmanager
def _opened(path: Path, hdu: str | None = None) -> Iterator[Source]:
    """Open a table; whatever its reader raises becomes a `UserError`."""
    require_file(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield open_source(path, hdu)
    except UserError:
        raise
    except Exception as error:
        # The readers' own errors are of many kinds.
        message = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(f"{path}: cannot be read: {message}") from error


def require_file(path: Path) -> None:
    """Raise a `UserError` for a path that is no file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked in {Path.cwd()})")


def column_names(path: Path, hdu: str | None = None) -> list[str]:
    """Names of a table's columns, in the file's order; `UserError` when it cannot be read."""
    with _opened(path, hdu) as source:
        return source.columns


def _require(path: Path, columns: Sequence[str], source: Source) -> None:
    present = source.columns
    absent = [name for name in columns if name not in present]
    if absent:
        first = ", ".join(present[:40]) + (", …" if len(present) > 40 else "")
        raise UserError(
            f"{path}: no column {', '.join(absent)}; the columns are: {first}{source.more}"
        )
    twice = [name for name in columns if present.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {', '.join(twice)} is given twice; keep one of them")


def as_text(path: Path, values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Turn identifiers, as a file has them, into text.

    Raises `UserError` when they are decimal numbers, or no texts or numbers at all.
    """
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    if pa.types.is_floating(values.type):
        first = next((value for value in values.slice(0, 1000).to_pylist() if value), "NaN")
        raise UserError(f"{path}: column {column} {_DECIMALS.format(first)}")
    if pa.types.is_large_string(values.type):
        return values
    try:
        return pc.cast(values, pa.string())
    except pa.ArrowException as error:
        raise UserError(f"{path}: column {column} is of type {values.type}, no text") from error


_DECIMALS = (
    "holds decimal numbers, such as {}: long identifiers lose their last digits in them, so that "
    "different galaxies become one; give the column as text or as whole numbers"
)
_EACH = "each galaxy needs one"
_FIT = (
    f"is not allowed; an identifier has 1 to {MAX_ID_LENGTH} characters, without '/', '..', "
    "control or invisible characters or spaces at its ends"
)


def check_ids(path: Path, ids: pa.ChunkedArray, column: str, names_files: bool = True) -> None:
    """Refuse identifiers, texts, that are absent, twice, decimal numbers, or unfit for file names.

    Not all characters and lengths are allowed of those that will name files (``names_files``).

    Raises
    ------
    UserError
        With the first offender's row (counted from 1, the header not counted) and value.
    """
    decimals = _matching(ids, _EXPONENT)
    # 123.0, unless others such as 123.4 show that the point means something else.
    if not pc.any(_matching(ids, _DECIMAL)).as_py():
        decimals = pc.or_(decimals, _matching(ids, _WHOLE_DECIMAL))
    checks = [
        (pc.is_null(ids), f"is empty; {_EACH}"),
        (_matching(ids, _NOTHING), f"means that there is none; {_EACH}"),
        (decimals, ""),
    ]
    if names_files:
        checks += [
            (_matching(ids, _BAD_ID), _FIT),
            (pc.greater(pc.utf8_length(ids), MAX_ID_LENGTH), _FIT),
        ]
    for unfit, why in checks:
        row = pc.index(unfit, pa.scalar(True)).as_py() + 1
        if row:
            value = ids[row - 1].as_py()
            if not why:
                message = _DECIMALS.format(f"{value!r} in row {row}")
                raise UserError(f"{path}: column {column} {message}")
            quoted = "" if value is None else f" {value!r}"
            raise UserError(f"{path}: row {row}: {column}{quoted} {why}")
    _refuse_twice(path, ids, column)


def _matching(texts: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return pc.match_substring_regex(texts, pattern)


def _refuse_twice(path: Path, ids: pa.ChunkedArray, column: str) -> None:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    rows: dict[str, int] = {}
    for row, value in enumerate(ids.to_pylist(), start=1):
        if rows.setdefault(value, row) != row:
            raise UserError(
                f"{path}: row {row}: {column} {value!r} was already given in row {rows[value]}; "
                "keep one row per galaxy"
            )


def no_absent(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turn texts that stand for no value, such as ``NaN``, into nulls."""
    return pc.if_else(_matching(texts, _NOTHING), pa.scalar(None, texts.type), texts)


def as_numbers(path: Path, values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Turn a column into float64; null for texts that stand for none.

    Raises `UserError` when it is not numeric, or a number is beyond those of 64 bits.
    """
    if pa.types.is_temporal(values.type):
        values = pc.cast(values, pa.string())  # 10:00:00 of a CSV file
    try:
        if values.type not in (pa.string(), pa.large_string()):
            return pc.cast(values, pa.float64())
        texts = no_absent(pc.utf8_trim_whitespace(values))
        finite, infinite = _matching(texts, _NUMBER), _matching(texts, _INFINITE)
        numbers = pc.if_else(pc.or_(finite, infinite), texts, pa.scalar("0", texts.type))
        numbers = pc.cast(pc.replace_substring_regex(numbers, r"^\+", ""), pa.float64())
    except pa.ArrowException as error:
        raise UserError(f"{path}: column {column} is not numeric: {error}") from error
    lost = pc.or_(pc.is_inf(numbers), pc.and_(pc.equal(numbers, 0), _matching(texts, _NOT_ZERO)))
    fit = pc.or_(infinite, pc.and_not(finite, lost))
    row = pc.index(fit, pa.scalar(False)).as_py() + 1
    if row:
        text = texts[row - 1].as_py()
        raise UserError(
            f"{path}: column {column} is not numeric: {text!r} in row {row}{_way_out(text)}"
        )
    return numbers


def _way_out(text: str) -> str:
    if re.search(_SEXAGESIMAL, text):
        return (
            "; give decimal degrees instead of hours, minutes and seconds: astropy's "
            "SkyCoord(ra, dec, unit=('hourangle', 'deg')).ra.deg and .dec.deg"
        )
    if re.search(_NUMBER, text):
        return "; a number of 64 bits cannot hold it"
    return "; write a point instead of the decimal comma" if re.search(r"\d,\d", text) else ""


def in_unit(path: Path, table: pa.Table, column: str, unit: str) -> pa.ChunkedArray:
    """Turn a column into float64 in ``unit``, from the unit that its file names, if any.

    Raises `UserError` when it is not numeric, or the file's unit is unknown or measures something
    else.
    """
    numbers = as_numbers(path, table[column], column)
    named = unit_of(table.schema.field(column))
    if not named:
        return numbers
    try:
        factor = units.scale(named, unit)
    except ValueError as error:
        raise UserError(
            f"{path}: column {column} is in {named!r}, which cannot be turned into {unit} "
            f"({error}); correct the column, or the unit that the file says"
        ) from error
    return numbers if factor == 1 else pc.multiply(numbers, factor)


def unit_of(field: pa.Field) -> str:
    """Unit of a column by its file; empty for none."""
    unit: str = (field.metadata or {}).get(b"unit", b"").decode(errors="replace").strip()
    return "" if unit.strip("-") == "" or unit.lower() == "none" else unit


def positions(
    path: Path, table: pa.Table, ra: str, dec: str, ids: pa.ChunkedArray | None = None
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Find right ascension and declination in degrees, from columns ``ra`` and ``dec``.

    ``table`` is from `read_table`, so that it has their units; ``ids`` are named in errors. Raises
    `UserError` when a position is absent or off the sky.
    """
    east = check_range(path, in_unit(path, table, ra, "deg"), ra, 0, 360, ids)
    north = check_range(path, in_unit(path, table, dec, "deg"), dec, -90, 90, ids)
    if not unit_of(table.field(ra)) and _like_radians(east.to_numpy(), north.to_numpy()):
        logger.warning(
            "%s: %s and %s are within 2π and π/2, and taken as degrees; if they are radians, let "
            "the file say so (rad), or turn them into degrees",
            *(path, ra, dec),
        )
    return east, north


def _like_radians(ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]) -> bool:
    return len(ra) > 0 and np.ptp(ra) > math.pi >= ra.max() / 2 and abs(dec).max() <= math.pi / 2


def check_range(
    path: Path,
    values: pa.ChunkedArray,
    column: str,
    low: float,
    high: float,
    ids: pa.ChunkedArray | None = None,
) -> pa.ChunkedArray:
    """Turn a column into float64; refuse numbers outside [low, high], NaN and nulls.

    The `UserError` names the first offender's row and value, and its identifier of ``ids``.
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
            f"{path}: row {row + 1}: {column} is {plain[row]:.10g}; allowed: {low:g} to "
            f"{high:g}{add}{who}"
        )
    return numbers

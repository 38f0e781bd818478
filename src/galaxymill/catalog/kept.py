"""Columns that a catalogue keeps for the release, with the values and types of its file."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.catalog.settings import CatalogSettings, TypeName
from galaxymill.errors import UserError
from galaxymill.storage.columns import field
from galaxymill.tables import as_numbers, no_absent, unit_of
from galaxymill.tasks import Task
from galaxymill.units import in_vounit

logger = logging.getLogger("galaxymill")

# The first of these that all texts of a column match, and that holds them all, is its type.
_PATTERNS: dict[TypeName, str] = {
    "integer": r"^(0|-?[1-9][0-9]*)$",
    # Neither 0001, which is a name, nor an integer with more digits than a double holds.
    "number": r"(?i)^[+-]?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?inf$",
    "boolean": r"(?i)^(true|false)$",
}
_TYPES: dict[TypeName, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
}
# Numbers that stand for null in a FITS table.
_FITS_NULL = {pa.int16(): -(2**15), pa.int32(): -(2**31), pa.int64(): -(2**63)}
_NO_ASCII = "; FITS files have letters without accents, and ? for others: Parquet has all"
_OWN = {
    *products.objects(products.OPTIONAL_OBJECT_COLUMNS).names,
    *(measure.name for measure in products.IMAGE_QUALITY),
    *(kind.sample_column for kind in Task.kinds.values()),
    *("status", "flags"),
}
_FITS_NAME = re.compile(r"[!-~]([ -~]{0,66}[!-~])?")


def kept_columns(
    source: Path, table: pa.Table, settings: CatalogSettings
) -> tuple[list[pa.Field], list[pa.ChunkedArray]]:
    """Give the kept columns of a table from `read_table` the types that they have in the release.

    Raises
    ------
    UserError
        When a release cannot have a column of that name or type, or a value is not of the type
        that the settings name.
    """
    untyped = b"untyped" in (table.schema.metadata or {})
    fields, columns = [], []
    for name in settings.keep:
        values = table[name]
        if name in settings.types:
            values = _named(source, name, values, settings.types[name])
        else:
            values = _guessed(source, name, values) if untyped else _plain(values)
        columns.append(values)
        fields.append(_field(table.schema.field(name), values))
    _check(source, fields)
    return fields, columns


def same_names(names: Iterable[str]) -> list[str]:
    """Names that occur twice; in FITS and others capitals and small letters are the same."""
    names = list(names)
    counts = Counter(name.lower() for name in names)
    return sorted({name for name in names if counts[name.lower()] > 1})


def _check(source: Path, kept: Sequence[pa.Field]) -> None:
    """Refuse columns that a release cannot have."""
    twice = same_names(column.name for column in kept)
    for column in kept:
        if column.type not in products.RELEASED:
            why = f"is of type {column.type}; a release holds texts, numbers, booleans and dates"
        elif column.name.lower() in _OWN:
            why = f"is a name that a release has of its own: {column.name.lower()}"
        elif column.name in twice:
            why = f"is given twice, or FITS does not tell capitals apart: {', '.join(twice)}"
        elif not _FITS_NAME.fullmatch(column.name):
            why = "is no name for FITS, which has up to 68 letters of ASCII, no blank at the ends"
        else:
            continue
        raise UserError(
            f"{source}: keep: {column.name} {why}; change it in the file, or leave it out of keep"
        )


def _named(source: Path, name: str, values: pa.ChunkedArray, wanted: TypeName) -> pa.ChunkedArray:
    """Give values as the type that the user names."""
    try:
        if wanted == "number":
            return as_numbers(source, values, name)
        if values.type == pa.string() and wanted != "text":
            values = no_absent(values)
        elif values.type == pa.string():
            values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
        return _cast(values, _TYPES[wanted])
    except (UserError, pa.ArrowException) as error:
        reason = str(error).removeprefix(f"{source}: ")
        raise UserError(
            f"{source}: types: {name} is not of type {wanted}: {reason}; allowed: "
            f"{', '.join(_TYPES)}"
        ) from error


def _guessed(source: Path, name: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Find the type of a column of texts; whole columns stay text rather than lose a digit."""
    present = no_absent(texts).drop_null()
    for wanted, pattern in _PATTERNS.items():
        if len(present) and pc.all(pc.match_substring_regex(present, pattern)).as_py():
            with suppress(UserError):
                return _named(source, name, texts, wanted)
    return _named(source, name, texts, "text")


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    found = pc.cast(values, kind)
    if kind in _FITS_NULL and pc.min(found).as_py() == _FITS_NULL[kind]:
        raise pa.ArrowInvalid(f"{_FITS_NULL[kind]} stands for null in FITS")
    return found


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give values of a typed file as a type that a release has, where one holds the same."""
    kind = values.type
    fit = [kind]
    if pa.types.is_dictionary(kind):
        return _plain(pc.cast(values, kind.value_type))
    if pa.types.is_timestamp(kind):
        texts = pc.replace_substring(pc.cast(values, pa.string()), " ", "T")
        return pc.replace_substring_regex(texts, r"\.0+(Z|[+-][0-9]{4})?$", r"\1")
    if pa.types.is_null(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        fit = []
    elif pa.types.is_float16(kind):
        fit = [pa.float32()]
    elif pa.types.is_decimal(kind):
        # Fifteen digits come back from a double as they were.
        fit = [pa.int64()] * (kind.scale == 0) + [pa.float64()] * (kind.precision <= 15)
    elif pa.types.is_uint64(kind):
        fit = [pa.int64()]
    elif kind in _FITS_NULL:
        fit = [wider for wider in _FITS_NULL if wider.bit_width >= kind.bit_width]
    elif kind not in products.RELEASED and kind != pa.string_view():
        return values
    for wanted in (*fit, pa.string()):
        with suppress(pa.ArrowInvalid):
            return _cast(values, wanted)
    return values


def _field(source: pa.Field, values: pa.ChunkedArray) -> pa.Field:
    """Describe a kept column."""
    unit = unit_of(source)
    spelt = in_vounit(unit) if unit else ""
    description = f"{source.name}, from the input catalogue"
    if unit and not spelt:
        description += f", in {unit}"
    texts = values.type in (pa.string(), pa.large_string())
    if texts and not pc.all(pc.string_is_ascii(values), min_count=0).as_py():
        logger.warning("ingest: %s has letters beyond ASCII%s", source.name, _NO_ASCII)
        description += _NO_ASCII
    return field(source.name, values.type, description, spelt)

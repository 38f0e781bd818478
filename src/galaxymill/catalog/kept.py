"""Columns that a catalogue keeps for the release: values and types are what the file says."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.catalog.settings import CatalogSettings, TypeName
from galaxymill.errors import UserError
from galaxymill.release.columns import check_kept
from galaxymill.tables import as_numbers, no_absent, unit_of
from galaxymill.units import in_vounit

logger = logging.getLogger("galaxymill")

_INTEGER = r"^(0|-?[1-9][0-9]*)$"
# Neither 0001, which is a name, nor an integer with more digits than a double holds.
_NUMBER = r"(?i)^[+-]?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?inf$"
_BOOLEAN = r"(?i)^(true|false)$"
_TYPES: dict[TypeName, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
}
_NO_ASCII = "; FITS files have letters without accents, and ? for others: Parquet has all"


def kept_columns(
    source: Path, table: pa.Table, settings: CatalogSettings
) -> tuple[list[pa.Field], list[pa.ChunkedArray]]:
    """Give the kept columns with the types that they have in the release.

    Parameters
    ----------
    source : Path
        The file, to name in errors.
    table : pyarrow.Table
        From `read_table`, the kept columns raw.
    settings : CatalogSettings

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
            values = _guessed(values) if untyped else _plain(values)
        columns.append(values)
        fields.append(_field(table.schema.field(name), values))
    check_kept(source, fields)
    return fields, columns


def _named(source: Path, name: str, values: pa.ChunkedArray, wanted: TypeName) -> pa.ChunkedArray:
    """Give values as the type that the user names."""
    try:
        if wanted == "number":
            return as_numbers(source, values, name)
        if values.type == pa.string():
            values = _no_empty(values) if wanted == "text" else no_absent(values)
        return pc.cast(values, _TYPES[wanted])
    except (UserError, pa.ArrowException) as error:
        told = str(error).removeprefix(f"{source}: ")
        raise UserError(
            f"{source}: types: {name} is not of type {wanted}: {told}; allowed: {', '.join(_TYPES)}"
        ) from error


def _guessed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Find the type of a column of texts; whole columns stay text rather than lose a digit."""
    present = no_absent(texts)
    if present.null_count < len(present):
        if _all(present, _INTEGER):
            try:
                return pc.cast(present, pa.int64())
            except pa.ArrowInvalid:
                return _no_empty(texts)
        if _all(present, _NUMBER):
            return pc.cast(pc.replace_substring_regex(present, r"^\+", ""), pa.float64())
        if _all(present, _BOOLEAN):
            return pc.cast(present, pa.bool_())
    return _no_empty(texts)


def _all(texts: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _no_empty(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return no_absent(texts, pa.array([""]))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give values of a typed file as a type that a release has, where one holds the same."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(pc.cast(values, kind.value_type))
    if pa.types.is_null(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return pc.cast(values, pa.string())
    if pa.types.is_timestamp(kind):
        texts = pc.replace_substring(pc.cast(values, pa.string()), " ", "T")
        return pc.replace_substring_regex(texts, r"\.0+(Z|[+-][0-9]{4})?$", r"\1")
    if kind == pa.string_view():
        return pc.cast(values, pa.string())
    if pa.types.is_float16(kind):
        return pc.cast(values, pa.float32())
    if pa.types.is_decimal(kind):
        wanted = [pa.int64()] if kind.scale == 0 else []
        # Fifteen digits come back from a double as they were.
        return _first_that_holds(values, [*wanted, *([pa.float64()] * (kind.precision <= 15))])
    if pa.types.is_uint64(kind):
        return _first_that_holds(values, [pa.int64()])
    return values


def _first_that_holds(values: pa.ChunkedArray, kinds: Sequence[pa.DataType]) -> pa.ChunkedArray:
    """Cast to the first type that holds all values, else to text."""
    for kind in kinds:
        try:
            return pc.cast(values, kind)
        except pa.ArrowInvalid:
            continue
    return pc.cast(values, pa.string())


def _field(given: pa.Field, values: pa.ChunkedArray) -> pa.Field:
    """Describe a kept column."""
    unit = unit_of(given)
    spelt = in_vounit(unit) if unit else ""
    told = f"{given.name}, from the input catalogue" + ("" if spelt or not unit else f", in {unit}")
    if (
        pa.types.is_string(values.type)
        and not pc.all(pc.string_is_ascii(values), min_count=0).as_py()
    ):
        logger.warning("ingest: %s has letters beyond ASCII%s", given.name, _NO_ASCII)
        told += _NO_ASCII
    metadata = {"description": told, **({"unit": spelt} if spelt else {})}
    return pa.field(given.name, values.type, metadata=metadata)

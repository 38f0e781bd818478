"""Kinds of tables that users have: a new one is a function and a line of ``KINDS``."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError

MAX_TEXT_BYTES = 2 * 10**9
"""Of a VOTable, ECSV or zipped Parquet file, which are held in memory as a whole."""
_BLOCK_BYTES = 2**24
_HEAD_BYTES = 2**16
_QUOTED = re.compile(r'"[^"]*"')
_SAVE_AS = "save it as UTF-8: iconv -f {} -t utf-8"
# Error of a reader of CSV → message with the way out.
_CSV_ADVICE = {
    r"(?i)utf-?8": f"not in UTF-8; {_SAVE_AS.format('latin1')}",
    "Expected ": "{message}; is a {separator!r} not in quotes, or a line above the header?",
    "Empty CSV|empty file": "there is no row in it below a header",
    "straddling": "a row has more than 16 MB: is a quotation mark not closed?",
}


@dataclass(frozen=True)
class Source:
    """A table in a file.

    Attributes
    ----------
    columns : list of str
        Names, in the file's order.
    read : callable
        Reads columns, units in the fields' metadata; those named second are text in an untyped
        file.
    more : str
        What else is in the file, to name in errors.
    blocks : callable or None
        Reads columns as texts one block after the other, where the file has no types.
    """

    columns: list[str]
    read: Callable[[Sequence[str], Sequence[str]], pa.Table]
    more: str = ""
    blocks: Callable[[Sequence[str]], Iterator[pa.RecordBatch]] | None = None


def open_source(path: Path, hdu: str | None = None) -> Source:
    """Open a table by the ending of its name; ``hdu`` is as in `galaxymill.tables.read_table`.

    Raises
    ------
    UserError
        When the kind is unknown, or the file has no such table; whatever a reader says of a
        broken file is another exception.
    """
    name = path.name.lower().removesuffix(".gz")
    kind = next((kind for ending, kind in KINDS.items() if name.endswith(ending)), None)
    if kind is None:
        raise UserError(
            f"{path}: unknown kind of table; allowed: {', '.join(KINDS)}, each also with .gz"
        )
    if hdu is not None and kind not in (_fits, _votable):
        raise UserError(f"{path}: hdu: {hdu}: only FITS files and VOTables hold several tables")
    return kind(path, hdu)


def _with_units(table: pa.Table, units: Mapping[str, str]) -> pa.Table:
    """Say the unit in the metadata of each field, but where one is."""
    fields = []
    for field in table.schema:
        metadata = {key.lower(): value for key, value in (field.metadata or {}).items()}
        fields.append(field.with_metadata({b"unit": units.get(field.name, ""), **metadata}))
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))


def _parquet(path: Path, _: str | None) -> Source:
    import pyarrow.parquet as pq

    whole: Any = path
    if path.suffix.lower() == ".gz":
        with pa.input_stream(path) as stream:
            whole = pa.BufferReader(stream.read(MAX_TEXT_BYTES))
    schema = pq.read_schema(whole)
    footer = schema.metadata or {}

    def read(columns: Sequence[str], _: Sequence[str]) -> pa.Table:
        # What astropy masks, it writes as any number and a column of masks.
        masks = {f"{name}.mask" for name in columns} & {*schema.names}
        masks = masks if b"table_meta_yaml" in footer else set()
        with pq.ParquetFile(whole) as file:
            table = file.read(columns=[*columns, *masks])
        for name in (mask.removesuffix(".mask") for mask in masks):
            place, absent = table.column_names.index(name), table[f"{name}.mask"]
            values = pc.if_else(absent, pa.scalar(None, table[name].type), table[name])
            table = table.set_column(place, table.field(name), values)
        return _with_units(table.select(columns), _footer_units(footer))

    return Source(list(schema.names), read)


def _footer_units(footer: Mapping[bytes, bytes]) -> dict[str, str]:
    """Units as VOParquet or astropy write them into a Parquet file's footer."""
    from astropy.io import votable
    from astropy.table.meta import get_header_from_yaml

    if header := footer.get(b"IVOA.VOTable-Parquet.content"):
        described = votable.parse(io.BytesIO(header), verify="ignore").get_first_table().fields
        return {field.name: str(field.unit) for field in described if field.unit}
    lines = footer.get(b"table_meta_yaml", b"").decode().splitlines()
    columns = get_header_from_yaml(lines)["datatype"] if lines else []
    return {column["name"]: str(column["unit"]) for column in columns if column.get("unit")}


def _csv(path: Path, hdu: str | None) -> Source:
    from pyarrow import csv

    with pa.input_stream(path) as stream:
        head = bytes(stream.read(_HEAD_BYTES))
    if head.startswith(b"# %ECSV"):
        return _ecsv(path, hdu)
    if head.startswith((b"PK", b"\x1f\x8b")):
        raise ValueError("zipped, as spreadsheets are; unpack it, or export the table as CSV")
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    first = head.decode(encoding, "replace").split("\n")[0]
    if "\0" in first:
        raise ValueError(f"no plain text, or UTF-16 without a mark; {_SAVE_AS.format('utf-16')}")
    separator = max(",;\t|", key=_QUOTED.sub("", first).count)
    parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)

    def options(threads: bool = False) -> Any:
        # In blocks so large, line breaks within quotes take no longer (160 MB on two cores).
        return csv.ReadOptions(use_threads=threads, block_size=_BLOCK_BYTES, encoding=encoding)

    def conversion(columns: Sequence[str], texts: Sequence[str]) -> Any:
        if encoding == "utf-8":
            _check_quotes(path)
        types = dict.fromkeys(texts, pa.string())
        return csv.ConvertOptions(column_types=types, include_columns=list(columns))

    def read(columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
        convert = conversion(columns, texts)
        with _advised(separator):
            try:
                table = csv.read_csv(path, options(threads=True), parse, convert)
            except pa.ArrowInvalid:
                # One thread alone knows which row it is.
                table = csv.read_csv(path, options(), parse, convert)
            if pa.binary() in table.schema.types:
                raise ValueError("not UTF8")
        return table.replace_schema_metadata({"untyped": ""})

    def blocks(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        convert = conversion(columns, columns)
        with _advised(separator), csv.open_csv(path, options(), parse, convert) as reader:
            yield from reader

    with _advised(separator), csv.open_csv(path, options(), parse) as reader:
        return Source(list(reader.schema.names), read, blocks=blocks)


@contextmanager
def _advised(separator: str) -> Iterator[None]:
    """Put the way out into the errors of a reader of CSV."""
    try:
        yield
    except (ValueError, pa.ArrowInvalid) as error:
        message = str(error)
        for sign, advice in _CSV_ADVICE.items():
            if re.search(sign, message):
                raise ValueError(advice.format(message=message, separator=separator)) from error
        raise


def _check_quotes(path: Path) -> None:
    """Refuse a quotation mark that nothing closes: it would swallow all rows that follow."""
    with pa.input_stream(path) as stream:
        marks = sum(block.count(b'"') for block in iter(lambda: stream.read(_BLOCK_BYTES), b""))
    if marks % 2:
        raise ValueError(
            f"{marks} quotation marks, so that one is not closed; write one within a value twice, "
            'and the value in quotation marks: "5"" plate"'
        )


def _held(table: Any, columns: Sequence[str]) -> pa.Table:
    """Give columns of a table that astropy holds in memory."""
    units = {name: str(unit) for name in columns if (unit := table[name].unit) is not None}
    return _with_units(pa.table({name: _to_arrow(table[name]) for name in columns}), units)


def _to_arrow(column: Any) -> pa.Array:
    values, absent = np.ma.getdata(column.data), np.ma.getmaskarray(column.data)
    if values.dtype.kind == "c":
        raise ValueError(f"column {column.name} holds complex numbers")
    if values.ndim > 1:
        flat = _to_arrow(type(column)(values.reshape(-1), name=column.name))
        return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))
    if values.dtype.kind == "O":
        return pa.array([None if np.all(no) else v for v, no in zip(values, absent, strict=True)])
    if values.dtype.kind == "S":
        try:
            return pc.utf8_rtrim_whitespace(pa.array(values, mask=absent).cast(pa.string()))
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"column {column.name} has letters beyond ASCII, not in UTF-8"
            ) from error
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=absent)


def _fits(path: Path, hdu: str | None) -> Source:
    from astropy.io import fits
    from astropy.table import MaskedColumn, Table

    with fits.open(path) as hdus:
        tables = {
            number: part
            for number, part in enumerate(hdus)
            if isinstance(part, fits.BinTableHDU | fits.TableHDU)
            and not isinstance(part, fits.CompImageHDU)
        }
        number, more = _choose(path, {n: part.name for n, part in tables.items()}, hdu)
        names = list(tables[number].columns.names)

    def read(columns: Sequence[str], _: Sequence[str]) -> pa.Table:
        # astropy turns booleans that are null into False, but where it leaves the letters.
        with fits.open(path, logical_as_bytes=True) as hdus:
            table = Table.read(hdus, format="fits", hdu=number)
            for column in hdus[number].columns:
                if re.fullmatch("[0-9]*L", column.format):
                    letters = np.asarray(table[column.name])
                    table[column.name] = MaskedColumn(letters == b"T", mask=letters == b"")
            return _held(table, columns)

    return Source(names, read, more)


def _votable(path: Path, hdu: str | None) -> Source:
    from astropy.io import votable

    _require_small(path)
    tables = dict(enumerate(votable.parse(path, verify="ignore").iter_tables(), 1))
    number, more = _choose(path, {n: t.name or t.ID or "" for n, t in tables.items()}, hdu)
    table = tables[number].to_table(use_names_over_ids=True)
    return Source(list(table.colnames), lambda columns, _: _held(table, columns), more)


def _ecsv(path: Path, _: str | None) -> Source:
    from astropy.table import Table
    from astropy.table.serialize import represent_mixins_as_columns

    _require_small(path)
    # Positions and times become columns of numbers and texts.
    table = represent_mixins_as_columns(Table.read(path, format="ascii.ecsv"))
    return Source(list(table.colnames), lambda columns, _: _held(table, columns))


def _choose(path: Path, names: Mapping[int, str], hdu: str | None) -> tuple[int, str]:
    """Find a table by name or number, else the first; say which others there are."""
    if not names:
        raise ValueError("there is no table in it, or the file is cut short")
    listed = ", ".join(f"{number} {name}".strip() for number, name in names.items())
    more = f"; of its tables ({listed}) the first is read but where a setting hdu names another"
    for number, name in names.items():
        if hdu is None or hdu.lower() in (name.lower(), str(number)):
            return number, more if hdu is None and len(names) > 1 else ""
    raise UserError(f"{path}: hdu: no table {hdu!r}; its tables are: {listed}")


def _require_small(path: Path) -> None:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise UserError(f"{path}: above {MAX_TEXT_BYTES / 1e9:g} GB; write it as plain Parquet")


KINDS: dict[str, Callable[[Path, str | None], Source]] = {
    ".parquet": _parquet,
    **dict.fromkeys((".csv", ".tsv"), _csv),
    **dict.fromkeys((".fits", ".fit"), _fits),
    ".ecsv": _ecsv,
    **dict.fromkeys((".vot", ".votable", ".xml"), _votable),
}
"""By the end of a file's name."""

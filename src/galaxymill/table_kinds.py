"""Kinds of tables that users have: a new one is a class with `columns` and `read`, and a line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

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


class Source(Protocol):
    """A table in a file.

    Attributes
    ----------
    columns : list of str
        Names, in the file's order.
    more : str
        What else is in the file, to name in errors.
    """

    columns: list[str]
    more: str = ""

    def read(self, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
        """Read columns, units in the fields' metadata; ``texts`` are text in an untyped file."""
        ...

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns one block after the other; they are text in an untyped file."""
        yield from self.read(columns, columns).to_batches()


def open_source(path: Path, hdu: str | None = None) -> Source:
    """Open a table by the ending of its name.

    Parameters
    ----------
    path : Path
    hdu : str, optional
        Name or number of the table in a FITS file or a VOTable that has several.

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
    if hdu is not None and not issubclass(kind, _Fits | _VOTable):
        raise UserError(f"{path}: hdu: {hdu}: only FITS files and VOTables hold several tables")
    if kind is _Csv and _head(path).startswith(b"# %ECSV"):
        kind = _Ecsv
    source: Source = kind(path, hdu)
    return source


def _head(path: Path) -> bytes:
    with pa.input_stream(path) as stream:
        return bytes(stream.read(_HEAD_BYTES))


def _with_units(table: pa.Table, units: dict[str, str]) -> pa.Table:
    """Say the unit in the metadata of each field that does not."""
    fields = []
    for field in table.schema:
        metadata = dict(field.metadata or {})
        if units.get(field.name) and b"unit" not in metadata:
            metadata[b"unit"] = units[field.name].encode()
        fields.append(field.with_metadata(metadata))
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))


class _Parquet(Source):
    def __init__(self, path: Path, _: str | None) -> None:
        import pyarrow.parquet as pq

        self._file: Any = path
        if path.suffix.lower() == ".gz":
            with pa.input_stream(path) as stream:
                self._file = pa.BufferReader(stream.read(MAX_TEXT_BYTES))
        self._schema = pq.read_schema(self._file)
        self.columns = list(self._schema.names)

    def read(self, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._file) as file:
            table = file.read(columns=list(columns))
        return _with_units(table, _footer_units(self._schema.metadata or {}))


def _footer_units(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """Units as astropy writes them into a Parquet file's footer."""
    from astropy.table.meta import get_header_from_yaml

    lines = metadata.get(b"table_meta_yaml", b"").decode().splitlines()
    described = get_header_from_yaml(lines)["datatype"] if lines else []
    return {column["name"]: str(column["unit"]) for column in described if column.get("unit")}


class _Csv(Source):
    def __init__(self, path: Path, _: str | None) -> None:
        from pyarrow import csv

        self._path = path
        head = _head(path)
        marked = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        self._encoding = "utf-16" if marked else "utf-8"
        first = head.decode(self._encoding, "replace").split("\n")[0]
        if "\0" in first:
            raise ValueError(
                f"no plain text, or UTF-16 without a mark; {_SAVE_AS.format('utf-16')}"
            )
        self._separator = max(",;\t|", key=_QUOTED.sub("", first).count)
        with self._explained(), csv.open_csv(path, *self._options(threads=False)) as reader:
            self.columns = list(reader.schema.names)

    def read(self, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
        from pyarrow import csv

        self._check_quotes()
        types = dict.fromkeys(texts, pa.string())
        convert = csv.ConvertOptions(column_types=types, include_columns=list(columns))
        with self._explained():
            try:
                table = csv.read_csv(self._path, *self._options(), convert_options=convert)
            except pa.ArrowInvalid as error:
                if "CSV parse error" not in str(error):
                    raise
                # One thread alone knows which row it is.
                options = self._options(threads=False)
                table = csv.read_csv(self._path, *options, convert_options=convert)
            if pa.binary() in table.schema.types:
                raise ValueError("not UTF8")
        return table.replace_schema_metadata({"untyped": ""})

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        from pyarrow import csv

        self._check_quotes()
        types = dict.fromkeys(columns, pa.string())
        convert = csv.ConvertOptions(column_types=types, include_columns=list(columns))
        options = self._options(threads=False)
        with (
            self._explained(),
            csv.open_csv(self._path, *options, convert_options=convert) as reader,
        ):
            yield from reader

    def _options(self, threads: bool = True) -> tuple[Any, Any]:
        from pyarrow import csv

        # In blocks so large, line breaks within quotes take no longer (160 MB on two cores).
        return (
            csv.ReadOptions(use_threads=threads, block_size=_BLOCK_BYTES, encoding=self._encoding),
            csv.ParseOptions(delimiter=self._separator, newlines_in_values=True),
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say the way out of what a reader of CSV stumbles over."""
        try:
            yield
        except (ValueError, pa.ArrowInvalid) as error:
            told = str(error)
            if "utf8" in told.lower().replace("-", ""):
                raise ValueError(f"not in UTF-8; {_SAVE_AS.format('latin1')}") from error
            if "CSV parse error: " in told:
                raise ValueError(f"{told}; is a {self._separator!r} not in quotes?") from error
            raise

    def _check_quotes(self) -> None:
        """Refuse a quotation mark that nothing closes: it would swallow all rows that follow."""
        marks = 0
        with pa.input_stream(self._path) as stream:
            while self._encoding == "utf-8" and (block := stream.read(_BLOCK_BYTES)):
                marks += block.count(b'"')
        if marks % 2:
            raise ValueError(
                f"{marks} quotation marks, so that one is not closed; write one within a value "
                'twice, and the value in quotation marks: "5"" plate"'
            )


class _Astropy(Source):
    """A table that astropy holds in memory."""

    _table: Any

    def read(self, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
        units = {c: str(u) for c in columns if (u := self._table[c].unit) is not None}
        arrays = {name: _to_arrow(self._table[name]) for name in columns}
        return _with_units(pa.table(arrays), units)


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
            return pc.utf8_trim_whitespace(pa.array(values, mask=absent).cast(pa.string()))
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"column {column.name} has letters beyond ASCII, not in UTF-8"
            ) from error
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=absent)


class _Fits(_Astropy):
    def __init__(self, path: Path, hdu: str | None) -> None:
        from astropy.io import fits

        self._path = path
        with fits.open(path) as hdus:
            tables = {
                number: part
                for number, part in enumerate(hdus)
                if isinstance(part, fits.BinTableHDU | fits.TableHDU)
                and not isinstance(part, fits.CompImageHDU)
            }
            names = {number: part.name for number, part in tables.items()}
            self._number, self.more = _choose(path, names, hdu)
            self.columns = list(tables[self._number].columns.names)

    def read(self, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
        from astropy.table import Table

        self._table = Table.read(self._path, format="fits", hdu=self._number)
        return super().read(columns, texts)


class _VOTable(_Astropy):
    def __init__(self, path: Path, hdu: str | None) -> None:
        from astropy.io import votable

        _require_small(path)
        tables = list(votable.parse(path, verify="ignore").iter_tables())
        names = {number: table.name or table.ID or "" for number, table in enumerate(tables, 1)}
        number, self.more = _choose(path, names, hdu)
        self._table = tables[number - 1].to_table(use_names_over_ids=True)
        self.columns = list(self._table.colnames)


class _Ecsv(_Astropy):
    def __init__(self, path: Path, _: str | None) -> None:
        from astropy.table import Table
        from astropy.table.serialize import represent_mixins_as_columns

        _require_small(path)
        # Positions and times become columns of numbers and texts.
        self._table = represent_mixins_as_columns(Table.read(path, format="ascii.ecsv"))
        self.columns = list(self._table.colnames)


def _choose(path: Path, names: Mapping[int, str], hdu: str | None) -> tuple[int, str]:
    """Find a table by name or number, else the first; say which others there are."""
    if not names:
        raise ValueError("there is no table in it")
    told = ", ".join(f"{number} {name}".strip() for number, name in names.items())
    if hdu is None:
        number = next(iter(names))
        return number, "" if len(names) == 1 else f"; its tables are {told}: choose one with hdu"
    for number, name in names.items():
        if hdu.lower() in (name.lower(), str(number)):
            return number, ""
    raise UserError(f"{path}: hdu: no table {hdu!r}; its tables are: {told}")


def _require_small(path: Path) -> None:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise UserError(f"{path}: above {MAX_TEXT_BYTES / 1e9:g} GB; write it as plain Parquet")


KINDS: dict[str, Any] = {
    ".parquet": _Parquet,
    ".csv": _Csv,
    ".tsv": _Csv,
    ".fits": _Fits,
    ".fit": _Fits,
    ".ecsv": _Ecsv,
    ".vot": _VOTable,
    ".votable": _VOTable,
    ".xml": _VOTable,
}
"""By the end of a file's name."""

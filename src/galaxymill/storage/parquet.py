"""Read and write Parquet products: atomic, digested, with their origin in the footer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.storage.atomic import atomic_file
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.origin import METADATA_KEY, Origin

ROWS_PER_GROUP = 256


class ProductWriter:
    """Append batches to a Parquet product; see `open_product`."""

    def __init__(self, path: Path, schema: pa.Schema, origin: Origin) -> None:
        self._origin = origin
        self._schema = schema
        self._digest = TableDigest(schema)
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", **_encodings(schema))

    @property
    def names(self) -> list[str]:
        """Names of the product's columns."""
        return list(self._schema.names)

    def write(self, rows: pa.Table) -> None:
        """Append ``rows`` as one row group; their schema must be the product's."""
        table = rows.cast(self._schema)
        self._digest.update(table)
        self._writer.write_table(table)

    def finish(self) -> None:
        """Write the footer with the origin and the digest over all rows."""
        record = {
            "origin": self._origin.to_dict(),
            "digest": self._digest.hexdigest(),
            "rows": self._digest.rows,
        }
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(record)})
        self._writer.close()


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Choose how columns are encoded.

    No two images are alike, hardly any two measured numbers: a dictionary of them costs time
    and memory, and saves nothing. The bytes of floats compress better when each is put with its
    like.
    """
    floats = [path for field in schema for path in _float_leaves(field)]
    plain = [f.name for f in schema if not pa.types.is_binary(f.type) and not _float_leaves(f)]
    return {
        "use_dictionary": plain or False,
        "write_statistics": [*plain, *floats] or False,
        "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT") or None,
    }


def _float_leaves(field: pa.Field) -> list[str]:
    """Name the columns of floats that a field is stored as."""
    if pa.types.is_fixed_size_list(field.type) or pa.types.is_list(field.type):
        nested = pa.types.is_floating(field.type.value_type)
        return [f"{field.name}.list.{field.type.value_field.name}"] if nested else []
    return [field.name] if pa.types.is_floating(field.type) else []


@contextmanager
def open_product(path: Path, schema: pa.Schema, origin: Origin) -> Iterator[ProductWriter]:
    """Open a Parquet product for writing; it takes its place when the block ends well.

    Parameters
    ----------
    path : Path
        The product.
    schema : pyarrow.Schema
        From `galaxymill.products`.
    origin : Origin
        Kept in the footer, together with the digest over the rows.

    Yields
    ------
    ProductWriter
    """
    with atomic_file(path) as temporary:
        writer = ProductWriter(temporary, schema, origin)
        yield writer
        writer.finish()


def write_product(path: Path, table: pa.Table, origin: Origin, schema: pa.Schema) -> None:
    """Write a whole table as one product, in row groups of ``ROWS_PER_GROUP`` × 16 rows."""
    step = ROWS_PER_GROUP * 16
    with open_product(path, schema, origin) as writer:
        for start in range(0, max(table.num_rows, 1), step):
            writer.write(table.slice(start, step))


def read_batches(
    path: Path, columns: list[str] | None = None, rows: int = ROWS_PER_GROUP
) -> Iterator[pa.Table]:
    """Read a product piece by piece.

    Parameters
    ----------
    path : Path
        A Parquet file.
    columns : list of str, optional
        Default: all.
    rows : int
        At most so many rows a piece.

    Yields
    ------
    pyarrow.Table
    """
    # With pre_buffer, all columns of all row groups would be read at once.
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            yield pa.Table.from_batches([batch])


def column_values(table: pa.Table, name: str) -> list[Any]:
    """Give one column as a list of Python values."""
    values: list[Any] = table.column(name).to_pylist()
    return values

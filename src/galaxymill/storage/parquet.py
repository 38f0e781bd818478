"""Read and write Parquet products: atomic, digested, with their origin in the footer."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.errors import UserError
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
        self._writer = pq.ParquetWriter(path, schema, **_encodings(schema))

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
    like; of what is left, zstd would save a tenth, and double the time to write and to read. No two
    names are alike either: their lengths apart from their letters take less than a dictionary.
    """
    leaves = {path: kind for field in schema for path, kind in _leaves(field.name, field.type)}
    floats = [path for path, kind in leaves.items() if pa.types.is_floating(kind)]
    features = [path for path, kind in leaves.items() if pa.types.is_fixed_size_binary(kind)]
    bytes_ = [path for path, kind in leaves.items() if pa.types.is_binary(kind)] + features
    measured = [path for path in leaves if path not in bytes_]
    names = [path for path in leaves if path == "object_id"]
    return {
        "compression": dict.fromkeys(leaves, "zstd")
        | dict.fromkeys(floats, "snappy")
        | dict.fromkeys(features, "none"),
        "use_dictionary": [path for path in measured if path not in floats + names] or False,
        "write_statistics": measured or False,
        "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT")
        | dict.fromkeys(names, "DELTA_LENGTH_BYTE_ARRAY"),
    }


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Name and type of each column that a field is stored as."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path, kind


@contextmanager
def open_product(path: Path, schema: pa.Schema, origin: Origin) -> Iterator[ProductWriter]:
    """Open a Parquet product for writing; it takes its place when the block ends well.

    The origin is kept in the footer, together with the digest over the rows.
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


@contextmanager
def open_parquet(path: Path, columns: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a product for reading; what cannot be read of it within the block is a `UserError`.

    Raises
    ------
    UserError
        When it is absent, is damaged, or lacks one of ``columns``.
    """
    try:
        # With pre_buffer, all columns of all row groups would be read at once.
        with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            there = set(file.schema_arrow.names)
            absent = [name for name in columns if name not in there]
            if absent:
                raise UserError(f"{path}: has no column {absent[0]}: another product is meant")
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it first") from error
    except MemoryError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: damaged, or not a Parquet file ({str(error).strip()}); remove it and run the "
            "stage that makes it again"
        ) from error


def read_columns(path: Path, columns: list[str]) -> pa.Table:
    """Read columns of a product, all at once; unlike `pyarrow.parquet.read_table`, without pandas.

    Importing pandas is a third of a second of every command.
    """
    with open_parquet(path, columns) as file:
        return file.read(columns, use_threads=False)


def read_batches(
    path: Path, columns: list[str] | None = None, rows: int = ROWS_PER_GROUP
) -> Iterator[pa.Table]:
    """Read columns of a Parquet file, by default all, in pieces of at most so many rows."""
    with open_parquet(path, columns or ()) as file:
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            yield pa.Table.from_batches([batch])

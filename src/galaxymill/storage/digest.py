"""Digests of tables: of the rows themselves, whatever the row groups, compression or writer."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

VOLATILE = b"volatile"


class TableDigest:
    """A digest taken while a table is written, batch by batch.

    Each column is hashed as three running streams (validity, lengths, values), so that the
    result does not depend on how the rows were cut into batches. Columns whose field metadata
    say ``volatile`` (times, or payloads whose sha256 is a column of its own) are left out.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of every batch.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = {
            field.name: _ColumnDigest(field.type)
            for field in schema
            if VOLATILE not in (field.metadata or {})
        }
        self.rows = 0

    def update(self, table: pa.Table) -> None:
        """Add the rows of ``table``."""
        self.rows += table.num_rows
        for name, column in self._columns.items():
            for chunk in table.column(name).chunks:
                column.update(chunk)

    def hexdigest(self) -> str:
        """Sha256 over the rows so far, as 64 hexadecimal digits."""
        columns = {name: column.hexdigests() for name, column in self._columns.items()}
        return sha256_json({"rows": self.rows, "columns": columns})


class _ColumnDigest:
    """Running hashes of one column, its children included."""

    def __init__(self, kind: pa.DataType) -> None:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        self._kind = kind
        self._validity = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()
        if pa.types.is_struct(kind):
            self._children = [_ColumnDigest(field.type) for field in kind]
        elif _is_list(kind):
            self._children = [_ColumnDigest(kind.value_type)]
        else:
            self._children = []

    def update(self, array: pa.Array) -> None:
        if isinstance(array, pa.DictionaryArray):
            array = array.dictionary_decode()
        valid = array.is_valid()
        self._validity.update(valid.to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
        kind = self._kind
        if pa.types.is_struct(kind):
            for index, child in enumerate(self._children):
                child.update(pc.struct_field(array, index))
        elif _is_list(kind):
            self._update_lengths(pc.list_value_length(array))
            self._children[0].update(pc.list_flatten(array))
        elif _is_bytes(kind):
            array = _as_bytes(array, kind)
            self._update_lengths(pc.binary_length(array))
            for value in array:
                if value.is_valid:
                    self._values.update(value.as_buffer())
        elif not pa.types.is_null(kind):
            plain = _as_numbers(array, kind)
            filled = plain.fill_null(False if pa.types.is_boolean(kind) else 0)
            self._values.update(filled.to_numpy(zero_copy_only=False).tobytes())

    def _update_lengths(self, lengths: pa.Array) -> None:
        counts = lengths.fill_null(0).to_numpy(zero_copy_only=False)
        self._lengths.update(counts.astype(np.int64).tobytes())

    def hexdigests(self) -> list[Any]:
        # Parquet calls "element" what Arrow calls "item".
        own = [str(self._kind).replace("<element: ", "<item: ")]
        own += [stream.hexdigest() for stream in (self._validity, self._lengths, self._values)]
        return [*own, *(child.hexdigests() for child in self._children)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_decimal(kind)
    )


def _as_bytes(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        return array.cast(pa.string())
    return array.cast(pa.binary()) if pa.types.is_fixed_size_binary(kind) else array


def _as_numbers(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_temporal(kind):
        return array
    return array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())


def sha256_json(value: Any) -> str:
    """Sha256 of a value's canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

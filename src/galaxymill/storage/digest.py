"""Digests of tables: of the rows themselves, whatever the row groups, compression or writer."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.storage.columns import VOLATILE


class TableDigest:
    """A digest taken while a table is written, batch by batch.

    Each column is hashed as three running streams (validity, lengths, values), so that the
    result does not depend on how the rows were cut into batches. Columns whose field metadata
    say ``volatile`` (times, or payloads whose sha256 is a column of its own) are left out.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = {
            field.name: _ColumnDigest(field.type)
            for field in schema
            if VOLATILE not in (field.metadata or {})
        }
        self.rows = 0

    def restart(self) -> None:
        """Forget all rows: for another table with the same schema this is cheaper than to begin."""
        self.rows = 0
        for column in self._columns.values():
            column.restart()

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
        # Parquet calls "element" what Arrow calls "item".
        self._name = str(kind).replace("<element: ", "<item: ")
        self._kind = _hashed_type(kind)
        self._cast = self._kind != kind
        self._zero = False if pa.types.is_boolean(kind) else 0
        self._hash_values = self._hashed_by(self._kind)
        self._validity, self._lengths, self._values = _Stream(), _Stream(), _Stream()
        self._children: list[_ColumnDigest] = []
        if pa.types.is_struct(kind):
            self._children = [_ColumnDigest(field.type) for field in kind]
        elif _is_list(kind):
            self._children = [_ColumnDigest(kind.value_type)]

    def _hashed_by(self, kind: pa.DataType) -> Callable[[pa.Array], None]:
        """Choose once what to do with each batch: tables are of many columns and small batches."""
        if pa.types.is_struct(kind):
            return self._update_structs
        if _is_list(kind):
            return self._update_lists
        if kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
            return self._update_bytes
        return (lambda _: None) if pa.types.is_null(kind) else self._update_numbers

    def restart(self) -> None:
        for stream in (self._validity, self._lengths, self._values):
            stream.restart()
        for child in self._children:
            child.restart()

    def update(self, array: pa.Array) -> None:
        if isinstance(array, pa.DictionaryArray):
            array = array.dictionary_decode()
        self._validity.update(_validity(array))
        self._hash_values(array.cast(self._kind) if self._cast else array)

    def _update_numbers(self, array: pa.Array) -> None:
        if array.null_count:
            array = array.fill_null(self._zero)
        self._values.update(array.to_numpy(zero_copy_only=False))

    def _update_structs(self, array: pa.Array) -> None:
        for index, child in enumerate(self._children):
            child.update(pc.struct_field(array, index))

    def _update_lists(self, array: pa.Array) -> None:
        self._update_lengths(pc.list_value_length(array))
        self._children[0].update(pc.list_flatten(array))

    def _update_bytes(self, array: pa.Array) -> None:
        self._update_lengths(pc.binary_length(array))
        self._values.update(_joined(array))

    def _update_lengths(self, lengths: pa.Array) -> None:
        counts = lengths.fill_null(0).to_numpy(zero_copy_only=False)
        self._lengths.update(counts.astype(np.int64))

    def hexdigests(self) -> list[Any]:
        streams = self._validity, self._lengths, self._values
        own = [self._name, *[stream.hexdigest() for stream in streams]]
        return [*own, *(child.hexdigests() for child in self._children)]


def _hashed_type(kind: pa.DataType) -> pa.DataType:
    """Type in which values are hashed: of times numbers, of decimals texts."""
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_decimal(kind):
        return pa.string()
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else kind


class _Stream:
    """A sha256 that is only begun when there is something to hash: most columns have no lengths."""

    __slots__ = ("_hash",)
    _EMPTY = hashlib.sha256().hexdigest()

    def __init__(self) -> None:
        self._hash: Any = None

    def restart(self) -> None:
        self._hash = None

    def update(self, data: Any) -> None:
        if self._hash is None:
            self._hash = hashlib.sha256(data)
        else:
            self._hash.update(data)

    def hexdigest(self) -> str:
        return str(self._hash.hexdigest()) if self._hash else self._EMPTY


_ONES = memoryview(bytes([1]) * 65536)


def _validity(array: pa.Array) -> Any:
    """One byte a row: 1, or 0 where it is null."""
    if array.null_count:
        return array.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8)
    return _ONES[: len(array)] if len(array) <= len(_ONES) else np.ones(len(array), np.uint8)


def _joined(array: pa.Array) -> memoryview:
    """Bytes of all values that are not null, one after another, without a copy of each."""
    if array.null_count:
        array = array.drop_null()
    if not len(array):
        return memoryview(b"")
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, np.int64 if large else np.int32)
    low, high = places[array.offset], places[array.offset + len(array)]
    return memoryview(data or b"")[low:high]


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def sha256_json(value: Any) -> str:
    """Sha256 of a value's canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A file of records to append to, that survives a killed job.

A record is a description (JSON) and a payload (bytes) under one checksum. One that was cut off by
a kill is found by it and dropped; all before it count.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from typing import Any

from galaxymill.errors import UserError

_FORMAT = 1
_HEAD = Struct("<III")
"""Length of the description, length of the payload, CRC-32 of both."""
_MAX_RECORD_BYTES = 100_000_000
"""More than any stage appends at once; a length beyond is no length."""


class RecordFile:
    """Records one after the other, the first of which is the key; see `open_records`."""

    def __init__(self, path: Path, file: int, key: Mapping[str, Any]) -> None:
        self._path, self._file = path, file
        # Unknown until the records were walked through once: they may be gigabytes.
        self._end: int | None = None
        plain = {"format": _FORMAT, "key": key}
        first = self._record(0)
        if first is None or first[0] != plain:
            self.cut(0)
            self.append(plain, b"", kept="nothing is kept yet")
            first = self._whole(0)
        self._first = first[2]

    def append(
        self, plain: Mapping[str, Any], payload: bytes, kept: str = "what was kept stays"
    ) -> int:
        """Keep one record of at most 100 MB, at once; give its place, for `read`.

        Raises
        ------
        UserError
            When the disk takes no more; ``kept`` says what became of the records before.
        ValueError
            When the record is larger than that.
        """
        text = json.dumps(plain).encode()
        if len(text) + len(payload) > _MAX_RECORD_BYTES:
            raise ValueError(f"{self._path}: more than {_MAX_RECORD_BYTES} bytes in one record")
        checksum = zlib.crc32(payload, zlib.crc32(text))
        place = self._known_end()
        try:
            end = self._write(_HEAD.pack(len(text), len(payload), checksum) + text, place)
            self._end = self._write(payload, end)
        except OSError as error:
            with suppress(OSError):
                self.cut(place)
            raise UserError(
                f"{self._path}: cannot be written ({error.strerror}); {kept}: make room, then run "
                "again to go on from there"
            ) from error
        return place

    def read(self, place: int) -> tuple[dict[str, Any], bytes]:
        """Read the description and the payload at ``place`` back; another thread may.

        Raises `UserError` when another process has changed the file.
        """
        return self._whole(place)[:2]

    def records(self) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        """Walk through all records behind the key: place, description and payload of each.

        Raises `UserError` when another process has changed the file.
        """
        place = self._first
        while self._end is None or place < self._end:
            record = self._record(place) if self._end is None else self._whole(place)
            if record is None:
                self.cut(place)
                return
            plain, payload, end = record
            yield place, plain, payload
            place = end

    def cut(self, place: int) -> None:
        """Forget the record at ``place`` and all behind it."""
        self._end = place
        os.ftruncate(self._file, place)

    def _known_end(self) -> int:
        while self._end is None:
            for _ in self.records():
                pass
        return self._end

    def _write(self, data: bytes, place: int) -> int:
        """Write all of ``data`` at ``place``; give its end."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, place)
            place += written
            rest = rest[written:]
        return place

    def _whole(self, place: int) -> tuple[dict[str, Any], bytes, int]:
        record = self._record(place)
        if record is None:
            raise UserError(f"{self._path}: was changed while it was read; remove it")
        return record

    def _record(self, place: int) -> tuple[dict[str, Any], bytes, int] | None:
        """Description, payload and end of the record at ``place``; None when it is not whole."""
        head = os.pread(self._file, _HEAD.size, place)
        if len(head) < _HEAD.size:
            return None
        text_bytes, payload_bytes, checksum = _HEAD.unpack(head)
        start, length = place + _HEAD.size, text_bytes + payload_bytes
        # A damaged length must not be taken for one: nothing of it is allocated.
        if length > min(_MAX_RECORD_BYTES, os.fstat(self._file).st_size - start):
            return None
        text = os.pread(self._file, text_bytes, start)
        payload = os.pread(self._file, payload_bytes, start + text_bytes)
        if zlib.crc32(payload, zlib.crc32(text)) != checksum:
            return None
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return (plain, payload, start + length) if isinstance(plain, dict) else None


@contextmanager
def open_records(product: Path, key: Mapping[str, Any]) -> Iterator[RecordFile]:
    """Open ``.{name}.part`` beside a product; it is removed when the block ends well.

    The caller holds the product's lock. ``key`` is plain JSON that says what the product is made
    of; what was kept under another key is dropped. Raises `UserError` when the disk is full.
    """
    product.parent.mkdir(parents=True, exist_ok=True)
    path = product.parent / f".{product.name}.part"
    # Without a buffer: what could not be written must not come later, and out of place.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield RecordFile(path, file, key)
    finally:
        os.close(file)
    path.unlink()

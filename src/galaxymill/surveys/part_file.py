"""What has been fetched so far: a file to append to, that survives a killed job.

One record a galaxy, in the order of the answers. A record that was cut off by a kill is found by
its checksum and dropped; all before it counts.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from struct import Struct
from typing import Any

from galaxymill.errors import UserError
from galaxymill.surveys.base import Cutout, Target

_FORMAT = 1
_HEAD = Struct("<III")
"""Length of the description, length of the payload, CRC-32 of both."""
_MAX_RECORD_BYTES = 100_000_000
"""Twice what a payload may be, and more; a length beyond is no length."""


class PartFile:
    """Cutouts of one partition, kept as they come; see `open_part`."""

    def __init__(self, path: Path, file: int, key: Mapping[str, Any]) -> None:
        self._path, self._file = path, file
        self._places: dict[str, tuple[int, str, int]] = {}
        self._end = 0
        key = {"format": _FORMAT, "key": key}
        if not self._resume(key):
            self._cut(0)
            self._append(key, b"")

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def object_ids(self) -> list[str]:
        """Galaxies that are here, in the order of their answers."""
        return list(self._places)

    def statuses(self) -> Iterator[str]:
        """Status of each galaxy that is here."""
        return (status for _, status, _ in self._places.values())

    def add(self, cutout: Cutout) -> None:
        """Keep one cutout, at once.

        Raises
        ------
        UserError
            When the disk takes no more; what was kept before stays.
        """
        # Not dataclasses.asdict: its deep copies took a seventh of the stage's time.
        time = cutout.fetched_at
        plain = vars(cutout) | {
            "target": vars(cutout.target),
            "payload": None,
            "fetched_at": time and time.isoformat(),
            "empty": cutout.payload is None,
        }
        place = self._append({"cutout": plain}, cutout.payload or b"")
        self._places[cutout.target.object_id] = (place, cutout.status, cutout.http_status or 0)

    def doubtful(self) -> list[str]:
        """Galaxies whose fate was a fault of the server or the network."""
        return [
            object_id
            for object_id, (_, status, http_status) in self._places.items()
            if status == "failed" or http_status >= 500
        ]

    def forget(self, object_ids: Iterable[str]) -> None:
        """Ask for these galaxies again when the work is resumed."""
        known = [key for key in object_ids if self._places.pop(key, None)]
        if known:
            self._append({"forget": known}, b"")

    def read(self, object_id: str) -> Cutout:
        """Read one cutout back."""
        record = self._record(self._places[object_id][0])
        if record is None:
            raise UserError(f"{self._path}: was changed while it was read; remove it")
        plain, payload, _ = record
        values = dict(plain["cutout"])
        kept = None if values.pop("empty") else payload
        time = values.pop("fetched_at")
        values |= {
            "target": Target(**values["target"]),
            "payload": kept,
            "fetched_at": time and datetime.fromisoformat(time),
        }
        return Cutout(**values)

    def _append(self, plain: Mapping[str, Any], payload: bytes) -> int:
        place = self._end
        text = json.dumps(plain).encode()
        checksum = zlib.crc32(payload, zlib.crc32(text))
        try:
            self._write(_HEAD.pack(len(text), len(payload), checksum) + text)
            self._write(payload)
        except OSError as error:
            with suppress(OSError):
                self._cut(place)
            raise UserError(
                f"{self._path}: cannot be written ({error.strerror}); {len(self)} galaxies are "
                "kept: make room, then run again to go on from there"
            ) from error
        return place

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, self._end)
            self._end += written
            rest = rest[written:]

    def _cut(self, place: int) -> None:
        os.ftruncate(self._file, place)
        self._end = place

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
            plain: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return plain, payload, start + length

    def _resume(self, key: Mapping[str, Any]) -> bool:
        """Find what is here; False when it answers another request, or nothing is here."""
        record = self._record(0)
        if record is None or record[0] != key:
            return False
        place = record[2]
        while (record := self._record(place)) is not None and self._count(place, record[0]):
            place = record[2]
        self._cut(place)
        return True

    def _count(self, place: int, plain: Mapping[str, Any]) -> bool:
        """Take note of the record at ``place``; False when it is none of ours."""
        match plain:
            case {
                "cutout": {
                    "target": {"object_id": str(object_id)},
                    "status": str(status),
                    "http_status": int() | None as http_status,
                }
            }:
                self._places[object_id] = (place, status, http_status or 0)
            case {"forget": list(object_ids)}:
                for object_id in object_ids:
                    self._places.pop(object_id, None)
            case _:
                return False
        return True


@contextmanager
def open_part(product: Path, key: Mapping[str, Any]) -> Iterator[PartFile]:
    """Open the part file of a product; it is removed when the block ends well.

    Parameters
    ----------
    product : Path
        The finished product's path; the caller holds its lock.
    key : mapping
        Plain JSON that says what is asked for; what was kept for another request is dropped.

    Yields
    ------
    PartFile

    Raises
    ------
    UserError
        When the disk takes no more.
    """
    product.parent.mkdir(parents=True, exist_ok=True)
    path = product.parent / f".{product.name}.part"
    # Without a buffer: what could not be written must not come later, and out of place.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield PartFile(path, file, key)
    finally:
        os.close(file)
    path.unlink()

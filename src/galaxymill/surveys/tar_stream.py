"""Read a tar archive from outside while it comes: bounded, and nothing ever touches the disk.

The standard library's reader is not used: it takes extended headers of any length into memory,
and cannot tell an archive that was cut off between two members from one that has ended.
"""

import tarfile
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BLOCK = 512
_REGULAR = {tarfile.REGTYPE, tarfile.AREGTYPE}
_LONG_NAMES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_WITHOUT_DATA = {*tarfile.SUPPORTED_TYPES} - {*tarfile.REGULAR_TYPES} - _LONG_NAMES
_NO_MEMBERS = {tarfile.DIRTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, *_LONG_NAMES}


class ArchiveError(ValueError):
    """Bytes that are no tar archive, or not a whole one."""


class Member(NamedTuple):
    """A member: its name, never a path to open, and its content, None when that is unfit."""

    name: str
    content: bytes | None


def read_members(
    pieces: Iterable[bytes], max_bytes: int, max_members: int, timeout_s: float
) -> Iterator[Member]:
    """Yield the members of an uncompressed archive as they come, but directories and headers.

    ``max_members`` counts all kinds; each must come within ``timeout_s``. Raises ArchiveError when
    the archive is damaged, ends before its end mark, comes too slowly or has too many members; what
    was yielded before stands.
    """
    source = _Source(pieces, timeout_s)
    for _ in range(max_members):
        block = b"".join(source.take(_BLOCK))
        if not any(block):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError as error:
            raise ArchiveError("not a tar archive") from error
        if info.size < 0:
            raise ArchiveError("not a tar archive")
        length = 0 if info.type in _WITHOUT_DATA else -(-info.size // _BLOCK) * _BLOCK
        kept = info.type in _REGULAR and info.size <= max_bytes
        content = b"".join(part for part in source.take(length) if kept)
        if info.type not in _NO_MEMBERS:
            yield Member(info.name, content[: info.size] if kept else None)
    raise ArchiveError(f"more than {max_members} members")


class _Source:
    """Exact numbers of bytes out of pieces."""

    def __init__(self, pieces: Iterable[bytes], timeout_s: float) -> None:
        self._pieces, self._timeout_s = iter(pieces), timeout_s
        self._rest = b""

    def take(self, count: int) -> Iterator[bytes]:
        deadline = time.monotonic() + self._timeout_s
        while count > 0:
            if not self._rest and (piece := next(self._pieces, None)) is not None:
                self._rest = piece
            elif not self._rest:
                raise ArchiveError("the archive ends too early")
            part, self._rest = self._rest[:count], self._rest[count:]
            count -= len(part)
            yield part
            if time.monotonic() > deadline:
                raise ArchiveError("the archive comes too slowly")

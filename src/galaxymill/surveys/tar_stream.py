"""Read a tar archive from outside while it comes: bounded, and nothing ever touches the disk.

The standard library's reader is not used: it takes extended headers of any length into memory,
and cannot tell an archive that was cut off between two members from one that has ended.
"""

import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
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
    take = _taker(pieces, timeout_s)
    for _ in range(max_members):
        block = b"".join(take(_BLOCK))
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
        content = b"".join(part for part in take(length) if kept)
        if info.type not in _NO_MEMBERS:
            yield Member(info.name, content[: info.size] if kept else None)
    raise ArchiveError(f"more than {max_members} members")


def _taker(pieces: Iterable[bytes], timeout_s: float) -> Callable[[int], Iterator[bytes]]:
    """Make a function that takes exact numbers of bytes out of pieces."""
    source, rest = filter(None, pieces), b""

    def take(count: int) -> Iterator[bytes]:
        nonlocal rest
        deadline = time.monotonic() + timeout_s
        while count > 0:
            rest = rest or next(source, b"")
            if not rest:
                raise ArchiveError("the archive ends too early")
            part, rest = rest[:count], rest[count:]
            count -= len(part)
            yield part
            if time.monotonic() > deadline:
                raise ArchiveError("the archive comes too slowly")

    return take

"""A file on a server as one that can be sought in: its bytes are read by HTTP ranges.

Headers are read in small pieces. Pixels are read in blocks of fixed places, which cutouts beside
each other share: one request for many rows is kinder to a server than one for each.
"""

import io
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from galaxymill.decoding.decode import UnavailableError
from galaxymill.web.answer import Answer, Verdict
from galaxymill.web.http import Http

_HEADER_BYTES = 57_600
_MAX_HEADER_PIECES = 5
_BLOCK_BYTES = 4_000_000
_HDU = (b"SIMPLE  =", b"XTENSION=")
_UNKNOWN_LENGTH = 1 << 62
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Unreadable(UnavailableError):  # noqa: N818 - a verdict on galaxies
    """Why something on a server cannot be used; becomes the status of the galaxies on it."""

    def __init__(self, status: str, reason: str, http_status: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.http_status = status, reason, http_status


@dataclass
class _Block:
    lock: threading.Lock = field(default_factory=threading.Lock)
    data: bytes = b""


class BlockCache:
    """The last ``max_bytes`` of blocks, each asked for once however many threads want it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[tuple[str, int], _Block] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], read: Callable[[], bytes]) -> bytes:
        """Return the bytes of a block; ``read`` fetches them when they are not here."""
        with self._lock:
            block = self._blocks.setdefault(key, _Block())
            self._blocks.move_to_end(key)
        with block.lock:
            data = block.data = block.data or read()
        with self._lock:
            while sum(len(each.data) for each in self._blocks.values()) > self._max_bytes:
                self._blocks.popitem(last=False)
        return data


class RangeFile(io.RawIOBase):
    """A FITS file on a server; one thread at a time may read, several may `load`.

    The server must honour ``Range``; else, and when it does not send what is asked for, every
    method raises Unreadable. ``cache`` keeps blocks.
    """

    def __init__(self, http: Http, url: str, cache: BlockCache) -> None:
        self._http, self._url, self._cache = http, url, cache
        self._at, self._length = 0, 0
        self._data_start: int | None = None
        self._pieces: dict[int, bytes] = {}

    def tell(self) -> int:
        """Where the next `read` begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; the length is known once something has been read."""
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read on: by pieces until something was loaded, and then by blocks."""
        size = size if size >= 0 else self._length - self._at
        parts = []
        while size > 0 and (self._at < self._length or not self._length):
            if self._data_start is None:
                index, start = divmod(self._at, _HEADER_BYTES)
                part = self._piece(index)[start : start + size]
            else:
                index, start = divmod(self._at - self._data_start, _BLOCK_BYTES)
                part = self._block(index)[start : start + size]
            if not part:
                break
            parts.append(part)
            self._at += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def load(self, data_start: int, start: int, size: int) -> None:
        """Fetch what will be read next, counted from where the data start; headers are read."""
        self._data_start = data_start
        for index in range(start // _BLOCK_BYTES, (start + size - 1) // _BLOCK_BYTES + 1):
            self._block(index)

    def _block(self, index: int) -> bytes:
        start = (self._data_start or 0) + index * _BLOCK_BYTES
        return self._cache.get((self._url, index), lambda: self._range(start, _BLOCK_BYTES))

    def _piece(self, index: int) -> bytes:
        if index not in self._pieces:
            if len(self._pieces) == _MAX_HEADER_PIECES:
                raise Unreadable("invalid", "FITS header has no end", 206)
            self._pieces[index] = self._range(index * _HEADER_BYTES, _HEADER_BYTES)
        return self._pieces[index]

    def _range(self, start: int, size: int) -> bytes:
        """Read a range: all of it, less only where the file ends."""

        def judge(answer: Answer) -> Verdict | None:
            if answer.http_status == 200:
                return Verdict("failed", "the server ignores Range", refused=True)
            if answer.http_status != 206:
                return None
            sent = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            first, last, total = sent.groups() if sent else (-1, -1, "*")
            length = _UNKNOWN_LENGTH if total == "*" else int(total)
            stop = min(start + size, length)
            if (int(first), int(last), len(answer.payload)) != (start, stop - 1, stop - start):
                return Verdict("failed", "the server sends another range than was asked for")
            if start == 0 and not answer.payload.startswith(_HDU):
                return Verdict("failed", "not a FITS file")
            self._length = length
            return Verdict("ok")

        wanted = {"Range": f"bytes={start}-{start + size - 1}"}
        answer = self._http.get(self._url, judge=judge, headers=wanted)
        if answer.http_status == 416:
            raise Unreadable("invalid", "FITS file ends too early", 416)
        if answer.verdict.status != "ok":
            raise Unreadable(answer.verdict.status, answer.verdict.reason, answer.http_status)
        return answer.payload


def requests_for(rows: int, row_bytes: int) -> int:
    """Count from above the requests for so many rows of one image."""
    return math.ceil(rows / max(1, _BLOCK_BYTES // row_bytes)) + 1

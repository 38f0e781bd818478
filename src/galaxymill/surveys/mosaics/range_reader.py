"""A FITS image on a server, read by HTTP ranges: its header, and those rows that are cut.

It reads uncompressed images only, in the primary HDU or, where that is empty, in the first
extension. Rows are read whole, however few columns are wanted: one request for many pixels
that lie side by side in the file is kinder to a server than one for each row.
"""

import io
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import DTYPES, scaled
from galaxymill.web.answer import Answer, Verdict
from galaxymill.web.http import Http

if TYPE_CHECKING:
    from astropy.io.fits import Header

_FITS_BLOCK = 2880
_HEADER_BYTES = 20 * _FITS_BLOCK
_MAX_HEADER_BYTES = 100 * _FITS_BLOCK
_MAX_SIDE = 100_000
_HDU = (b"SIMPLE  =", b"XTENSION=")
_BLOCK_BYTES = 4_000_000
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Unreadable(Exception):  # noqa: N818 - a verdict on galaxies, not a fault of the program
    """Why something on a server cannot be used; becomes the status of the galaxies on it."""

    def __init__(self, status: str, reason: str, http_status: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.http_status = status, reason, http_status


@dataclass
class _Block:
    lock: threading.Lock = field(default_factory=threading.Lock)
    data: bytes = b""


class BlockCache:
    """The blocks of rows that were read last, each asked for once however many threads want it.

    Parameters
    ----------
    max_bytes : int
        What it keeps at most, over all images that share it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[tuple[str, int], _Block] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], read: Callable[[], bytes]) -> bytes:
        """Give the bytes of a block; ``read`` fetches them when they are not here."""
        with self._lock:
            block = self._blocks.setdefault(key, _Block())
            self._blocks.move_to_end(key)
        with block.lock:
            data = block.data = block.data or read()
        with self._lock:
            while sum(len(each.data) for each in self._blocks.values()) > self._max_bytes:
                self._blocks.popitem(last=False)
        return data


class RemoteImage:
    """The pixels of a remote image, to be sliced like an array of two dimensions.

    Attributes
    ----------
    header : Header
        Of the image's HDU.
    shape : tuple of int
        Height and width.
    """

    def __init__(
        self, http: Http, url: str, header: "Header", start: int, cache: BlockCache
    ) -> None:
        self.header = header
        self.shape, self._dtype = _geometry(header)
        self._http, self._url, self._start, self._cache = http, url, start, cache
        self._row_bytes = self.shape[1] * self._dtype.itemsize
        self._block_rows = max(1, _BLOCK_BYTES // self._row_bytes)
        try:
            scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
            blanks = self._dtype.kind in "iu" and "BLANK" in header
            self._scale = scale, zero, int(header["BLANK"]) if blanks else None
        except (ValueError, TypeError) as error:
            raise Unreadable("invalid", f"unreadable FITS header ({error})") from error

    def __getitem__(self, where: tuple[slice, slice]) -> npt.NDArray[np.float32]:
        """Read the pixels of a slice of rows and one of columns, with known ends and no steps.

        Rows are asked for in blocks of fixed places, so that cutouts beside each other share
        them.

        Raises
        ------
        Unreadable
            When the server does not send them.
        """
        rows, columns = where
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        first_block = rows.start // self._block_rows
        last_block = (rows.stop - 1) // self._block_rows
        for index in range(first_block, last_block + 1):
            top = index * self._block_rows
            start, stop = max(rows.start, top), min(rows.stop, top + self._block_rows)
            block = self._block(index)[start - top : stop - top, columns]
            out[start - rows.start : stop - rows.start] = scaled(block, *self._scale)
        return out

    def _block(self, index: int) -> npt.NDArray[np.generic]:
        def read() -> bytes:
            top = index * self._block_rows
            rows = min(self._block_rows, self.shape[0] - top)
            length = rows * self._row_bytes
            data = read_range(self._http, self._url, self._start + top * self._row_bytes, length)
            if len(data) < length:
                raise Unreadable("invalid", "FITS data end too early", 206)
            return data

        data = self._cache.get((self._url, index), read)
        return np.frombuffer(data, self._dtype).reshape(-1, self.shape[1])


def open_image(http: Http, url: str, cache: BlockCache) -> RemoteImage:
    """Read the header of the first image of a remote FITS file.

    Parameters
    ----------
    http : Http
        Makes the requests; at most five for a header.
    url : str
        The file; the server must honour ``Range``.
    cache : BlockCache
        Keeps rows.

    Raises
    ------
    Unreadable
        When the server does not send it, or it is no uncompressed image of two dimensions.
    """
    header, start = _read_header(http, url, 0)
    if header.get("NAXIS") == 0:
        header, start = _read_header(http, url, start)
    return RemoteImage(http, url, header, start, cache)


def read_range(http: Http, url: str, start: int, length: int, begins_hdu: bool = False) -> bytes:
    """Read bytes of a remote file: all that were asked for, fewer only where the file ends.

    Raises
    ------
    Unreadable
        When the server sends something else, or ignores ``Range``.
    """

    def judge(answer: Answer) -> Verdict | None:
        if answer.http_status == 200:
            return Verdict("failed", "the server ignores Range", refused=True)
        if answer.http_status != 206:
            return None
        sent = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        stop = start + length
        if sent is not None and sent[3].isdigit():
            stop = min(stop, int(sent[3]))
        place = (start, stop - 1, stop - start)
        if sent is None or (int(sent[1]), int(sent[2]), len(answer.payload)) != place:
            return Verdict("failed", "the server sends another range than was asked for")
        if begins_hdu and not answer.payload.startswith(_HDU):
            return Verdict("failed", "not a FITS file")
        return Verdict("ok")

    wanted = {"Range": f"bytes={start}-{start + length - 1}"}
    answer = http.get(url, judge=judge, headers=wanted)
    if answer.http_status == 416:
        raise Unreadable("invalid", "FITS file ends too early", 416)
    if answer.verdict.status != "ok":
        raise Unreadable(answer.verdict.status, answer.verdict.reason, answer.http_status)
    return answer.payload


def _read_header(http: Http, url: str, start: int) -> tuple["Header", int]:
    """Header of the HDU at ``start``, and where its data begin."""
    from astropy.io import fits

    text = b""
    while len(text) < _MAX_HEADER_BYTES:
        more = read_range(http, url, start + len(text), _HEADER_BYTES, begins_hdu=not text)
        text += more
        file = io.BytesIO(text)
        try:
            return fits.Header.fromfile(file), start + file.tell()
        except (OSError, ValueError) as error:
            if len(more) < _HEADER_BYTES:
                raise Unreadable("invalid", "FITS header has no end", 206) from error
    raise Unreadable("invalid", "FITS header has no end", 206)


def _geometry(header: "Header") -> tuple[tuple[int, int], np.dtype[np.generic]]:
    """Shape and type of the pixels."""
    if "ZIMAGE" in header:
        raise Unreadable("invalid", "the image is compressed: its rows cannot be found")
    if str(header.get("XTENSION", "IMAGE")).strip() != "IMAGE" or header.get("NAXIS") != 2:
        raise Unreadable("invalid", "no image of two dimensions")
    try:
        shape = int(header["NAXIS2"]), int(header["NAXIS1"])
        dtype: np.dtype[np.generic] = np.dtype(DTYPES[header["BITPIX"]])
    except (KeyError, ValueError, TypeError) as error:
        raise Unreadable("invalid", f"unreadable FITS header ({error})") from error
    if min(shape) < 1 or max(shape) > _MAX_SIDE:
        raise Unreadable("invalid", f"FITS axes {shape} are not those of a mosaic")
    return shape, dtype


def requests_for(rows: int, row_bytes: int) -> int:
    """Count from above the requests for so many rows of one image."""
    return math.ceil(rows / max(1, _BLOCK_BYTES // row_bytes)) + 1

"""One tile on disk: its header, and its pixels box by box. Bounded before anything is parsed."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from galaxymill.images.decode import DTYPES, PayloadError, scaled
from galaxymill.images.hdus import unpack
from galaxymill.surveys.mosaics.mosaic import Mosaic

if TYPE_CHECKING:
    from astropy.io.fits import Header

_BLOCK = 2880
_MAX_HDUS = 64
_MAX_HEADER_BYTES = 1500 * _BLOCK
_MAX_SIDE = 100_000
_MAX_GRAIN_PIXELS = 32_000_000
_SCALES = (("BSCALE", 1), ("BZERO", 0))
_MAX_UNPACKED_BYTES = 128_000_000


class TileImage:
    """The image of one tile in one band; use it in a ``with`` block.

    Parameters
    ----------
    path : Path
        A FITS file, plain or fpacked; one in ``.gz`` or ``.bz2`` is unpacked in memory, up to
        128 MB.
    hdu : str
        Number (from 0) or EXTNAME of the image; empty for the first of two dimensions.
    name : str
        What errors call the file.

    Attributes
    ----------
    name : str
        As given.
    header : Header
        Of the image.
    index : int
        Number of its HDU.
    shape : tuple of int
        (height, width).
    grain : tuple of int
        Height and width of the pieces that are read whole.

    Raises
    ------
    PayloadError
        When the file is absent, damaged or holds no such image; the message names it.
    """

    def __init__(self, path: Path, hdu: str, name: str) -> None:
        self.name = name
        with self._named():
            self._file, self._bytes = _open(path)
            try:
                self.index, self.header, self._start = self._find(hdu)
                self._packed = _is_packed(self.header)
                self.shape = _shape(self.header)
                self.grain = _grain(self.header) if self._packed else (1, self.shape[1])
                if not self._packed:
                    self._dtype = np.dtype(DTYPES[int(self.header["BITPIX"])])
                    scale, zero = (float(self.header.get(*card)) for card in _SCALES)
                    blanks = self._dtype.kind in "iu" and "BLANK" in self.header
                    self._scale = scale, zero, int(self.header["BLANK"]) if blanks else None
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read one box, shape (rows, columns), as float32 of any byte order.

        Raises
        ------
        PayloadError
            When it cannot be read.
        """
        with self._named():
            if self._packed:
                return np.asarray(self._section[rows, columns], np.float32)
            width = self.shape[1]
            row_bytes = width * self._dtype.itemsize
            wanted = (rows.stop - rows.start) * row_bytes
            self._file.seek(self._start + rows.start * row_bytes)
            raw = self._file.read(wanted)
            if len(raw) < wanted:
                raise PayloadError("FITS data end too early", truncated=True)
            stored = np.frombuffer(raw, self._dtype).reshape(-1, width)[:, columns]
            as_stored = self._dtype == DTYPES[-32] and self._scale == (1, 0, None)
            return stored if as_stored else scaled(stored, *self._scale)

    def mosaic(self, factor: float = 1.0) -> Mosaic:
        """Give the image as a mosaic whose WCS is known to work.

        Parameters
        ----------
        factor : float
            What pixels are multiplied with to get nanomaggies.

        Raises
        ------
        PayloadError
            When the header has no WCS that can be used.
        """
        mosaic = Mosaic(self, self.header, factor)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scale = mosaic.pixel_scale
                _ = mosaic.wcs_header
        except Exception as error:
            # The WCS library's errors are of many kinds.
            raise PayloadError(f"{self.name}: no usable WCS ({error})") from error
        if not (np.isfinite(scale) and scale > 0):
            raise PayloadError(f"{self.name}: no usable WCS (pixel scale is {scale})")
        return mosaic

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in every error."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except OSError as error:
            reason = error.strerror or "unreadable"
            raise PayloadError(f"{self.name}: {reason}") from error
        except PayloadError as error:
            raise PayloadError(f"{self.name}: {error}", error.truncated) from error
        except Exception as error:
            # Whatever a damaged file makes the FITS library do, it is this file's fault.
            kind = type(error).__name__
            raise PayloadError(f"{self.name}: undecodable FITS ({kind}: {error})") from error

    def _find(self, hdu: str) -> "tuple[int, Header, int]":
        """Number, header and place of the data of the wanted HDU."""
        for index, header, start in _hdus(self._file, self._bytes):
            number = int(hdu) if hdu.isdigit() else None
            if index == number or (hdu and _extname(header) == hdu.upper()):
                if not _is_image(header):
                    raise PayloadError(f"HDU {hdu} is no image of two dimensions")
                return index, header, start
            if not hdu and _is_image(header):
                return index, header, start
        raise PayloadError(f"no HDU {hdu}" if hdu else "no image of two dimensions")

    @cached_property
    def _section(self) -> Any:
        """Let the FITS library decompress, only what is asked for."""
        from astropy.io import fits

        self._file.seek(0)
        hdus = fits.open(self._file, memmap=False, lazy_load_hdus=True)
        return hdus[self.index].section


def _open(path: Path) -> tuple[IO[bytes], int]:
    """Open a file, unpacked if need be; give its size, too."""
    file = path.open("rb")
    try:
        data = unpack(file, _MAX_UNPACKED_BYTES)
    except PayloadError as error:
        file.close()
        raise PayloadError(f"{error}: keep it unpacked, or fpacked", error.truncated) from error
    if data is None:
        return file, path.stat().st_size
    file.close()
    return io.BytesIO(data), len(data)


def _hdus(file: IO[bytes], size: int) -> "Iterator[tuple[int, Header, int]]":
    """Give number, header and place of the data of each HDU; the data must be there."""
    place = 0
    for index in range(_MAX_HDUS):
        if place >= size:
            return
        header, start = _read_header(file, place)
        place = start + _data_bytes(header)
        if place > size:
            raise PayloadError("FITS data end too early", truncated=True)
        yield index, header, start
        place += -place % _BLOCK


def _read_header(file: IO[bytes], place: int) -> "tuple[Header, int]":
    from astropy.io.fits import Header

    file.seek(place)
    text = b""
    while len(text) < _MAX_HEADER_BYTES:
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise PayloadError("FITS header ends too early", truncated=True)
        text += block
        if not text.startswith((b"SIMPLE  =", b"XTENSION=")):
            raise PayloadError(
                "not a FITS file" if place == 0 else "no FITS header where one is due"
            )
        if any(block[card : card + 8] == b"END     " for card in range(0, _BLOCK, 80)):
            # Bytes beyond ASCII, as in names of observers, become question marks.
            plain = text.decode("ascii", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")
            return Header.fromstring(plain), place + len(text)
    raise PayloadError("FITS header has no end")


def _data_bytes(header: "Header") -> int:
    """Bytes of an HDU's data, without padding (FITS standard 4.0, section 4.4.1.2)."""
    axes = [int(header[f"NAXIS{axis + 1}"]) for axis in range(int(header["NAXIS"]))]
    if not axes:
        return 0
    if min(axes) < 0:
        raise PayloadError(f"FITS axes {axes} are not those of an image")
    values = int(np.prod(axes, dtype=object)) + int(header.get("PCOUNT", 0))
    return abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * values


def _is_packed(header: "Header") -> bool:
    return header.get("XTENSION", "").strip() == "BINTABLE" and header.get("ZIMAGE") is True


def _is_image(header: "Header") -> bool:
    if _is_packed(header):
        return bool(header.get("ZNAXIS") == 2)
    return header.get("XTENSION", "IMAGE").strip() == "IMAGE" and bool(header["NAXIS"] == 2)


def _extname(header: "Header") -> str:
    return str(header.get("EXTNAME", "")).strip().upper()


def _shape(header: "Header") -> tuple[int, int]:
    prefix = "ZNAXIS" if _is_packed(header) else "NAXIS"
    shape = (int(header[f"{prefix}2"]), int(header[f"{prefix}1"]))
    if not (min(shape) > 0 and max(shape) <= _MAX_SIDE):
        raise PayloadError(f"FITS axes {shape} are not 1 to {_MAX_SIDE} pixels")
    return shape


def _grain(header: "Header") -> tuple[int, int]:
    """Height and width of the pieces that fpack has compressed."""
    height, width = _shape(header)
    grain = (int(header.get("ZTILE2", 1)), int(header.get("ZTILE1", width)))
    if min(grain) < 1 or grain[0] * grain[1] > _MAX_GRAIN_PIXELS:
        raise PayloadError(f"compressed in pieces of {grain} pixels")
    return min(grain[0], height), min(grain[1], width)

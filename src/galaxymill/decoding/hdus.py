"""Every image in a FITS file from outside, also fpacked ones: bounded before they are decoded."""

import bz2
import gzip
import io
import math
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import (
    DTYPES,
    MAX_BANDS,
    MAX_PIXELS,
    PayloadError,
    UnavailableError,
    image_shape,
    is_fits,
)
from galaxymill.errors import UserError

MAX_HDUS = 64
_MAX_AXES = 9
_BLOCK = 2880
_MAX_HEADER_BLOCKS = 1500
_MAX_GRAIN_PIXELS = 32_000_000
_PACKED = {"RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "NOCOMPRESS"}
"""What fpack makes of images; masks are packed otherwise."""
_GZIP = 31
_PACKERS: dict[bytes, tuple[str, Callable[[Any], Any] | None]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"PK\x03\x04": ("zip", None),
    b"\xfd7zXZ": ("xz", None),
    b"\x1f\x9d": ("compress (.Z)", None),
}
"""By their first bytes; those that cannot be unpacked within bounds are refused by name."""
_AUXILIARY = re.compile(
    r"(?<![A-Z])"
    r"((BIT|BADPIX)?MASK(BIT)?|FLAG|DQ|(I|INV)?VAR|VARIANCE|WEIGHT|WHT|ERR|ERROR|UNCERT|SIGMA|RMS)"
    r"S?(?![A-Z])",
    re.I,
)
"""Names of images that go along with a science image."""


@dataclass(frozen=True, eq=False)
class Hdu:
    """One HDU of a FITS file, its pixels not yet decoded.

    Where it is fpacked, ``header`` is that of the image. ``shape`` is (planes, height, width), None
    when it holds no image. Its data begin at ``start`` in the file and have ``size`` bytes without
    padding; ``datasum`` is the header's sum of them.
    """

    index: int
    header: Any
    shape: tuple[int, int, int] | None
    start: int
    size: int
    datasum: int | None
    _hdu: Any

    @property
    def name(self) -> str:
        """EXTNAME, empty when it has none."""
        return str(self.header.get("EXTNAME") or "").strip()

    @property
    def outline(self) -> tuple[int, int]:
        """Height and width of an image."""
        assert self.shape is not None
        return self.shape[1:]

    @property
    def grain(self) -> tuple[int, int]:
        """Height and width of the pieces that are read whole: rows, or what fpack has packed."""
        height, width = self.outline
        pieces = getattr(self._hdu, "tile_shape", (1, width))
        if min(pieces) < 1 or math.prod(pieces) > _MAX_GRAIN_PIXELS:
            raise PayloadError(f"compressed in pieces of {pieces} pixels")
        return min(int(pieces[-2]), height), min(int(pieces[-1]), width)

    @property
    def packed(self) -> bool:
        """Whether the image is fpacked."""
        return hasattr(self._hdu, "tile_shape")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of an image that is not fpacked."""
        return self.outline[1] * abs(int(self.header["BITPIX"])) // 8

    def span(self, rows: slice) -> tuple[int, int, int]:
        """Where the data begin in the file, where in them these rows do, and their bytes."""
        length = (rows.stop - rows.start) * self.row_bytes
        return self.start, rows.start * self.row_bytes, length

    def answers_to(self, wanted: str) -> bool:
        """Whether it has this number or EXTNAME."""
        return wanted.upper() in (str(self.index), self.name.upper())

    def read(self) -> npt.NDArray[Any]:
        """Decode the image, shape (planes, height, width): scaled, blank pixels NaN."""
        assert self.shape is not None
        if not _is_small(self.shape):
            raise PayloadError(f"FITS axes {self.shape} are larger than any cutout asked for")
        with one_fault():
            data = np.asarray(self._hdu.data)
        if data.size != math.prod(self.shape):
            raise PayloadError("FITS image and its header do not agree")
        return data.reshape(self.shape)

    def read_box(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Decode a part of an image of one plane, shape (rows, columns), as `read` does."""
        first = (0,) * (self._hdu.header["NAXIS"] - 2)
        if self.packed:
            return np.asarray(self._hdu.section[*first, rows, columns])
        # Rows side by side in the file are read at once; columns one row after the other.
        return np.asarray(self._hdu.section[*first, rows, :])[:, columns]


def list_hdus(file: IO[bytes]) -> list[Hdu]:
    """Look at all HDUs of a FITS file; see `iter_hdus`."""
    return list(iter_hdus(file))


def iter_hdus(file: IO[bytes] | io.RawIOBase, packed: bool = True) -> Iterator[Hdu]:
    """Give the HDUs of a FITS file from outside, at most 64; their pixels are read later.

    Images may be fpacked by Rice, gzip or HCOMPRESS, unless ``packed`` is false. Raises
    PayloadError when the file is none, is damaged, or ends before its images do.
    """
    file.seek(0)
    if not is_fits(file.read(80)):
        raise PayloadError("not a FITS file")
    file.seek(0)
    # The FITS library would look for it in the whole of a large file.
    blocks = islice(iter(partial(file.read, _BLOCK), b""), _MAX_HEADER_BLOCKS)
    if not any(
        block[at : at + 8] == b"END     " for block in blocks for at in range(0, _BLOCK, 80)
    ):
        raise PayloadError("FITS header has no end")
    length = file.seek(0, io.SEEK_END)
    as_stored, as_images = (_hdus(file, as_stored=stored) for stored in (True, False))
    for index in range(MAX_HDUS):
        with one_fault():
            stored = next(as_stored, None)
            if stored is None:
                return
            if not packed and "ZIMAGE" in stored.header:
                raise PayloadError("the image is compressed: its rows cannot be found")
            shape, start = _image_shape(stored, length), stored.fileinfo()["datLoc"]
            text = str(stored.header.get("DATASUM") or "").strip()
            datasum = int(text) if text else None
            image = next(as_images)
            hdu = Hdu(index, image.header, shape, start, stored.size, datasum, image)
        yield hdu


def read_images(payload: bytes) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
    """Give header and data, shape (height, width), of the two-dimensional images of a FITS file.

    They are scaled by BSCALE and BZERO; blank pixels are NaN. Images packed otherwise than in
    `iter_hdus`, and cubes, are passed over. Raises PayloadError when the bytes are damaged, or an
    image is larger than any cutout.
    """
    for hdu in list_hdus(io.BytesIO(payload)):
        if hdu.shape is not None and hdu.shape[0] == 1:
            yield hdu.header, hdu.read()[0]


def first_image(payload: bytes) -> tuple[Any, npt.NDArray[Any]]:
    """Give the first of `read_images`; raises PayloadError when there is none."""
    for image in read_images(payload):
        return image
    raise PayloadError("no image in the file")


def unpack(file: IO[bytes], most_bytes: int) -> IO[bytes]:
    """Unpack a gzip or bzip2 file, known by its first bytes; any other comes back as it is.

    Raises PayloadError when it is damaged, holds more than ``most_bytes``, or is packed by another
    program.
    """
    head = file.read(6)
    file.seek(0)
    for magic, (name, opener) in _PACKERS.items():
        if not head.startswith(magic):
            continue
        if opener is None:
            raise PayloadError(f"a {name} file: unpack it, or pack it by gzip")
        try:
            with opener(file) as stream:
                data = bytes(stream.read(most_bytes + 1))
        except EOFError as error:
            raise PayloadError(f"the {name} file ends too early", truncated=True) from error
        except (OSError, ValueError, zlib.error) as error:
            raise PayloadError(f"a damaged {name} file") from error
        if len(data) > most_bytes:
            raise PayloadError(f"unpacked, the file is longer than {most_bytes / 1e6:.0f} MB")
        return io.BytesIO(data)
    return file


@contextmanager
def one_fault(what: str = "undecodable FITS") -> Iterator[None]:
    """Turn whatever a library raises at a header from outside into a PayloadError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (PayloadError, UnavailableError, UserError):
        raise
    except Exception as error:
        raise PayloadError(f"{what} ({type(error).__name__})") from error


def is_auxiliary(header: Any) -> bool:
    """Tell a mask, weight or variance from a science image, by EXTNAME and IMAGETYP."""
    names = (str(header.get(keyword, "")) for keyword in ("EXTNAME", "IMAGETYP"))
    return any(_AUXILIARY.search(name) for name in names)


def _is_small(shape: tuple[int, int, int]) -> bool:
    return shape[0] <= MAX_BANDS and math.prod(shape) <= MAX_PIXELS


def _hdus(file: IO[bytes] | io.RawIOBase, as_stored: bool) -> Iterator[Any]:
    """Give the HDUs, parsed one after the other; packed images as tables where ``as_stored``."""
    from astropy.io import fits

    file.seek(0)
    hdus = fits.open(file, memmap=False, disable_image_compression=as_stored)
    for index in range(MAX_HDUS):
        try:
            yield hdus[index]
        except IndexError:
            return


def _image_shape(hdu: Any, file_bytes: int) -> tuple[int, int, int] | None:
    """Shape of the image in an HDU that was opened as what it is stored as; see `Hdu`.

    Raises PayloadError when the file ends before the image does, or it unpacks to more.
    """
    from astropy.io import fits

    packed = isinstance(hdu, fits.BinTableHDU)
    if packed and hdu.header.get("ZCMPTYPE") not in _PACKED:
        return None
    if not packed and not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
        return None
    z = "Z" if packed else ""
    count = int(hdu.header[f"{z}NAXIS"])
    if not 2 <= count <= _MAX_AXES:
        return None
    axes = tuple(int(hdu.header[f"{z}NAXIS{axis}"]) for axis in range(count, 0, -1))
    if min(axes) < 1:
        raise PayloadError(f"FITS axes {axes} are not those of an image")
    shape = image_shape(axes)
    if len(shape) > 3:
        return None
    pixel_bytes = np.dtype(DTYPES[hdu.header[f"{z}BITPIX"]]).itemsize
    if hdu.fileinfo()["datLoc"] + hdu.size > file_bytes:
        raise PayloadError("FITS data end too early", truncated=True)
    planes, height, width = (1, *shape)[-3:]
    if packed and _is_small((planes, height, width)):
        _check_gzip(hdu, max(pixel_bytes, 4) * math.prod(axes))
    return planes, height, width


def _check_gzip(table: Any, max_bytes: int) -> None:
    """Refuse tiles that unpack to more than the whole image: the FITS library does not look."""
    columns = ["GZIP_COMPRESSED_DATA"]
    if table.header["ZCMPTYPE"].startswith("GZIP"):
        columns.append("COMPRESSED_DATA")
    for column in set(columns) & set(table.columns.names):
        for tile in table.data[column]:
            unpacker = zlib.decompressobj(_GZIP)
            unpacked = unpacker.decompress(np.asarray(tile).tobytes(), max_bytes + 1)
            if len(unpacked) > max_bytes or unpacker.unused_data:
                raise PayloadError("packed FITS tiles are larger than their image")

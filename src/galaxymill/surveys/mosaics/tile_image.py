"""One large image: its header, and its pixels box by box. Bounded before anything is parsed."""

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import PayloadError, UnavailableError
from galaxymill.decoding.hdus import Hdu, iter_hdus, unpack
from galaxymill.errors import UserError
from galaxymill.surveys.mosaics.mosaic import Mosaic
from galaxymill.surveys.mosaics.range_reader import RangeFile

_MAX_UNPACKED_BYTES = 128_000_000
_STRIP_BYTES = 16_000_000
"""Of rows, which are read whole."""


class TileImage:
    """The image of one tile in one band, to be sliced like an array; use it in a ``with`` block.

    ``source`` is a FITS file, plain or fpacked; one in ``.gz`` or ``.bz2`` is unpacked in memory,
    up to 128 MB; a `RangeFile` must be plain. ``hdu`` is the number (from 0) or EXTNAME of the
    image, empty for the first of two dimensions, and ``name`` the file's in errors. Raises
    PayloadError when the file is absent, damaged or holds no such image.
    """

    def __init__(self, source: Path | RangeFile, hdu: str, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        with self._named():
            self._file = source if isinstance(source, RangeFile) else _open(source)
            try:
                self._hdu = _find(iter_hdus(self._file, packed=isinstance(source, Path)), hdu)
                self.index, self.header = self._hdu.index, self._hdu.header
                self.grain = self._hdu.grain
                self.shape = self._hdu.outline
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getitem__(self, box: tuple[slice, slice]) -> npt.NDArray[np.float32]:
        """Read one box, (rows, columns) with known ends; raises PayloadError when it cannot be."""
        rows, columns = box
        pixels = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        step = len(pixels) if self._hdu.packed else max(1, _STRIP_BYTES // self._hdu.row_bytes)
        for start in range(rows.start, rows.stop, step):
            strip = slice(start, min(start + step, rows.stop))
            if isinstance(self._file, RangeFile):
                self._file.load(*self._hdu.span(strip))
            place = slice(strip.start - rows.start, strip.stop - rows.start)
            with self._named(), self._lock:
                pixels[place] = self._hdu.read_box(strip, columns)
        return pixels

    def mosaic(self, factor: float = 1.0) -> Mosaic:
        """Make a mosaic of the image; raises PayloadError when its WCS cannot be used."""
        mosaic = Mosaic(self, self.header, factor)
        with self._named("no usable WCS"):
            _ = mosaic.wcs_header
            if not 0 < mosaic.pixel_scale < np.inf:
                raise ValueError(f"pixel scale is {mosaic.pixel_scale}")
        return mosaic

    @contextmanager
    def _named(self, fault: str = "undecodable FITS") -> Iterator[None]:
        """Name the file in every error."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except (UnavailableError, UserError):
            raise
        except OSError as error:
            raise PayloadError(f"{self.name}: {error.strerror or 'unreadable'}") from error
        except PayloadError as error:
            raise PayloadError(f"{self.name}: {error}", error.truncated) from error
        except Exception as error:
            # The libraries' errors are of many kinds.
            raise PayloadError(f"{self.name}: {fault} ({error})") from error


def _find(hdus: Iterable[Hdu], wanted: str) -> Hdu:
    for hdu in hdus:
        is_image = hdu.shape is not None and hdu.shape[0] == 1
        if wanted and hdu.answers_to(wanted) and not is_image:
            raise PayloadError(f"HDU {wanted} is no image of two dimensions")
        if is_image and (not wanted or hdu.answers_to(wanted)):
            return hdu
    raise PayloadError(f"no HDU {wanted}" if wanted else "no image of two dimensions")


def _open(path: Path) -> IO[bytes]:
    """Open a file, unpacked if need be."""
    file = path.open("rb")
    try:
        unpacked = unpack(file, _MAX_UNPACKED_BYTES)
    except PayloadError as error:
        file.close()
        raise PayloadError(f"{error}: keep it unpacked, or fpacked", error.truncated) from error
    if unpacked is not file:
        file.close()
    return unpacked

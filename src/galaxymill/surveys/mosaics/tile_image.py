"""One tile on disk: its header, and its pixels box by box. Bounded before anything is parsed."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import Hdu, list_hdus, unpack
from galaxymill.surveys.mosaics.mosaic import Mosaic

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
            self._file = _open(path)
            try:
                self._hdu = _find(list_hdus(self._file), hdu)
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

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read one box, shape (rows, columns), as float32 of any byte order.

        Raises
        ------
        PayloadError
            When it cannot be read.
        """
        with self._named():
            return self._hdu.read_box(rows, columns).astype(np.float32, copy=False)

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
        except OSError as error:
            raise PayloadError(f"{self.name}: {error.strerror or 'unreadable'}") from error
        except PayloadError as error:
            raise PayloadError(f"{self.name}: {error}", error.truncated) from error
        except Exception as error:
            # The libraries' errors are of many kinds.
            raise PayloadError(f"{self.name}: {fault} ({error})") from error


def _find(hdus: list[Hdu], wanted: str) -> Hdu:
    """Choose the image that is wanted, or the first."""
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

"""Every image in a FITS file from outside, also fpacked ones: bounded before they are decoded."""

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.images.decode import MAX_PIXELS, PayloadError, is_fits

_MAX_HDUS = 64
_PIXEL_BYTES = {-64: 8, -32: 4, 8: 1, 16: 2, 32: 4, 64: 8}
_PACKED = {"RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS"}
"""What fpack makes of images; masks are packed otherwise."""
_GZIP = 31


def read_images(payload: bytes) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
    """Give the two-dimensional images of a FITS file, in the order of the file.

    Parameters
    ----------
    payload : bytes
        A FITS file. Images may be fpacked by Rice or gzip; those packed otherwise are passed
        over.

    Yields
    ------
    header : astropy.io.fits.Header
        Of the HDU, with EXTNAME where it has one.
    data : ndarray, shape (height, width)
        Scaled by BSCALE and BZERO; blank pixels are NaN.

    Raises
    ------
    PayloadError
        When the bytes are damaged, or an image is larger than any cutout.
    """
    with open_fits(payload, disable_image_compression=True) as hdus:
        shapes = [_image_shape(hdu, len(payload)) for hdu in first_hdus(hdus)]
    with open_fits(payload) as hdus:
        for hdu, shape in zip(first_hdus(hdus), shapes, strict=True):
            if shape is not None:
                if getattr(hdu, "shape", None) != shape:
                    raise PayloadError("FITS image and its header do not agree")
                yield hdu.header, np.asarray(hdu.data)


def primary_header(payload: bytes) -> Any:
    """Give the header of the primary HDU; raises PayloadError when it is damaged."""
    with open_fits(payload) as hdus:
        return hdus[0].header


@contextmanager
def open_fits(payload: bytes, **options: Any) -> Iterator[Any]:
    """Open a FITS file from outside; whatever is wrong with it is a PayloadError.

    Parameters
    ----------
    payload : bytes
        The file.
    **options
        Of ``astropy.io.fits.open``.

    Yields
    ------
    HDUList
        Whose HDUs are parsed when they are asked for.
    """
    from astropy.io import fits

    if not is_fits(payload):
        raise PayloadError("not a FITS file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(payload), memmap=False, **options) as hdus:
                yield hdus
    except PayloadError:
        raise
    except Exception as error:
        # Whatever a header from outside makes the FITS library do, it is one galaxy's fault.
        raise PayloadError(f"undecodable FITS ({type(error).__name__})") from error


def first_hdus(hdus: Any) -> Iterator[Any]:
    """Give the HDUs one after the other: they are parsed when they are asked for."""
    for index in range(_MAX_HDUS):
        try:
            yield hdus[index]
        except IndexError:
            return


def _image_shape(hdu: Any, payload_bytes: int) -> tuple[int, int] | None:
    """Shape of the image that an HDU, opened as what it is stored as, may be decoded to.

    None when it holds no image; raises PayloadError when that is too large.
    """
    from astropy.io import fits

    packed = isinstance(hdu, fits.BinTableHDU)
    if packed and hdu.header.get("ZCMPTYPE") not in _PACKED:
        return None
    if not packed and not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
        return None
    z = "Z" if packed else ""
    if hdu.header[f"{z}NAXIS"] != 2:
        return None
    width, height = hdu.header[f"{z}NAXIS1"], hdu.header[f"{z}NAXIS2"]
    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise PayloadError(f"FITS axes {(height, width)} are larger than any cutout asked for")
    pixel_bytes = _PIXEL_BYTES[hdu.header[f"{z}BITPIX"]]
    stored = hdu.header["NAXIS1"] * hdu.header["NAXIS2"] * (1 if packed else pixel_bytes)
    if hdu.fileinfo()["datLoc"] + stored + hdu.header.get("PCOUNT", 0) > payload_bytes:
        raise PayloadError("FITS data end too early", truncated=True)
    if packed:
        _check_gzip(hdu, max(pixel_bytes, 4) * width * height)
    return height, width


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

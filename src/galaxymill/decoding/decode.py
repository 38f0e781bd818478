"""Decode untrusted image bytes, FITS or JPEG/PNG/WebP: bounded before anything is allocated."""

import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.cards import read_cards
from galaxymill.decoding.container import check_jpeg, check_png, check_webp, draw_jpeg
from galaxymill.decoding.place import Place, locate

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 3000 * 3000
MAX_BANDS = 16
MAX_HEADER_BYTES = 100 * 2880
_BLOCK = 2880
_CARD = 80
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_FILLING = b"\0 "
_FITS = b"SIMPLE  ="
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_OTHERS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"GIF8": "GIF", b"BM": "BMP"}
_GREY_AND_ALPHA = 4


class PayloadError(ValueError):
    """Bytes that are no usable image; ``truncated`` when they end before their data do."""

    def __init__(self, reason: str, truncated: bool = False) -> None:
        super().__init__(reason)
        self.truncated = truncated


class UnavailableError(Exception):
    """Bytes of a file could not be read, whatever the image; no reader catches it."""


@dataclass(frozen=True)
class FitsCutout:
    """A decoded FITS cutout: planes by band, shape (height, width), y up, in the service's unit.

    ``place`` is None without a usable WCS; ``cards`` are those of the header.
    """

    planes: dict[str, npt.NDArray[np.float32]]
    place: Place | None
    cards: Mapping[str, Any]

    @property
    def centre(self) -> tuple[float, float] | None:
        """Right ascension and declination of the middle in degrees."""
        return None if self.place is None else (self.place.ra, self.place.dec)

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec per pixel."""
        return None if self.place is None else self.place.pixel_scale


def is_fits(payload: bytes) -> bool:
    """Tell FITS from other bytes by their magic."""
    return payload.startswith(_FITS)


def begins_as_image(payload: bytes) -> bool:
    """Tell FITS, JPEG, PNG and WebP, whole or not, from text and other bytes by their magic."""
    return payload.startswith((_FITS, _JPEG, _PNG, b"RIFF"))


def read_fits(payload: bytes) -> FitsCutout:
    """Decode the primary HDU of a FITS cutout: (bands, y, x) or, for one band, (y, x).

    Bands are named by ``BANDS`` or ``BAND0``, ``BAND1``, …. Further axes of length 1 are passed
    over, and so are bytes beyond ASCII, which stand in comments and names of observers. Raises
    PayloadError when the bytes are no such file, are too large, end too early or later than the
    header says, or do not add up to their DATASUM.
    """
    end, header = _header(payload)
    try:
        if header["SIMPLE"] is not True:
            raise ValueError("SIMPLE is not T")
        if header.get("PCOUNT", 0) != 0 or header.get("GCOUNT", 1) != 1:
            raise ValueError("random groups")
        dtype = np.dtype(DTYPES[index(header["BITPIX"])])
        shape = _shape(header)
        scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
        blank = index(header["BLANK"]) if "BLANK" in header and dtype.kind in "iu" else None
        # An empty one says that there is none (FITS standard 4.0, section 4.4.2.7).
        datasum = int(header["DATASUM"]) if header.get("DATASUM", "") != "" else None
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise PayloadError(f"unreadable FITS header ({error})") from error
    if len(shape) not in (2, 3) or min(shape, default=0) < 1:
        raise PayloadError(f"FITS axes {shape} are not those of an image")
    if shape[-1] * shape[-2] > MAX_PIXELS or (len(shape) == 3 and shape[0] > MAX_BANDS):
        raise PayloadError(f"FITS axes {shape} are larger than any cutout asked for")
    count = math.prod(shape)
    check_data(payload, end, count * dtype.itemsize, datasum)
    raw = np.frombuffer(payload, dtype, count, end).reshape((-1, *shape[-2:]))
    bands = band_names(header, len(raw))
    if not bands:
        raise PayloadError(f"FITS header names bands [] for {len(raw)} planes")
    planes = dict(zip(bands, scaled(raw, scale, zero, blank), strict=True))
    return FitsCutout(planes, locate(header, shape[-1], shape[-2]), header)


def has_bands(payload: bytes, bands: Iterable[str]) -> bool:
    """Tell by its header alone whether a file is a FITS cutout with these bands."""
    try:
        _, header = _header(payload)
        return set(bands) <= set(band_names(header, math.prod(_shape(header)[:-2])))
    except (KeyError, ValueError, TypeError):
        return False


def _header(payload: bytes) -> tuple[int, dict[str, Any]]:
    """Read the primary header and where it ends."""
    end = _header_end(payload[:MAX_HEADER_BYTES])
    text = payload[:end].decode("ascii", "replace")
    keywords = "" if text.isascii() else "".join(text[at : at + 10] for at in range(0, end, _CARD))
    if not (text.isprintable() and keywords.isascii()):
        raise PayloadError("unreadable FITS header (characters that no header may have)")
    return end, dict(read_cards(text))


def _shape(header: Mapping[str, Any]) -> tuple[int, ...]:
    # Not int(): an axis of 3.5 pixels is none.
    axes = range(index(header["NAXIS"]), 0, -1)
    return image_shape(tuple(index(header[f"NAXIS{axis}"]) for axis in axes))


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out axes of length 1 above the image's two."""
    return (*(length for length in shape[:-2] if length != 1), *shape[-2:])


def _header_end(head: bytes) -> int:
    """Offset of the data: the end of the block that holds the END card."""
    for start in range(0, len(head), _BLOCK):
        text = head[start : start + _BLOCK].rstrip(b" ")
        if text.endswith(b"END") and len(text) % _CARD == len(b"END"):
            return start + _BLOCK
    raise PayloadError("FITS header has no end", truncated=len(head) < MAX_HEADER_BYTES)


def check_data(payload: bytes, start: int, size: int, datasum: int | None) -> None:
    """See that the data of an HDU, of ``size`` bytes without padding, are all there, end where the
    header says, and add up to their DATASUM; raises PayloadError when not.
    """
    end = start + size
    block_end = end + -end % _BLOCK
    if end > len(payload):
        raise PayloadError("FITS data end too early", truncated=True)
    following = payload[block_end : block_end + 80].strip(_FILLING)
    if payload[end:block_end].strip(_FILLING) or not (
        not following or following.startswith(b"XTENSION=")
    ):
        raise PayloadError("FITS data do not end where the header says")
    if datasum is not None and datasum != ones_complement_sum(payload[start:end]):
        raise PayloadError("FITS data do not add up to their DATASUM")


def ones_complement_sum(data: bytes | memoryview) -> int:
    """Sum of big-endian 32-bit words with end-around carry (FITS standard 4.0, appendix J)."""
    view = memoryview(data)
    if view.nbytes % 4:
        view = memoryview(bytes(view) + b"\0" * (-view.nbytes % 4))
    return carried(int(np.frombuffer(view, ">u4").sum(dtype=np.uint64)))


def carried(total: int) -> int:
    """Add what is beyond 32 bits to their end."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def band_names(header: Mapping[str, Any], count: int) -> list[str]:
    """Names of ``count`` planes: of BAND0, BAND1, … or BAND1, BAND2, …, else the letters or words
    of BANDS, else, of several planes, of FILTER0, FILTER1, … or FILTER1, FILTER2, ….

    None when the header names none; raises PayloadError when it names others, or another number.
    """
    single, filters = (_numbered(header, keyword) for keyword in ("BAND", "FILTER"))
    text = str(header.get("BANDS") or "")
    words = re.findall(r"[^\s,;]+", text)
    listed = words if len(words) == count else list(text.strip())
    by_card = all(single[:count])
    bands = single[:count] if by_card else listed
    if not (bands or any(single)):
        # Of one plane they may be those of several wheels, one of them empty.
        named = count > 1 and len(set(filters[:count])) == len(list(filter(None, filters))) == count
        return filters[:count] if named else []
    contradicted = by_card and (any(single[count:]) or (len(listed) == count and listed != bands))
    if contradicted or len(bands) != count or len(set(bands)) != count:
        raise PayloadError(f"FITS header names bands {bands} for {count} planes")
    return bands


def _numbered(header: Mapping[str, Any], keyword: str) -> list[str]:
    """Values of the cards that are counted from 0 or from 1, empty where there is none."""
    found = [str(header.get(f"{keyword}{plane}") or "").strip() for plane in range(MAX_BANDS + 1)]
    return found[0 if found[0] else 1 :]


def scaled(
    raw: npt.NDArray[Any], scale: float, zero: float, blank: int | None
) -> npt.NDArray[np.float32]:
    """Give physical values of stored ones by BSCALE, BZERO and BLANK; NaN where they are blank."""
    with np.errstate(all="ignore"):
        if (scale, zero) == (1.0, 0.0):
            data = raw.astype(np.float32)
        else:
            # In double precision: an integer of 32 bits and its offset do not fit into a float32.
            data = (raw.astype(np.float64) * scale + zero).astype(np.float32)
    if blank is not None:
        data[raw == blank] = np.nan
    return data


def read_raster(payload: bytes, depth: int = 16) -> npt.NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP image to 8 bits; see `read_samples`.

    Of a picture of 16 bits whose data fill ``depth`` bits, the upper 8 of these are shown; what is
    brighter is white.
    """
    samples = read_samples(payload)
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    upper: npt.NDArray[np.uint8] = np.minimum(samples >> (depth - 8), 255).astype(np.uint8)
    return upper


def has_16_bits(payload: bytes) -> bool:
    """Whether a file is a PNG of 16 bits a colour, by its header."""
    return payload.startswith(_PNG) and payload[24:25] == b"\x10"


def read_samples(payload: bytes) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Decode a JPEG, PNG or WebP image to RGB, shape (height, width, 3), north up as served.

    It is uint16 for a PNG of 16 bits, else uint8. What is transparent is shown black, like empty
    sky. An EXIF orientation is not followed: surveys write none. Raises PayloadError when it is
    none of these formats, too large, animated or damaged.
    """
    from PIL import Image

    try:
        if payload.startswith(_JPEG):
            return _read_jpeg(payload)
        if payload.startswith(_PNG):
            check_png(payload)
        elif payload.startswith(b"RIFF") and payload[8:12] == b"WEBP":
            _refuse_large(*(check_webp(payload) or (0, 0)))
        else:
            kind = next((_OTHERS[magic] for magic in _OTHERS if payload.startswith(magic)), "")
            hint = f": it is {kind}, which may be converted to PNG" if kind else ""
            raise PayloadError(f"neither FITS nor JPEG, PNG or WebP{hint}")
        with Image.open(io.BytesIO(payload), formats=("PNG", "WEBP")) as image:
            _refuse_large(*image.size)
            if getattr(image, "n_frames", 1) > 1:
                raise PayloadError("an animation is no cutout")
            return _rgb_16(image, payload) if has_16_bits(payload) else _rgb(image)
    except PayloadError:
        raise
    except EOFError as error:
        raise PayloadError(str(error), truncated=True) from error
    except Exception as error:
        # Whatever bytes from outside make the imaging library do, it is one galaxy's fault. Some
        # of its messages hold an address in memory, another one in every process.
        reason = re.sub(" <.*>", "", str(error))
        raise PayloadError(f"undecodable image ({reason})", "truncated" in reason) from error


def _read_jpeg(payload: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    found = check_jpeg(payload)
    _refuse_large(found.width, found.height)
    with Image.open(io.BytesIO(payload), formats=("JPEG",)) as image:
        if image.size != (found.width, found.height) or getattr(image, "n_frames", 1) > 1:
            raise PayloadError("JPEG of several images")
        if found.data_end is not None:
            draw_jpeg(image, payload, found.data_end)
        return _rgb(image)


def _refuse_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PayloadError(f"image of {width}×{height} pixels is too large")


def _rgb(image: "ImageFile") -> npt.NDArray[np.uint8]:
    from PIL import Image

    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _rgb_16(image: "ImageFile", payload: bytes) -> npt.NDArray[np.uint16]:
    """All 16 bits of a PNG.

    Pillow keeps the upper 8 of colours: the lower ones are had by decoding once more, as if their
    order were the other one. Grey with transparency is taken as its four bytes.
    """
    from PIL import Image

    def raw(mode: str) -> npt.NDArray[np.uint8]:
        with Image.open(io.BytesIO(payload), formats=("PNG",)) as again:
            again.tile = [tile._replace(args=mode) for tile in again.tile]
            return np.asarray(again)

    if image.mode.startswith("I"):
        return np.repeat(np.asarray(image).astype(np.uint16)[:, :, None], 3, axis=2)
    if payload[25] == _GREY_AND_ALPHA:
        four = raw("RGBA")
        samples = (four[..., ::2].astype(np.uint32) * 256 + four[..., 1::2])[..., [0, 0, 0, 1]]
    else:
        samples = raw(f"{image.mode};16B").astype(np.uint32) * 256 + raw(f"{image.mode};16L")
    if samples.shape[2] == 4:
        samples = samples * samples[..., 3:] // 65535
    return samples[..., :3].astype(np.uint16)

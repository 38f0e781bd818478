"""Is a JPEG, PNG or WebP file whole? Pillow draws many damaged ones without a word.

What no check can see: a changed bit in the coefficients of a JPEG or lossy WebP, which hold no
checksums, and scans that are missing from a progressive JPEG that ends as it should.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

MAX_SCANS = 32
_MAX_SEGMENTS = 20_000
_PADDING = b"\0\r\n "
_MAX_FILL = 16
_MARKER = re.compile(rb"\xff{1,16}([\x01-\xfe])")
_END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BASELINE = (0xC0, 0xC1)
_EOI, _SOS = 0xD9, 0xDA
_LOOKAHEAD = b"\xff\0" * 8
"""Bits that a decoder may want to look at beyond the last of an image's own."""


@dataclass(frozen=True)
class Jpeg:
    """What the markers of a JPEG say: its size in pixels, and where the data of its only scan end.

    ``data_end`` is None when there are several scans, as in a progressive file.
    """

    width: int
    height: int
    data_end: int | None


def check_jpeg(payload: bytes) -> Jpeg:
    """Walk the markers of a JPEG from its start to its end.

    Raises EOFError when the file ends before its end marker, ValueError when it is not one whole
    JPEG, has more than `MAX_SCANS` scans, or something follows.
    """
    place, scans, frame, data_end = 2, 0, None, 0
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.match(payload, place)
        if marker is None:
            _refuse_early_end(payload, place)
            raise ValueError("JPEG marker expected")
        code, place = marker[1][0], marker.end()
        if code == _EOI:
            break
        _refuse_early_end(payload, place + 2)
        body = place + 2
        place += int.from_bytes(payload[place:body])
        _refuse_early_end(payload, place)
        if code in _FRAMES:
            if frame is not None or place < body + 6:
                raise ValueError("JPEG with two frames or a short one")
            frame = (code, *struct.unpack_from(">HH", payload, body + 1))
        if code == _SOS:
            scans += 1
            start, place = place, _end_of_scan(payload, place)
            data_end = start + len(payload[start:place].rstrip(b"\xff"))
            if place - data_end > _MAX_FILL:
                raise ValueError("JPEG with too much filling")
    else:
        raise ValueError("JPEG with too many segments")
    if frame is None or not 0 < scans <= MAX_SCANS:
        raise ValueError(f"JPEG with {scans} scans")
    if payload[place:].strip(_PADDING):
        raise ValueError("JPEG ends before the file does")
    single = scans == 1 and frame[0] in _BASELINE
    return Jpeg(frame[2], frame[1], data_end if single else None)


def _end_of_scan(payload: bytes, start: int) -> int:
    found = _END_OF_SCAN.search(payload, start)
    if found is None:
        raise EOFError("JPEG has no end marker")
    restarts = b"".join(_RESTART.findall(payload, start, found.start()))
    if any(code != 0xD0 + index % 8 for index, code in enumerate(restarts)):
        raise ValueError("JPEG with parts missing")
    return found.start()


def _refuse_early_end(payload: bytes, end: int) -> None:
    if end >= len(payload):
        raise EOFError("JPEG ends too early")


def draw_jpeg(image: Any, payload: bytes, data_end: int) -> None:
    """Decode a JPEG of one scan, and see that its pixels use up its data, no more and no less.

    Where data are missing libjpeg draws the rest grey. So it is given all but the last byte,
    with which the picture must not be complete, then that byte and some filling, with which it
    must be, and only then the rest. ``image`` is opened, not loaded; ``data_end`` is that of
    `check_jpeg`. Raises EOFError when there are fewer data than pixels, ValueError when there are
    more.
    """
    pieces = [payload[: data_end - 1], payload[data_end - 1 : data_end] + _LOOKAHEAD]
    pieces.append(payload[data_end:])
    complete: list[bool] = []

    def has_last_row() -> bool:
        # Rows are black until they are drawn.
        width, height = image.size
        return image.im.crop((0, height - 1, width, height)).getbbox() is not None

    def read(_: int) -> bytes:
        if len(pieces) < 3:
            complete.append(has_last_row())
        return pieces.pop(0) if pieces else b""

    image.load_read = read
    image.load()
    if not complete or complete[0]:
        raise ValueError("JPEG with more data than pixels")
    if len(complete) > 1 and not complete[1] and has_last_row():
        raise EOFError("JPEG data end too early")


def check_png(payload: bytes) -> None:
    """Walk the chunks of a PNG and check their checksums.

    Raises EOFError when the file ends before its last chunk, ValueError when a checksum is wrong or
    something follows.
    """
    view = memoryview(payload)
    place = 8
    for _ in range(_MAX_SEGMENTS):
        end = place + 12 + int.from_bytes(view[place : place + 4])
        if end > len(payload):
            raise EOFError("PNG ends too early")
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise ValueError("PNG with a wrong checksum")
        kind, place = payload[place + 4 : place + 8], end
        if kind == b"IEND":
            break
    else:
        raise ValueError("PNG with too many chunks")
    if payload[place:].strip(_PADDING):
        raise ValueError("PNG ends before the file does")


def check_webp(payload: bytes) -> tuple[int, int] | None:
    """Compare a WebP's length with its header's; give (width, height) of an extended file.

    Its decoder would take the memory on opening; other files have at most 16383 pixels a side.
    Raises EOFError or ValueError when the file is shorter or longer than it says.
    """
    end = 8 + int.from_bytes(payload[4:8], "little")
    if len(payload) < max(end, 30):
        raise EOFError("WebP ends too early")
    if payload[end:].strip(_PADDING):
        raise ValueError("WebP ends before the file does")
    if payload[12:16] != b"VP8X":
        return None
    width, height = (int.from_bytes(payload[at : at + 3], "little") + 1 for at in (24, 27))
    return width, height

"""Whether an image is the square that was requested, and how one that is not is made square.

A picture has as many pixels across as down. So that a round galaxy stays round, the middle of
other images is cut out, or they are padded: `square` is the only place where that is done.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import MAX_PIXELS, PayloadError
from galaxymill.decoding.place import SCALE_TOLERANCE, SQUARE_TOLERANCE

Shape = Literal["cut", "pad"]


class Frame(NamedTuple):
    """Height and width of an image in pixels, and of a pixel in arcsec where a header tells."""

    height: int
    width: int
    pixel: tuple[float, float] | None = None

    @property
    def oval(self) -> bool:
        """Whether pixels are not square on the sky, by more than 2 %."""
        low, high = sorted(self.pixel or (1, 1))
        return high - low > SQUARE_TOLERANCE * high

    def squared(self, shape: Shape) -> tuple[int, int]:
        """Give the rows and columns of a square on the sky: the largest inside, or around it."""
        up, across = self.pixel if self.pixel and self.oval else (1.0, 1.0)
        side = (max if shape == "pad" else min)(self.height * up, self.width * across)
        if side / up * side / across > MAX_PIXELS:
            size = f"{self.width}×{self.height}"
            raise PayloadError(f"image of {size} is too large when padded; choose shape: cut")
        return max(1, round(side / up)), max(1, round(side / across))


def square(
    pixels: npt.NDArray[Any],
    shape: Shape,
    pixel: tuple[float, float] | None = None,
    fill: float = 0,
) -> npt.NDArray[Any]:
    """Cut the middle out of an image, or pad it with ``fill``, so that it is square on the sky.

    ``pixels`` has the shape (height, width) or (height, width, 3), ``pixel`` is the height and
    width of one on the sky. There are as many rows as columns, unless pixels are oval: resizing
    makes these square. Where the middle lies between two pixels, the upper row and the left column
    is kept.
    """
    rows, columns = Frame(pixels.shape[0], pixels.shape[1], pixel).squared(shape)
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    kept = pixels[max(top, 0) :, max(left, 0) :][:rows, :columns]
    if kept.shape[:2] == (rows, columns):
        return kept
    padded = np.full((rows, columns, *pixels.shape[2:]), fill, pixels.dtype)
    padded[max(-top, 0) :, max(-left, 0) :][: kept.shape[0], : kept.shape[1]] = kept
    return padded


def differences(frame: Frame, shape: Shape, request: Mapping[str, Any]) -> dict[str, str]:
    """Describe by flag how an image differs from the square that was requested.

    ``request`` has ``size`` in pixels and ``pixel_scale`` in arcsec; what is null or absent is not
    compared. Nothing differs where the field is as large as requested, to 2 % or a pixel: services
    spread it over the survey's own pixels.
    """
    found: dict[str, str] = {}
    rows, columns = frame.squared(shape)
    about = f"image is {frame.width}×{frame.height}"
    if frame.oval and frame.pixel:
        up, across = frame.pixel
        found["not_square"] = f"pixels are {across:.3g}×{up:.3g} arcsec: drawn as square ones"
    elif frame.width != frame.height:
        outline = f"{columns}×{rows}"
        how = f"the middle {outline} is drawn" if shape == "cut" else f"padded to {outline}"
        found["not_square"] = f"{about}, not square: {how}"
    size, scale = request.get("size"), request.get("pixel_scale")
    own = frame.pixel and frame.pixel[1]
    if own and size and scale:
        field = size * scale
        if abs(columns * own - field) <= max(SCALE_TOLERANCE * field, own):
            return found
    if size and size != (max if shape == "pad" else min)(frame.width, frame.height):
        found["size_differs"] = f"{about}, {size} asked for"
    if own and scale and abs(own / scale - 1) > SCALE_TOLERANCE:
        found["scale_differs"] = f"pixels are {own:.4g} arcsec, {scale:.4g} asked for"
    return found

"""The exact square of one galaxy, cut out of the FITS file that an archive sends."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import is_auxiliary, read_images, unpack
from galaxymill.surveys.base import MAX_PAYLOAD_BYTES, MAX_SIZE, Target
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, cut
from galaxymill.web.answer import Answer


def cut_answer(answer: Answer, target: Target, factor: float) -> Plane | None:
    """Cut the square out of an answer.

    Parameters
    ----------
    answer : Answer
        A FITS file, also a gzipped one; of its science images the one that fills most of the
        square is cut.
    target : Target
        The galaxy.
    factor : float
        What pixels are multiplied with to get nanomaggies.

    Returns
    -------
    Plane or None
        None when no image reaches the galaxy.

    Raises
    ------
    PayloadError
        When the answer is no FITS file, or holds no image that can be used.
    """
    if not answer.payload:
        raise PayloadError("empty answer", truncated=True)
    payload = unpack(io.BytesIO(answer.payload), MAX_PAYLOAD_BYTES).read()
    return _fullest(payload, target, factor)


def _fullest(payload: bytes, target: Target, factor: float) -> Plane | None:
    best, most, fault = None, 0, None
    for header, data in _science_images(payload):
        try:
            plane = _cut_image(Mosaic(data, header, factor), target)
        except PayloadError as error:
            fault = fault or error
            continue
        filled = 0 if plane is None else int(np.isfinite(plane.data).sum())
        if plane is not None and (best is None or filled > most):
            best, most = plane, filled
    if best is None and fault is not None:
        raise fault
    return best


def _science_images(payload: bytes) -> Iterator[tuple[Any, Any]]:
    """Leave out masks, weights and variances: by their names, and integers beside real numbers."""
    images = list(read_images(payload))
    named = [image for image in images if not is_auxiliary(image[0])]
    real = [image for image in named if image[1].dtype.kind == "f"]
    if not named:
        raise PayloadError(
            "no image of two dimensions" + (" but masks and weights" if images else "")
        )
    yield from real or named


def _cut_image(mosaic: Mosaic, target: Target) -> Plane | None:
    try:
        size = mosaic.size_of(target)
        if size > MAX_SIZE:
            raise PayloadError(f"the field spans {size} pixels of {mosaic.pixel_scale:.3g} arcsec")
        return cut(mosaic, target, size)
    except PayloadError:
        raise
    except Exception as error:
        # Whatever a header from outside makes the WCS library do, it is one galaxy's fault.
        raise PayloadError(f"unusable WCS ({type(error).__name__})") from error

"""The exact square of one galaxy, cut out of the FITS file that an archive sends."""

import io
from typing import Any

import numpy as np

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import is_auxiliary, one_fault, read_images, unpack
from galaxymill.surveys.base import MAX_PAYLOAD_BYTES, MAX_SIZE, Target
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, cut


def cut_file(packed: bytes, target: Target, factor: float) -> Plane | None:
    """Cut the square around a galaxy out of a FITS file, also a gzipped one, in nanomaggies.

    Of its science images the one that fills most of the square is cut; None when no image reaches
    the galaxy. Raises PayloadError when it holds no image that can be used.
    """
    if not packed:
        raise PayloadError("empty answer", truncated=True)
    payload = unpack(io.BytesIO(packed), MAX_PAYLOAD_BYTES).read()
    planes, faults = [], []
    for header, data in _science_images(payload):
        try:
            planes.append(_cut_image(Mosaic(data, header, factor), target))
        except PayloadError as error:
            faults.append(error)
    found = [plane for plane in planes if plane is not None]
    if not found and faults:
        raise faults[0]
    return max(found, key=lambda plane: np.isfinite(plane.data).sum(), default=None)


def _science_images(payload: bytes) -> list[tuple[Any, Any]]:
    """Leave out masks, weights and variances: by their names, and integers beside real numbers."""
    images = list(read_images(payload))
    named = [image for image in images if not is_auxiliary(image[0])]
    if not named:
        others = " but masks and weights" if images else ""
        raise PayloadError(f"no image of two dimensions{others}")
    return [image for image in named if image[1].dtype.kind == "f"] or named


def _cut_image(mosaic: Mosaic, target: Target) -> Plane | None:
    with one_fault("unusable WCS"):
        size = mosaic.size_of(target)
        if size > MAX_SIZE:
            raise PayloadError(f"the field spans {size} pixels of {mosaic.pixel_scale:.3g} arcsec")
        return cut(mosaic, target, size)

"""Cutouts that keep a survey's own pixels: how many there are, and whether they are whole."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import one_fault
from galaxymill.decoding.place import SCALE_TOLERANCE
from galaxymill.settings import Names
from galaxymill.surveys.base import MAX_SIZE, ServiceSettings, Target
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, cut, stack
from galaxymill.surveys.validate import CUT_TOLERANCE_PIXELS, check_payload
from galaxymill.web.answer import Verdict


def native_scale(arcsec: float) -> Any:
    """Make the field ``pixel_scale`` of a survey with pixels of this size."""
    return Field(
        arcsec,
        description="arcsec per pixel, or 'gz_decals'; with size it gives the field, which is "
        f"spread over the survey's own pixels of {arcsec} arcsec",
    )


class NativeSettings(ServiceSettings):
    """Settings of a service whose cutouts keep the survey's pixels of ``native_pixel_scale``."""

    native_pixel_scale: ClassVar[float]
    known_bands: ClassVar[frozenset[str]]

    bands: Names = Field(("g", "r", "i"), min_length=1, description="bands, blue to red")

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        if not self.known_bands.issuperset(self.bands):
            allowed = ", ".join(sorted(self.known_bands))
            raise ValueError(f"bands {', '.join(self.bands)}: allowed are {allowed}, each once")
        if (size := self._native_size(self.size)) > MAX_SIZE:
            raise ValueError(
                f"size {self.size} at {self.pixel_scale} arcsec spans {size} of the survey's "
                f"pixels of {self.native_pixel_scale} arcsec; at most {MAX_SIZE}"
            )
        return self

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout of ``size`` pixels from above."""
        return super().payload_bytes(self._native_size(size))

    def largest(self, targets: Iterable[Target]) -> tuple[int, int]:
        """Pixels on a side, and bytes, of the largest of some cutouts."""
        size = max(self.native(target).size for target in targets)
        return size, super().payload_bytes(size)

    def native(self, target: Target) -> Target:
        """Spread the field of a target over the survey's own pixels."""
        field_arcsec = target.size * target.pixel_scale
        size = max(1, round(field_arcsec / self.native_pixel_scale))
        return replace(target, pixel_scale=self.native_pixel_scale, size=size)

    def too_large(self, target: Target) -> str:
        """The fault of a field that spans too many of the survey's own pixels; else empty."""
        size = self.native(target).size
        return "" if size <= MAX_SIZE else f"the field spans {size} pixels; at most {MAX_SIZE}"

    def _native_size(self, size: int) -> int:
        if isinstance(self.pixel_scale, str):
            return size
        return round(size * self.pixel_scale / self.native_pixel_scale)


def cut_native(mosaic: Mosaic, native: Target) -> Plane | None:
    """Cut the square around a target out of one band; PayloadError when its WCS does not fit."""
    with one_fault("unusable WCS"):
        scale = mosaic.pixel_scale
        plane = cut(mosaic, native, native.size)
    if not abs(scale / native.pixel_scale - 1) <= SCALE_TOLERANCE:
        raise PayloadError(f"pixel scale is {scale:.4g} arcsec, not {native.pixel_scale:.4g}")
    return plane


def assemble(
    planes: Mapping[str, Plane], bands: tuple[str, ...], target: Target
) -> tuple[bytes, Verdict]:
    """Write the planes of one galaxy, one at least, as a FITS cutout, and check it.

    It is ``partial`` also when the survey's image ends inside the square.
    """
    payload = stack(planes, bands)
    verdict = check_payload(payload, target, bands, CUT_TOLERANCE_PIXELS, max_holes=1)
    ending = [band for band in bands if band in planes and _ends_inside(planes[band])]
    if verdict.status == "ok" and ending:
        return payload, Verdict("partial", f"band {', '.join(ending)} ends inside the square")
    return payload, verdict


def _ends_inside(plane: Plane) -> bool:
    """Whether a border of the square is empty: images are padded by NaN or by zeros."""
    filled = np.isfinite(plane.data) & (plane.data != 0)
    borders = (filled[0], filled[-1], filled[:, 0], filled[:, -1])
    return not (plane.whole and all(border.any() for border in borders))

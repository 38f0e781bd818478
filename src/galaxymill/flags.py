"""Quality flags: one registry of bits, used by images, predictions and releases."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from galaxymill.settings import Names


@dataclass(frozen=True)
class Flag:
    """One quality bit: a power of two in the ``flags`` column, its name in configs, its meaning."""

    bit: int
    name: str
    description: str


FLAGS = (
    Flag(1, "no_coverage", "no image is there: outside the survey's footprint, or no such file"),
    Flag(2, "fetch_failed", "the cutout could not be had after all tries"),
    Flag(4, "invalid_payload", "what the service sent is not the image that was asked for"),
    Flag(8, "truncated", "the file ends before its data do"),
    Flag(16, "band_missing", "a band that the recipe needs is absent"),
    Flag(32, "band_empty", "a band is zero or not finite everywhere"),
    Flag(64, "zero_or_nan_above_20pc", "more than 20 % of a band are zero or not finite"),
    Flag(128, "constant", "every pixel of the image has the same value"),
    Flag(256, "domain_shift", "predicted by a model trained on another survey or recipe"),
    Flag(512, "zero_or_nan_above_15pc", "more than 15 % of a band are zero or not finite"),
    Flag(1024, "no_data", "all bands are zero or not finite everywhere"),
    Flag(2048, "saturated", "more than 1 % of the image are white"),
    Flag(4096, "off_centre", "the galaxy is off the middle by over 5 % of the image's width"),
    Flag(8192, "low_signal", "the middle is less than 5 times brighter than the noise"),
    Flag(16384, "unreadable", "the rendered image could not be decoded for prediction"),
    Flag(32768, "not_square", "the image was not square: its middle is drawn, or it is padded"),
    Flag(65536, "size_differs", "the image has another size than was asked for"),
    Flag(131072, "scale_differs", "the image has another pixel scale than was asked for"),
    Flag(262144, "dark", "the image is nearly black, white or of one shade all over"),
    Flag(524288, "no_features", "the embedding gives no features: not finite, too large, or zero"),
    Flag(1048576, "lower_limit", "too small or faint for an answer: its fraction is a lower limit"),
)
BITS = {flag.name: flag.bit for flag in FLAGS}


def mask(names: Iterable[str]) -> int:
    """Combine flags by name into one integer."""
    return sum(BITS[name] for name in set(names))


def names(bits: int) -> list[str]:
    """List the names of the flags set in ``bits``."""
    return [flag.name for flag in FLAGS if bits & flag.bit]


UNFIT = (
    "no_coverage",
    "fetch_failed",
    "invalid_payload",
    "truncated",
    "band_missing",
    "band_empty",
    "zero_or_nan_above_20pc",
    "constant",
    "no_data",
    "dark",
)
"""Unless a config says otherwise, an image with any of these is neither learned from nor predicted.

20 % is what Galaxy Zoo DECaLS allowed (Walmsley+22); Galaxy Zoo Euclid allowed 15 %.
"""


_WITHOUT_IMAGE = ("no_coverage", "fetch_failed", "invalid_payload", "unreadable")


def unfit_bits(chosen: Iterable[str]) -> int:
    """Bits of images that are not to be used: those chosen, and those of galaxies without one."""
    return mask([*chosen, *_WITHOUT_IMAGE])


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in BITS:
            raise ValueError(f"unknown flag {name!r}; allowed: {', '.join(BITS)}")
    return names


FlagNames = Annotated[Names, AfterValidator(_check_names)]
"""Flags by name, in a config."""

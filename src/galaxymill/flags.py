"""Quality flags: one registry of bits, used by images, predictions and releases."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One quality bit.

    Attributes
    ----------
    bit : int
        Its value in the ``flags`` column, a power of two.
    name : str
        As in configs and documents.
    description : str
        What a set bit says.
    """

    bit: int
    name: str
    description: str


FLAGS = (
    Flag(1, "no_coverage", "the position is outside the survey's footprint"),
    Flag(2, "fetch_failed", "the cutout could not be had after all tries"),
    Flag(4, "invalid_payload", "what the service sent is not the image that was asked for"),
    Flag(8, "truncated", "the file ends before its data do"),
    Flag(16, "band_missing", "a band that the recipe needs is absent"),
    Flag(32, "band_empty", "a band is zero or not finite everywhere"),
    Flag(64, "bad_pixels", "more than 20 % of the worst band's pixels are zero or not finite"),
    Flag(128, "constant", "every pixel of the image has the same value"),
    Flag(256, "domain_shift", "predicted by a model trained on another survey or recipe"),
)
BITS = {flag.name: flag.bit for flag in FLAGS}


def mask(names: Iterable[str]) -> int:
    """Combine flags by name into one integer."""
    bits = 0
    for name in names:
        bits |= BITS[name]
    return bits


def names(bits: int) -> list[str]:
    """List the names of the flags set in ``bits``."""
    return [flag.name for flag in FLAGS if bits & flag.bit]


UNFIT = mask(name for name in BITS if name != "domain_shift")
"""An image with any of these is neither learned from nor predicted."""

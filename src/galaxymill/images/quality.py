"""How good an image is: numbers measured on it, and the flags that follow from them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill import flags

SATURATED_FRACTION = 0.01
LOW_SIGNAL = 5.0
OFF_CENTRE = 0.05
DARK, DARK_OF_16_BITS = 16, 64
_DARK_SHARE = 2000
"""So many values, of the darkest and of the brightest each, may be outside: stars, dead pixels."""
_BAD_FRACTIONS = {"zero_or_nan_above_15pc": 0.15, "zero_or_nan_above_20pc": 0.20}
_SAMPLED = 64
_MIDDLE = 8
_MAD_TO_SIGMA = 1.4826

Plane = npt.NDArray[np.float32]


def flux_quality(planes: Mapping[str, Plane], bands: Iterable[str]) -> dict[str, Any]:
    """Judge the fluxes by band, shape (height, width), of which ``bands`` are drawn.

    Gives columns of `galaxymill.products.IMAGES`: ``flags``; ``bad_pixel_fraction``, the share of
    zero or not finite pixels in the worst band; ``peak_snr`` of the best; and ``reason``, which
    names the bands of which too much is bad.
    """
    wanted = set(bands)
    present = {band: planes[band] for band in sorted(wanted) if band in planes}
    bad = {band: _bad_fraction(plane) for band, plane in present.items()}
    worst = max(bad.values(), default=1.0)
    measured = [peak_snr(plane) for plane in present.values()]
    snr = max((value for value in measured if value is not None), default=None)
    found = {
        "band_missing": len(present) < len(wanted),
        "band_empty": any(share == 1 for share in bad.values()),
        "no_data": all(share == 1 for share in bad.values()),
        "low_signal": snr is not None and snr < LOW_SIGNAL,
        **{name: worst > limit for name, limit in _BAD_FRACTIONS.items()},
    }
    bits = flags.mask(name for name, is_so in found.items() if is_so)
    limit = min(_BAD_FRACTIONS.values())
    told = ", ".join(f"{bad[band]:.0%} of band {band}" for band in bad if bad[band] > limit)
    reason = f"zero or not finite: {told}" if told else ""
    return {"flags": bits, "reason": reason, "bad_pixel_fraction": worst, "peak_snr": snr}


def _bad_fraction(plane: Plane) -> float:
    good = np.isfinite(plane)
    good &= plane != 0
    return (plane.size - np.count_nonzero(good)) / plane.size


def peak_snr(plane: Plane) -> float | None:
    """Signal-to-noise ratio of the brightest 3×3 pixels in the middle eighth of a plane.

    The noise is that of single pixels, 1.4826 times the median absolute deviation from the
    median over a grid of some 64×64 pixels, divided by 3; None where there is none to compare with.
    Fluxes that are not finite count as nothing.
    """
    step = max(1, min(plane.shape) // _SAMPLED)
    sample = plane[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return None
    level = np.median(sample)
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(sample - level))) / 3
    if noise == 0:
        return None
    middle = np.nan_to_num(_middle(plane) - level, nan=0.0, posinf=0.0, neginf=0.0)
    box = (min(3, middle.shape[0]), min(3, middle.shape[1]))
    boxes = np.lib.stride_tricks.sliding_window_view(middle, box).mean(axis=(2, 3))
    return max(float(boxes.max()), 0.0) / noise


def _middle(plane: Plane) -> Plane:
    """Cut the middle eighth of a plane out, 3×3 pixels where there are so many."""
    rows, columns = (
        slice(max(0, side // 2 - reach), side // 2 + reach + 1)
        for side in plane.shape
        for reach in [max(1, side // (2 * _MIDDLE))]
    )
    return plane[rows, columns]


def saturated_fraction(colour: npt.NDArray[np.uint8]) -> float:
    """Share of the pixels that are white: as bright as can be in every colour."""
    white = colour[..., 0] & colour[..., 1] & colour[..., 2]
    return float(np.count_nonzero(white == 255)) / white.size


def darkness(colour: npt.NDArray[np.uint8], depth: int = 0) -> str:
    """Describe a picture that is black, white or of one shade nearly all over; empty for others.

    It is so when in each colour all values but 1 in 1,000 lie within 16 of 255; or within 64 where
    all 16 bits of a picture are shown, whose upper bits may not be used. ``depth`` is 0, or of a
    picture of 16 bits those that its data fill by the settings.
    """
    limit = DARK_OF_16_BITS if depth == 16 else DARK
    # Of most pictures a sixteenth of the pixels tells as much.
    for pixels in (colour[::4, ::4], colour):
        spans = [_span(pixels[..., index]) for index in range(3)]
        if max(high - low for low, high in spans) >= limit:
            return ""
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    shade = "black" if high < limit else "white" if low > 255 - limit else "of one shade"
    message = f"nearly {shade} all over: its values lie between {low} and {high} of 255"
    if not depth or shade == "white":
        return message
    filled = max(8, depth - 8 + high.bit_length())
    return (
        f"{message}; its data fill {filled} of 16 bits: set depth to the bits that the survey's "
        "pictures fill"
    )


def _span(plane: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Darkest and brightest value, without a few outliers."""
    few = plane.size // _DARK_SHARE
    below = np.bincount(plane.ravel(), minlength=256).cumsum()
    darkest, brightest = np.searchsorted(below, [few + 1, plane.size - few]).tolist()
    return darkest, brightest


def picture_flags(colour: npt.NDArray[np.uint8], saturated: float) -> int:
    """Judge a picture, shape (height, width, 3), as it is drawn."""
    found = {
        "saturated": saturated > SATURATED_FRACTION,
        "constant": colour.min() == colour.max(),
    }
    return flags.mask(name for name, is_so in found.items() if is_so)

"""How values become the bytes that a browser can count within milliseconds.

A value's code is the number of thresholds below it plus the number at or below it, so that
``value >= threshold[k]`` is ``code >= 2k + 1`` and ``value <= threshold[k]`` is
``code <= 2k + 1``: both exact, for every threshold.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
Codes = npt.NDArray[np.unsignedinteger[Any]]

UNKNOWN = {1: 255, 2: 65535}
"""Code of a value that is null, by the width of the code in bytes."""
PLACES = 65534
"""Highest code of a coordinate."""
GRID = 512
"""Cells across and up of a map's density as a whole."""
BINS = 64
"""Of the histogram beside a slider."""
_FEWEST_STEPS = 400
_OUTLIERS = 0.1
"""Percent of the values beyond the lowest and the highest threshold of numbers."""
SAMPLE = 1_000_000
"""Galaxies by which a column's range is judged, at most."""
ALIKE = 32
"""Components that likeness is judged by in the page."""
_FULL = 4.0
"""Deviations at which a component's byte is full."""


@dataclass(frozen=True)
class Steps:
    """Thresholds ``(first + step · k) / 10^decimals`` for k below ``count``.

    They are whole numbers divided by powers of ten, which Python and JavaScript round alike.
    """

    first: int
    step: int
    decimals: int
    count: int

    def thresholds(self, kind: Any) -> Values:
        """All thresholds, shape (count,), in the precision of a column."""
        whole = self.first + self.step * np.arange(self.count, dtype=np.float64)
        scale = 10.0 ** abs(self.decimals)
        exact = whole / scale if self.decimals >= 0 else whole * scale
        return exact.astype(kind)

    def codes(self, values: Values, width: int) -> Codes:
        """Code values, shape (n,), NaN where unknown, in ``width`` bytes (1 or 2)."""
        kind = values.dtype if values.dtype.kind == "f" else np.float64
        limits, values = self.thresholds(kind), values.astype(kind, copy=False)
        codes = np.searchsorted(limits, values, "left") + np.searchsorted(limits, values, "right")
        codes[np.isnan(values)] = UNKNOWN[width]
        return codes.astype(f"<u{width}")

    def to_dict(self) -> dict[str, int]:
        """Plain form, for the page."""
        return asdict(self)


SHARES = Steps(0, 1, 2, 101)
"""Fractions and probabilities: in hundredths, a byte each."""


def steps_of(values: Values) -> Steps:
    """Choose round thresholds, 400 to 1000 of them, for numbers whose range nobody said.

    ``values`` has shape (n,), NaN where unknown; one value in a thousand may lie beyond each end.
    """
    some = values[:: max(len(values) // SAMPLE, 1)].astype(np.float64)
    some = some[np.isfinite(some)]
    if not len(some):
        return SHARES
    low, high = np.percentile(some, [_OUTLIERS, 100 - _OUTLIERS]).tolist()
    span = max(high - low, abs(low) / 1e6, abs(high) / 1e6, 1e-30)
    power = math.floor(math.log10(span / _FEWEST_STEPS))
    unit = next((one for one in (5, 2) if one * 10.0**power * _FEWEST_STEPS <= span), 1)
    if values.dtype.kind != "f" and power < 0:
        power, unit = 0, 1
    size = unit * 10.0**power
    first, last = math.floor(low / size), math.ceil(high / size)
    return Steps(first * unit, unit, -power, last - first + 1)


def histogram(codes: Codes, highest: int) -> list[int]:
    """Count the known codes of 0 to ``highest`` in ``BINS`` bins."""
    known = codes[codes <= highest].astype(np.int64)
    return np.bincount(known * BINS // (highest + 1), minlength=BINS).tolist()  # type: ignore[no-any-return]


def place_codes(values: Values) -> Codes:
    """Code coordinates of 0 to 1, shape (n,), in two bytes."""
    known = np.isfinite(values)
    codes = np.full(len(values), UNKNOWN[2], "<u2")
    codes[known] = np.rint(np.clip(values[known], 0, 1) * PLACES)
    return codes


def density(across: Codes, up: Codes, edges: tuple[int, int, int, int]) -> tuple[Codes, int]:
    """Count galaxies on a grid between ``edges`` (left, right, low, high; known places only).

    Returns
    -------
    codes : ndarray, shape (GRID, GRID), uint8
        From the lowest row: 255 · log(1 + n) / log(1 + most), rounded up.
    most : int
        Galaxies in the fullest cell.
    """
    left, right, low, high = edges
    counts = np.zeros(GRID * GRID, np.int64)
    for start in range(0, len(across), SAMPLE):
        some = slice(start, start + SAMPLE)
        known = across[some] <= PLACES
        cells = [
            (axis[some][known].astype(np.int64) - first) * GRID // (last - first + 1)
            for axis, first, last in ((up, low, high), (across, left, right))
        ]
        counts += np.bincount(cells[0] * GRID + cells[1], minlength=GRID * GRID)
    most = int(counts.max())
    codes = np.ceil(255 * (np.log1p(counts) / np.log1p(max(most, 1))))
    return codes.astype(np.uint8).reshape(GRID, GRID), most


def mollweide(ra: Values, dec: Values) -> tuple[Values, Values]:
    """Project positions in degrees, shape (n,), on a map of 2 to 1, both axes from 0 to 1.

    RA 180° is in the middle and grows to the left, as on the sky (Snyder 1987, Map Projections,
    p. 249: 2θ + sin 2θ = π sin φ, by Newton's method).
    """
    sine = np.pi * np.sin(np.radians(dec))
    angle = 2 * np.arcsin(np.clip(2 * np.radians(dec) / np.pi, -1, 1))
    for _ in range(20):
        slope = np.maximum(1 + np.cos(angle), 1e-9)
        angle = np.clip(angle - (angle + np.sin(angle) - sine) / slope, -np.pi, np.pi)
    across = (180 - ra % 360) / 180 * np.cos(angle / 2)
    return (across + 1) / 2, (np.sin(angle / 2) + 1) / 2


def directions(features: Values) -> npt.NDArray[np.float16]:
    """Scale features, shape (n, c), to length 1; give the first ``ALIKE``, NaN where unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(unit[:, :ALIKE], np.float16)


def direction_codes(unit: Values, worth: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Code directions, shape (n, c), in a byte each, of so much ``worth``; -128 where unknown."""
    values = unit.astype(np.float32)
    steps = np.clip(np.rint(np.nan_to_num(values) / worth), -127, 127)
    codes: npt.NDArray[np.int8] = steps.astype(np.int8)
    codes[np.isnan(values).any(axis=1)] = -128
    return codes


def worth_of(unit: Values) -> npt.NDArray[np.float32]:
    """Choose what one step of each component's byte is worth, shape (c,), by some directions."""
    some = unit[np.isfinite(unit).all(axis=1)].astype(np.float32)
    spread = np.sqrt((some**2).sum(axis=0) / max(len(some), 1))
    return np.asarray(np.maximum(_FULL * spread, 1e-6) / 127, np.float32)


def morton(across: Codes, up: Codes) -> npt.NDArray[np.uint32]:
    """Interleave the bits of coordinates: galaxies near on a map are near in this order."""
    key = np.zeros(len(across), np.uint32)
    for place, axis in enumerate((across, up)):
        spread = axis.astype(np.uint32)
        for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
            spread = (spread | (spread << np.uint32(shift))) & np.uint32(mask)
        key |= spread << np.uint32(place)
    return key

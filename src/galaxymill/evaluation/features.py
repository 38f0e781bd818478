"""Hand-made features of a picture: what a network has to beat.

The pictures are stretched to 8 bits, so "light" here is displayed brightness, not flux; the
indices keep their published definitions but not their published ranges.

References
----------
Conselice 2003, ApJS 147, 1 (concentration, asymmetry, smoothness); Lotz, Primack & Madau 2004,
AJ 128, 163 (Gini, M20).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MAX_SIDE = 96
"""Larger pictures are binned down to at most twice this side: shapes need no more pixels."""

PROFILE_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Annuli of the radial profile, in half-light radii."""

_SLOPE_EDGES = np.linspace(0.2, 2.0, 10)
_FAINTEST = 0.02  # of full white: below this, rounding to 8 bits and JPEG make the structure

FEATURE_NAMES = (
    *("concentration", "asymmetry", "smoothness", "gini", "m20"),
    *("ellipticity", "size", "area", "brightness", "peak_ratio"),
    *("r_minus_g", "g_minus_b", "profile_slope"),
    *(f"profile_{inner:g}_{outer:g}" for inner, outer in pairwise(PROFILE_EDGES)),
)


@dataclass(frozen=True)
class _Segment:
    """The central object: light without background or neighbours, and where it stands."""

    colour: Values  # (h, w, 3), background-subtracted
    light: Values  # (h, w), zero outside the mask, never negative
    mask: Mask
    centre: tuple[float, float]
    radius: Values  # (h, w), pixels from the centre
    r20: float
    r50: float
    r80: float


def image_features(rgb: npt.NDArray[np.uint8]) -> Values:
    """Measure one picture.

    Parameters
    ----------
    rgb : ndarray, shape (h, w, 3), uint8
        The galaxy in the middle.

    Returns
    -------
    ndarray, shape (n_features,), float64
        In the order of ``FEATURE_NAMES``; finite for any picture, and all zero when nothing
        stands out from the background (a constant picture, say).
    """
    segment = _central_object(_bin_down(rgb))
    if segment is None:
        return np.zeros(len(FEATURE_NAMES))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [
            5 * np.log10(segment.r80 / segment.r20),  # Conselice 2003
            _asymmetry(segment),
            _smoothness(segment),
            _gini(segment.light[segment.mask]),
            _m20(segment),
            *_shape(segment),
            *_brightness(segment),
            *_colours(segment),
            _profile_slope(segment),
            *_profile(segment),
        ]
    # An object of one pixel has no radii or moments: such features say nothing, hence zero.
    finite = np.nan_to_num(np.array(values), posinf=0, neginf=0)
    return np.asarray(np.clip(finite, -100, 100))


def _bin_down(rgb: npt.NDArray[np.uint8]) -> Values:
    """Average blocks of pixels; brightness from 0 to 1."""
    factor = max(min(rgb.shape[:2]) // MAX_SIDE, 1)
    height, width = (side // factor for side in rgb.shape[:2])
    blocks = rgb[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.asarray(blocks.mean(axis=(1, 3)) / 255)


def _central_object(colour: Values) -> _Segment | None:
    """Subtract the background and cut out the object in the middle; None when it has no light."""
    frame = _frame(colour.shape[:2])
    colour = colour - np.median(colour[frame], axis=0)
    brightness = colour.mean(axis=2)
    mask = _segmentation(brightness, frame)
    light = np.where(mask, np.maximum(brightness, 0), 0)
    if light.sum() <= 0:
        return None
    y, x = ndimage.center_of_mass(light)
    rows, columns = np.indices(light.shape)
    radius = np.hypot(rows - y, columns - x)
    r20, r50, r80 = _light_radii(radius, light)
    return _Segment(colour, light, mask, (y, x), radius, r20, r50, r80)


def _frame(shape: tuple[int, ...]) -> Mask:
    """Outermost pixels, a sixteenth of the side wide: mostly sky."""
    width = max(min(shape) // 16, 1)
    frame = np.ones(shape, dtype=np.bool_)
    frame[width:-width, width:-width] = False
    return frame


def _segmentation(brightness: Values, frame: Mask) -> Mask:
    """Connected pixels 3σ above the sky around the brightest spot near the middle."""
    side = min(brightness.shape)
    smooth = ndimage.gaussian_filter(brightness, side / 64)
    noise = 1.4826 * np.median(np.abs(smooth[frame] - np.median(smooth[frame])))
    rows, columns = np.indices(brightness.shape)
    middle = [(length - 1) / 2 for length in brightness.shape]
    central = np.hypot(rows - middle[0], columns - middle[1]) <= side / 8
    labels, _ = ndimage.label(smooth > max(3 * noise, _FAINTEST))
    seed = np.argmax(np.where(central, smooth, -np.inf))
    label = labels.flat[seed]
    return np.asarray(labels == label if label else central)


def _light_radii(radius: Values, light: Values) -> tuple[float, float, float]:
    """Radii (pixels) of circles that hold 20, 50 and 80 % of the light."""
    order = np.argsort(radius, axis=None)
    growth = np.cumsum(light.flat[order])
    within = np.interp(np.array([0.2, 0.5, 0.8]) * growth[-1], growth, radius.flat[order])
    r20, r50, r80 = np.maximum(within, 0.5)  # half a pixel: below it nothing is resolved
    return float(r20), float(r50), float(r80)


def _asymmetry(segment: _Segment) -> float:
    """Conselice 2003, halved to stay within 0 and 1, without the noise term."""
    shift = [
        2 * round(middle) - (side - 1)
        for middle, side in zip(segment.centre, segment.light.shape, strict=True)
    ]
    turned = np.roll(segment.light[::-1, ::-1], shift, axis=(0, 1))
    return float(np.abs(segment.light - turned).sum() / (2 * segment.light.sum()))


def _smoothness(segment: _Segment) -> float:
    """Conselice 2003: light in structure finer than r80 / 4, the core left out."""
    scale = 0.25 * segment.r80
    fine = segment.light - ndimage.uniform_filter(segment.light, max(3, round(scale)))
    outside_core = segment.mask & (segment.radius > scale)
    return float(np.maximum(fine[outside_core], 0).sum() / segment.light.sum())


def _gini(light: Values) -> float:
    """Lotz+04, eq. 6: 0 when all pixels are equally bright, 1 when one has all the light."""
    n = light.size
    if n < 2:
        return 0.0
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float((ranks * np.sort(light)).sum() / (light.mean() * n * (n - 1)))


def _m20(segment: _Segment) -> float:
    """Lotz+04, eq. 8: share of the brightest 20 % of the light in the second moment, log10."""
    light = segment.light[segment.mask]
    moment = light * segment.radius[segment.mask] ** 2
    order = np.argsort(-light, kind="stable")
    brightest = np.cumsum(light[order]) <= 0.2 * light.sum()
    return float(np.log10(moment[order][brightest].sum() / moment.sum()))


def _shape(segment: _Segment) -> tuple[float, float, float]:
    """Ellipticity (a²−b²)/(a²+b²), rms size and area, the last two relative to the picture."""
    share = segment.light / segment.light.sum()
    rows, columns = np.indices(share.shape)
    dy, dx = rows - segment.centre[0], columns - segment.centre[1]
    yy, xx, xy = ((share * product).sum() for product in (dy * dy, dx * dx, dx * dy))
    # Bartelmann & Schneider 2001, eq. 4.4
    ellipticity = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    size = np.sqrt(xx + yy) / min(share.shape)
    return float(ellipticity), float(size), float(segment.mask.mean())


def _brightness(segment: _Segment) -> tuple[float, float]:
    """Mean brightness, and the peak's relative to it."""
    mean = segment.light[segment.mask].mean()
    return float(mean), float(segment.light.max() / mean)


def _colours(segment: _Segment) -> tuple[float, float]:
    """Mean r−g and g−b inside, relative to the mean brightness."""
    red, green, blue = segment.colour[segment.mask].mean(axis=0)
    mean = segment.light[segment.mask].mean()
    return float((red - green) / mean), float((green - blue) / mean)


def _annuli(segment: _Segment, edges: Values) -> Values:
    """Mean light between radii given in half-light radii; NaN where no pixel lies."""
    bins = np.digitize(segment.radius / segment.r50, edges).ravel()
    length = len(edges) + 1
    light = np.bincount(bins, segment.light.ravel(), length)
    return np.asarray((light / np.bincount(bins, minlength=length))[1:-1])


def _profile(segment: _Segment) -> list[float]:
    """Mean light of each annulus relative to the object's."""
    mean = segment.light[segment.mask].mean()
    return [float(value) for value in _annuli(segment, np.array(PROFILE_EDGES)) / mean]


def _profile_slope(segment: _Segment) -> float:
    """Slope of ln(light) against (r / r50)^¼: −7.67 for de Vaucouleurs' law on a linear scale."""
    profile = _annuli(segment, _SLOPE_EDGES)
    root = ((_SLOPE_EDGES[:-1] + _SLOPE_EDGES[1:]) / 2) ** 0.25
    bright = np.isfinite(profile) & (profile > 0)
    if bright.sum() < 3:
        return 0.0
    return float(np.polyfit(root[bright], np.log(profile[bright]), 1)[0])

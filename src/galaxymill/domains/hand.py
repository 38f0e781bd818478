"""Hand features of a picture: its sky, and the light, size, shape and colours of its galaxy."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from galaxymill.images.quality import saturated_fraction

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

COLOURS = ("red", "green", "blue")
_FRAME = 8
"""The sky is what lies within this part of the side from the edge."""
_MAD_TO_SIGMA = 1.4826
_CLIP = 3.0
_SHADE = 1 / 255
"""Pictures know no smaller difference."""
_OF_GALAXY = (
    *("peak", "half-light radius", "concentration", "asymmetry"),
    *("clumpiness", "axis ratio", "Gini"),
)


def hand_features(picture: Picture) -> dict[str, float]:
    """Measure a picture (side, side, 3) with the galaxy in the middle; brightness is 0 to 1.

    Radii are shares of the side. Concentration is 5 log10(r80 / r20) of the growth curve, and
    asymmetry half of the light that half a turn moves, as a share, less what noise alone would move
    (Conselice 2003, but about the picture's middle); the Gini coefficient is that of Lotz+2004,
    eq. 6; clumpiness is the light above the image's own running mean. All are finite for any
    picture.
    """
    light = picture / 255.0
    found: dict[str, float] = {}
    for colour, plane in zip(COLOURS, np.moveaxis(light, 2, 0), strict=True):
        sky, noise, correlation = measure_sky(plane)
        found |= {
            f"sky, {colour}": sky,
            f"sky noise, {colour}": noise,
            f"noise correlation, {colour}": correlation,
        }
    skies = [found[f"sky, {colour}"] for colour in COLOURS]
    grey = (light - skies).mean(axis=2)
    _, noise, _ = measure_sky(grey)
    found |= _galaxy(grey, noise) | {"white pixels": saturated_fraction(picture)}
    inside = _distance(len(grey)) <= max(found["half-light radius"], 1 / len(grey))
    red, green, blue = (light - skies)[inside].mean(axis=0)
    return found | {"red − green": float(red - green), "green − blue": float(green - blue)}


def measure_sky(plane: Floats) -> tuple[float, float, float]:
    """Level, standard deviation and correlation of neighbours (lag 1) of a plane's frame.

    Pixels beyond 3 sigma of the median, of which the median absolute deviation tells, are left out.
    """
    depth = max(len(plane) // _FRAME, 2)
    sky = np.ones(plane.shape, np.bool_)
    sky[depth:-depth, depth:-depth] = False
    level = float(np.median(plane[sky]))
    rest = plane - level
    width = _CLIP * max(_MAD_TO_SIGMA * float(np.median(np.abs(rest[sky]))), _SHADE)
    sky &= np.abs(rest) <= width
    rest -= rest[sky].mean()
    noise = float(rest[sky].std())
    if noise == 0:
        return level, 0.0, 0.0
    products = []
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        both = sky[one] & sky[other]
        products.append((rest[one] * rest[other])[both])
    return level, noise, float(np.concatenate(products).mean() / noise**2)


def _galaxy(grey: Floats, noise: float) -> dict[str, float]:
    """Light, size and shape of what stands in the middle, above the sky."""
    away = _distance(len(grey))
    order = np.argsort(away, axis=None, kind="stable")
    circle = order[: int(np.count_nonzero(away <= 0.5))]
    growth = np.maximum.accumulate(np.cumsum(grey.flat[circle]))
    total = growth[-1]
    if total <= 0:
        return dict.fromkeys(_OF_GALAXY, 0.0)
    r20, r50, r80 = (
        float(away.flat[circle[np.searchsorted(growth, share * total)]])
        for share in (0.2, 0.5, 0.8)
    )
    inside = away <= max(r80, 2 / len(grey))
    pixels = grey[inside]
    brightness = np.abs(pixels).sum()
    turned = np.abs(grey - grey[::-1, ::-1])[inside].sum()
    # Of two pixels of noise the difference is 2 sigma / sqrt(pi) on average.
    asymmetry = (turned - 2 * noise / np.sqrt(np.pi) * pixels.size) / (2 * brightness)
    fine = grey - uniform_filter(grey, max(3, round(r20 * len(grey))))
    values = (
        uniform_filter(grey, 3)[inside].max(),
        r50,
        5 * np.log10(max(r80, 1e-3) / max(r20, 1e-3)),
        asymmetry,
        np.maximum(fine, 0)[inside].sum() / brightness,
        _axis_ratio(grey, inside),
        _gini(np.abs(pixels)),
    )
    return dict(zip(_OF_GALAXY, map(float, values), strict=True))


def _axis_ratio(grey: Floats, inside: npt.NDArray[np.bool_]) -> float:
    """Square root of the ratio of the second moments along the two main axes."""
    y, x = np.nonzero(inside)
    weights = np.maximum(grey[inside], 0) + 1e-9
    small, large = np.linalg.eigvalsh(np.cov(x, y, aweights=weights))
    return float(np.sqrt(max(small, 0) / max(large, 1e-9)))


def _gini(values: Floats) -> float:
    ranked = np.sort(values)
    n, total = len(ranked), ranked.sum()
    if n < 2 or total == 0:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * ranked).sum() / (total * (n - 1)))


@lru_cache(maxsize=4)
def _distance(side: int) -> Floats:
    """Distance of each pixel from the middle, in units of the side."""
    steps = (np.arange(side) - (side - 1) / 2) / side
    return np.hypot(*np.meshgrid(steps, steps))

"""The formulas that turn fluxes into colours; planes lie as they are to be seen.

They are plain numpy in single precision, a strip of rows at a time, so that what is worked on
stays in the processor's cache: three times as fast as on whole planes, and six times as fast as
the same loop compiled by numba, which has no vector asinh.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from galaxymill.images.settings import (
    AsinhSettings,
    DecalsSettings,
    FluxSettings,
    LuptonSettings,
    RecipeSettings,
)

Floats = npt.NDArray[np.float32]
Planes = Mapping[str, Floats]
Rgb = npt.NDArray[np.uint8]

_STRIP_PIXELS = 1 << 15
_MOST_FLUX = np.float32(1e15)
"""Brighter is nothing; beyond, single precision would overflow."""
_F = np.float32


def decals(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour as in Galaxy Zoo DECaLS ("dr2 style", Walmsley+22), with desaturation.

    ``x = (asinh(v) − asinh(−0.5)) / (asinh(300) − asinh(−0.5))`` with ``v = flux / scale`` and
    scales 0.008, 0.014, 0.019 for blue, green, red; then pixels of one strong colour are drawn
    towards their mean over the colours, ``a``: ``w = sin(π/2 · (1 − min(1, max x/a / 2.5)))``,
    ``x ← x·w + a(1 − w) + a(1 − w)²·x``.

    Parameters
    ----------
    planes : mapping of str to ndarray, shape (height, width)
        Fluxes in nanomaggies, the first row at the top.
    settings : DecalsSettings

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
    """
    assert isinstance(settings, DecalsSettings)
    low, high = np.arcsinh(-0.5), np.arcsinh(300.0)
    gain, offset = _F(1 / (high - low)), _F(-low / (high - low))
    scales = np.array([0.019, 0.014, 0.008], np.float32)[:, None, None]

    def stretch(flux: Floats) -> Floats:
        flux /= scales
        colour = np.arcsinh(flux, out=flux)
        colour *= gain
        colour += offset
        return _desaturate(colour)

    return _by_strips(planes, settings, stretch)


def _desaturate(colour: Floats) -> Floats:
    mean = colour.mean(axis=0)
    mean[mean == 0] = 1
    # The greatest of x/a: where a is negative, that of the least x.
    share = np.where(mean > 0, colour.max(axis=0), colour.min(axis=0))
    share /= mean
    share *= _F(1 / 2.5)
    np.minimum(share, 1, out=share)
    weight = np.sin(_F(np.pi / 2) * (1 - share))
    rest = 1 - weight
    mean *= rest
    # x·w + a(1 − w)·(1 + (1 − w)·x)
    colour *= weight + mean * rest
    colour += mean
    np.clip(colour, 0, 1, out=colour)
    colour *= 255
    return colour


def lupton(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour by Lupton+04 (PASP 116, 133), as `astropy.visualization.make_lupton_rgb` does.

    With the mean over the colours ``I``: ``x = flux · asinh(Q·I/stretch) · s / I``, where ``s``
    makes the slope at a tenth of the stretch 1; negative colours are black, and a pixel with a
    colour above 255 is dimmed to 255 in that colour, so that it keeps its hue.

    Parameters and result as in `decals`.
    """
    assert isinstance(settings, LuptonSettings)
    # As astropy: q below its resolution is 0.1, and above 1e10 no more than that.
    q = 0.1 if settings.q < 2**-23 else min(settings.q, 1e10)
    slope, soften = _F(0.1 * 255 / np.arcsinh(0.1 * q)), _F(q / settings.stretch)
    minimum = _F(settings.minimum)

    def stretch(flux: Floats) -> Floats:
        flux -= minimum
        intensity = flux.mean(axis=0)
        factor = np.arcsinh(intensity * soften)
        factor *= slope
        factor /= intensity
        factor[intensity <= 0] = 0
        flux *= factor
        brightest = flux.max(axis=0)
        flux *= np.where(brightest >= 255, 255 / brightest, 1)
        return np.clip(flux, 0, 255, out=flux)

    return _by_strips(planes, settings, stretch)


def asinh(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour one to three bands by asinh, each up to a percentile of its own pixels.

    ``x = asinh(flux · scale)``, clipped to ``[0, P]`` and divided by ``P``, the percentile of all
    ``x`` of the band. One band is drawn grey; of two, green is the mean. Parameters and result as
    in `decals`.
    """
    assert isinstance(settings, AsinhSettings)
    drawn = []
    for band, scale in zip(settings.bands, settings.scales, strict=True):
        value = np.arcsinh(_finite(planes[band], settings.fill) * _F(scale))
        brightest = max(float(np.percentile(value, settings.percentile)), 0.0) or 1.0
        np.clip(value, 0, brightest, out=value)
        value /= _F(brightest)
        drawn.append(value)
    if len(drawn) == 2:
        drawn.insert(1, (drawn[0] + drawn[1]) / 2)
    blue, green, red = drawn if len(drawn) == 3 else drawn * 3
    return (np.stack([red, green, blue], axis=2) * 255).astype(np.uint8)


def euclid(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour as in Galaxy Zoo Euclid (Walmsley+25): `asinh` of VIS (blue) and NISP-Y (red).

    The published factors 100 and 0.2 are for the mosaics' own units; here fluxes are in
    nanomaggies, and the factors those times 10^(0.4 (zero point − 22.5)).
    """
    return asinh(planes, settings)


def hsc(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour Hyper Suprime-Cam's g, r and i by `asinh`.

    No constants have been published. The scales follow the bands' depths; they have not been
    compared with the survey's own pictures.
    """
    return asinh(planes, settings)


def _by_strips(planes: Planes, settings: FluxSettings, stretch: Callable[[Floats], Floats]) -> Rgb:
    """Stretch (red, green, blue) fluxes, shape (3, rows, width), to 0–255, some rows at a time."""
    chosen = [planes[band] for band in settings.drawn_bands()]
    height, width = chosen[0].shape
    image = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP_PIXELS // width)
    # What divides by a flux of 0, or in a band of no flux at all, is drawn black.
    with np.errstate(all="ignore"):
        for start in range(0, height, step):
            rows = slice(start, start + step)
            flux = np.stack([_finite(plane[rows], settings.fill) for plane in chosen])
            image[rows] = stretch(flux).transpose(1, 2, 0)
    return image


def _finite(plane: Floats, fill: float) -> Floats:
    finite = np.where(np.isfinite(plane), plane, _F(fill))
    return np.clip(finite, -_MOST_FLUX, _MOST_FLUX, out=finite)

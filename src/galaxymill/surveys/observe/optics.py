"""Point-spread functions by their transforms, and what turns one into a wider one."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.floating]

_POINTS, _LAST = 4096, 40.0
"""Samples of the tabulated transform, and where it has fallen below 1e-14."""
_FLOOR = 1e-3
"""Of the source's transform: frequencies that it does not hold are not made up."""


def moffat_transform(frequency: Floats, fwhm: float, beta: float) -> Floats:
    """Fourier transform of a Moffat profile of unit flux, 1 at frequency 0.

    ``2 (x/2)^(β-1) K_(β-1)(x) / Γ(β-1)`` with ``x = 2π α k`` and ``α`` the scale radius (the Hankel
    transform of ``(1 + r²/α²)^-β``; Gradshteyn & Ryzhik, 6.565.4).

    Parameters
    ----------
    frequency : ndarray
        ``k``, in cycles per arcsec.
    fwhm : float
        Full width at half maximum, arcsec; 0 for a point.
    beta : float
        The Moffat index, greater than 1.
    """
    if fwhm == 0:
        return np.ones_like(frequency)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    x, values = _tabulated(beta)
    return np.asarray(np.interp(2 * np.pi * alpha * frequency, x, values, right=0.0))


@lru_cache(maxsize=16)
def _tabulated(beta: float) -> tuple[Floats, Floats]:
    x = np.linspace(0, _LAST + 4 * beta, _POINTS)
    order = beta - 1
    values = 2 * (x[1:] / 2) ** order * special.kv(order, x[1:]) / special.gamma(order)
    return x, np.concatenate([[1.0], values])


def pixel_transform(along_x: Floats, along_y: Floats, pixel: float) -> Floats:
    """Fourier transform of a square pixel of ``pixel`` arcsec, by frequency along both axes."""
    return np.asarray(np.sinc(pixel * along_y)[:, None] * np.sinc(pixel * along_x))


def matching(source: Floats, target: Floats) -> Floats:
    """Transform that turns the source's point sources into the target's.

    ``S T / (S² + ε²)``: the ratio of both, which fades where the source holds nothing (Wiener's
    filter for a constant share of noise ``ε``).
    """
    return np.asarray(source * target / (source**2 + _FLOOR**2))


@lru_cache(maxsize=256)
def noise_area(fwhm: float, beta: float, pixel: float) -> float:
    """Pixels whose noise a point source has when it is measured best: ``1 / Σ P²`` (King 1983)."""
    step = 1 / (64 * pixel)
    # Of a spectrum that pixels alias, the sum over all of its copies is that of the whole.
    k = np.arange(-192, 192) * step
    product = moffat_transform(np.hypot(k[:, None], k), fwhm, beta) * pixel_transform(k, k, pixel)
    return float(1 / (np.sum(product**2) * (step * pixel) ** 2))


def sky_sigma(depth: float, fwhm: float, beta: float, pixel: float) -> float:
    """Noise of a pixel, in nanomaggies, of which a point source of ``depth`` has a fifth.

    Parameters
    ----------
    depth : float
        5 sigma depth for point sources, AB magnitudes.
    fwhm, beta : float
        Of their Moffat profile, arcsec.
    pixel : float
        Its side, arcsec.
    """
    return float(10 ** (0.4 * (22.5 - depth)) / 5 / np.sqrt(noise_area(fwhm, beta, pixel)))


def depth_of(sigma: float, fwhm: float, beta: float, pixel: float) -> float:
    """Give the 5 sigma depth of pixels of this noise: the inverse of `sky_sigma`."""
    return float(22.5 - 2.5 * np.log10(5 * sigma * np.sqrt(noise_area(fwhm, beta, pixel))))

"""The noise of a sky: measured between the sources of an image, and what of it is missing."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.floating]
Plane = npt.NDArray[np.float32]

REACH = 3
"""Pixels over which noise may be correlated, as in resampled exposures."""

_FAR = ((8, 0), (0, 8), (8, 8), (8, -8))
"""Steps beyond that reach."""
_BOX, _ABOVE, _ROUNDS = 7, 4.0, 3
"""Box of smoothing, pixels; spreads beyond which it is no sky: nearer ones would cut off noise."""
_MAD = 1.4826
_MOST_FAR = 0.25
"""Correlation at the end of that reach beyond which what is measured is structure, not noise."""
_FEWEST = 1000


@dataclass(frozen=True)
class Sky:
    """Noise of one plane.

    ``covariance``, shape (2 REACH + 1, 2 REACH + 1), is that of pixels by the step (y, x) between
    them, that of step 0 in the middle, in the plane's unit squared.
    """

    covariance: Floats

    @property
    def sigma(self) -> float:
        """Standard deviation of a pixel."""
        return float(np.sqrt(self.covariance[REACH, REACH]))

    def scaled(self, sigma: float) -> "Sky":
        """The same correlations, with another standard deviation."""
        return Sky(self.covariance * (sigma / self.sigma) ** 2)


def white(sigma: float) -> Sky:
    """Noise of pixels that do not know of each other."""
    covariance = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    covariance[REACH, REACH] = sigma**2
    return Sky(covariance)


def measure_sky(plane: Plane) -> Sky | None:
    """Measure the noise between the sources of a plane; None where too little of it is sky.

    Half the mean squared difference of pixels some steps apart is ``C(0) - C(step)``, which slow
    changes of the background, as the wings of galaxies, hardly touch; that of pixels far apart
    is ``C(0)``.
    """
    good = _between_sources(plane)
    data = np.where(good, plane, 0).astype(np.float32)
    far = [_half_difference(data, good, *step) for step in _FAR]
    counts = np.array([count for _, count in far])
    if counts.sum() < _FEWEST:
        return None
    variance = float(sum(total for total, _ in far) / counts.sum())
    if not variance > 0:
        return None
    covariance = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    covariance[REACH, REACH] = variance
    for y in range(REACH + 1):
        for x in range(-REACH, REACH + 1):
            if (y, x) <= (0, 0):
                continue
            total, count = _half_difference(data, good, x, y)
            value = variance - total / count if count else 0.0
            covariance[REACH + y, REACH + x] = covariance[REACH - y, REACH - x] = value
    ends = [covariance[REACH + REACH, REACH], covariance[REACH, REACH + REACH]]
    return Sky(covariance) if max(ends) < _MOST_FAR * variance else None


def _between_sources(plane: Plane) -> npt.NDArray[np.bool_]:
    """Pixels of the sky: neither above nor below it when smoothed, nor beside one that is."""
    finite = np.isfinite(plane)
    filled = np.where(finite, plane, 0)
    smooth = ndimage.uniform_filter(filled, _BOX, mode="nearest")
    good = finite.copy()
    for _ in range(_ROUNDS):
        if not good.any():
            return good
        middle = np.median(smooth[good])
        spread = _MAD * np.median(np.abs(smooth[good] - middle))
        good = finite & (np.abs(smooth - middle) <= _ABOVE * spread)
    inner: npt.NDArray[np.bool_] = ndimage.binary_erosion(good, np.ones((5, 5)), border_value=1)
    return finite & inner


def _half_difference(data: Plane, good: npt.NDArray[np.bool_], x: int, y: int) -> tuple[float, int]:
    """Half the sum of squared differences of sky pixels a step apart, and their number."""
    left = (slice(0, -y or None), slice(max(-x, 0), -x if x > 0 else None))
    right = (slice(y, None), slice(max(x, 0), x if x < 0 else None))
    both = good[left] & good[right]
    apart = np.where(both, data[left] - data[right], 0)
    return 0.5 * float(np.vdot(apart, apart)), int(both.sum())


def power(sky: Sky, along_x: Floats, along_y: Floats, step: float) -> Floats:
    """Power of the noise by frequency: the transform of its covariance, shape (y, x).

    ``along_x`` and ``along_y`` are in cycles per unit of ``step``, the side of a pixel.
    """
    steps = np.arange(-REACH, REACH + 1) * step
    rows = np.exp(-2j * np.pi * np.outer(along_y, steps))
    columns = np.exp(-2j * np.pi * np.outer(steps, along_x))
    return np.asarray((rows @ sky.covariance @ columns).real)


def missing_noise(
    wanted: Sky, there: Floats, side: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw the noise that an image lacks.

    Parameters
    ----------
    wanted : Sky
        The noise it is to have.
    there : ndarray, shape (2 n + 1, 2 n + 1)
        Covariance of what it has, by the step between pixels, that of step 0 in the middle.
    side : int
        Of the image, pixels.
    rng : numpy.random.Generator
        Draws it.

    Returns
    -------
    ndarray, shape (side, side)
        Noise whose covariance is the difference; nothing where the image has more than is wanted.
    """
    lacking = -np.pad(there, max(REACH - len(there) // 2, 0))
    reach = len(lacking) // 2
    middle = slice(reach - REACH, reach + REACH + 1)
    lacking[middle, middle] += wanted.covariance
    padded = fft.next_fast_len(side + 2 * reach + 1, real=True)
    wrapped = np.zeros((padded, padded))
    wrapped[: len(lacking), : len(lacking)] = lacking
    spectrum = fft.rfft2(np.roll(wrapped, (-reach, -reach), (0, 1))).real
    draw = fft.rfft2(rng.standard_normal((padded, padded)))
    field = fft.irfft2(np.sqrt(np.maximum(spectrum, 0)) * draw, (padded, padded))
    return np.asarray(field[:side, :side])

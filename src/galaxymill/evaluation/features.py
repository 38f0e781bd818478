"""Hand-made features of a picture, for a baseline that uses no network.

Light in rings around the middle, and how it is spread along each of them: colours and profile,
then elongation, bars, arms and lopsidedness as moduli of the Fourier modes in the angle, which
do not change when the picture is turned.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RINGS = 8
MODES = 4
KINDS = ("red", "green", "blue", "scatter", *(f"mode_{m}" for m in range(1, MODES + 1)))
"""What is measured in each ring; scatter: the light's standard deviation along it."""


def image_features(rgb: npt.NDArray[np.uint8]) -> Values:
    """Measure a picture (h, w, 3) with the galaxy in the middle; shape (n_kinds × n_rings,).

    Features stand in the order of ``KINDS``, each from the inmost ring outwards; square roots, as
    faint structure tells galaxies apart, too. Between 0 and 1, and finite for any picture.
    """
    inside, ring, waves = _polar(*rgb.shape[:2])
    colours = rgb[inside] / 255
    light = colours.mean(axis=1)
    pixels = np.maximum(np.bincount(ring, minlength=RINGS), 1)

    def average(values: Values) -> Values:
        return np.bincount(ring, values, RINGS) / pixels

    profiles = [average(colour) for colour in colours.T]
    structure = light - average(light)[ring]
    scatter = np.sqrt(average(structure**2))
    modes = [np.hypot(average(structure * cos), average(structure * sin)) for cos, sin in waves]
    return np.asarray(np.sqrt([*profiles, scatter, *modes]).ravel())


@lru_cache(maxsize=4)
def _polar(
    height: int, width: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], list[tuple[Values, Values]]]:
    """Pixels within the inscribed circle, their rings, and cosine and sine of each mode."""
    rows, columns = np.indices((height, width))
    place = (columns - (width - 1) / 2) + 1j * (rows - (height - 1) / 2)
    # Narrower towards the middle, where most of the light is.
    edges = np.linspace(0, 1, RINGS + 1) ** 1.5 * min(height, width) / 2
    ring = np.digitize(np.abs(place), edges) - 1
    inside = ring < RINGS
    # The middle itself has no angle.
    towards = (place / np.maximum(np.abs(place), 1e-9))[inside]
    waves = [((towards**m).real.copy(), (towards**m).imag.copy()) for m in range(1, MODES + 1)]
    return inside, ring[inside], waves

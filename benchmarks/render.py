"""Galaxies rendered a second by one core: FITS bytes of 3×424×424 to a JPEG of 424 pixels.

Beside it the recipe alone as plain numpy in double precision, and as astropy has it.
"""

import io
from collections.abc import Callable

import numpy as np
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from figures import SHORT, best_seconds, figure

from galaxymill.decoding.decode import read_fits
from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import image_row
from galaxymill.images.settings import RecipeSettings

GALAXIES = 4 if SHORT else 100


def payload(seed: int) -> bytes:
    """Make one cutout: an exponential disc on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-212:212, -212:212]
    disc = np.exp(-np.hypot(x, y / rng.uniform(0.3, 1)) / rng.uniform(10, 60)).astype(">f4")
    cube = np.stack([disc * flux for flux in (0.1, 0.2, 0.3)]) + rng.normal(0, 0.01, (3, 424, 424))
    header = fits.Header({"BANDS": "grz", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    file = io.BytesIO()
    fits.PrimaryHDU(cube.astype(">f4"), header).writeto(file)
    return file.getvalue()


def plain_decals(z: np.ndarray, r: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Draw as `galaxymill.images.colours.decals`, the formula as it is written, in float64."""
    flux = np.stack([z / 0.019, r / 0.014, g / 0.008], axis=2, dtype=np.float64)
    low = np.arcsinh(-0.5)
    colour = (np.arcsinh(flux) - low) / (np.arcsinh(300) - low)
    mean = colour.mean(axis=2, keepdims=True)
    mean[mean == 0] = 1
    share = np.minimum(1, (colour / mean).max(axis=2, keepdims=True) / 2.5)
    weight = np.sin(np.pi / 2 * (1 - share))
    rest = mean * (1 - weight)
    colour = colour * weight + rest + rest * (1 - weight) * colour
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)[::-1]


PLAIN = {
    "decals": plain_decals,
    "lupton": lambda z, r, g: make_lupton_rgb(z, r, g, stretch=0.5, Q=8)[::-1],
}
cutouts = [
    {"object_id": "galaxy", "status": "ok", "payload": payload(seed)} for seed in range(GALAXIES)
]
planes = [read_fits(cutout["payload"]).planes for cutout in cutouts]  # type: ignore[arg-type]
for name, plain in PLAIN.items():
    settings = RECIPES[name].settings(size=424)

    def render_all(name: str = name, settings: RecipeSettings = settings) -> None:
        """Render every cutout, from its bytes to the bytes of the image."""
        for cutout in cutouts:
            image_row(cutout, name, settings)

    def recipe_all(name: str = name, settings: RecipeSettings = settings) -> None:
        """Only colour every cutout."""
        colour = RECIPES[name].colour
        assert colour is not None
        for one in planes:
            colour(one, settings)

    def plain_all(plain: Callable[..., np.ndarray] = plain) -> None:
        """Only colour every cutout, in the plain way."""
        for one in planes:
            plain(one["z"], one["r"], one["g"])

    rate = GALAXIES / best_seconds(render_all, 3)
    figure(f"render_{name}", rate, "galaxies/s/core", at_least=120)
    ours, theirs = (best_seconds(run, 3) / GALAXIES * 1000 for run in (recipe_all, plain_all))
    figure(f"render_{name}_recipe", ours, "cpu_ms/galaxy")
    figure(f"render_{name}_plain", theirs, "cpu_ms/galaxy")
    figure(f"render_{name}_gain", theirs / ours, "times", at_least=1)

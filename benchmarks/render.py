"""Galaxies rendered a second by one core: FITS bytes of 3×424×424 to a JPEG of 424 pixels."""

import io

import numpy as np
from astropy.io import fits
from figures import SHORT, best_seconds, figure

from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import image_row

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


payloads = [payload(seed) for seed in range(GALAXIES)]
for name in ("decals", "lupton"):
    settings = RECIPES[name].settings(size=424)

    def render_all(name: str = name, settings: object = settings) -> None:
        """Render every payload."""
        for cutout in payloads:
            image_row("galaxy", "ok", cutout, name, settings)

    figure(
        f"render_{name}", GALAXIES / best_seconds(render_all, 3), "galaxies/s/core", at_least=120
    )

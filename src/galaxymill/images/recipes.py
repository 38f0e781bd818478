"""Recipes that turn fluxes into colours, by name. A new recipe is one function and one line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from galaxymill.settings import Settings

Planes = Mapping[str, npt.NDArray[np.float32]]
Rgb = npt.NDArray[np.uint8]


class RecipeSettings(Settings):
    """What every recipe is told: the size and the format of the image."""

    size: int = Field(424, ge=16, le=3000, description="width and height of the image in pixels")
    format: Literal["jpeg", "png"] = Field("jpeg", description="jpeg, or png without loss")
    quality: int = Field(90, ge=1, le=100, description="quality of a jpeg")

    def colour_bands(self) -> dict[str, str]:
        """Name the band of each colour; none for images that are shown as served."""
        return {}


class DecalsSettings(RecipeSettings):
    """Settings of the recipe ``decals``."""

    red: str = Field("z", description="band shown red")
    green: str = Field("r", description="band shown green")
    blue: str = Field("g", description="band shown blue")

    def colour_bands(self) -> dict[str, str]:
        """Name the band of each colour."""
        return {"red": self.red, "green": self.green, "blue": self.blue}


class LuptonSettings(DecalsSettings):
    """Settings of the recipe ``lupton``."""

    stretch: float = Field(0.5, gt=0, description="linear stretch, in nanomaggies")
    q: float = Field(8.0, ge=0, description="asinh softening")
    minimum: float = Field(0.0, description="flux shown black, in nanomaggies")


def decals(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour as in Galaxy Zoo DECaLS ("dr2 style", Walmsley+22), with desaturation.

    ``x = (asinh(v) − asinh(−0.5)) / (asinh(300) − asinh(−0.5))`` with ``v = flux / scale`` and
    scales 0.008, 0.014, 0.019 for blue, green, red; then pixels of one strong colour are drawn
    towards their mean over the colours, ``a``: ``w = sin(π/2 · (1 − min(1, max x/a / 2.5)))``,
    ``x ← x·w + a(1 − w) + a(1 − w)²·x``.

    Parameters
    ----------
    planes : mapping of str to ndarray, shape (height, width)
        Fluxes in nanomaggies, y up.
    settings : DecalsSettings

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
        North up (first row at the top).
    """
    assert isinstance(settings, DecalsSettings)
    low, high = np.arcsinh(-0.5), np.arcsinh(300.0)
    scales = ((settings.red, 0.019), (settings.green, 0.014), (settings.blue, 0.008))
    flux = np.stack([_finite(planes[band]) / np.float32(scale) for band, scale in scales])
    colour = (np.arcsinh(flux) - np.float32(low)) / np.float32(high - low)
    mean = colour.mean(axis=0)
    mean[mean == 0] = 1
    weight = 1 - np.minimum(1, (colour / mean).max(axis=0) / 2.5)
    weight = np.sin(np.pi / 2 * weight)
    rest = mean * (1 - weight)
    colour = colour * weight + rest + rest * (1 - weight) * colour
    return _upright((np.clip(colour, 0, 1) * 255).astype(np.uint8))


def lupton(planes: Planes, settings: RecipeSettings) -> Rgb:
    """Colour by Lupton+04 (PASP 116, 133), as `astropy.visualization.make_lupton_rgb` does.

    Parameters and result as in `decals`.
    """
    from astropy.visualization import make_lupton_rgb

    assert isinstance(settings, LuptonSettings)
    bands = (settings.red, settings.green, settings.blue)
    red, green, blue = (_finite(planes[band]) for band in bands)
    image: Rgb = make_lupton_rgb(
        red, green, blue, minimum=settings.minimum, stretch=settings.stretch, Q=settings.q
    )
    return np.ascontiguousarray(image[::-1])


def _finite(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(plane, nan=0.0, posinf=0.0, neginf=0.0)


def _upright(colour: Rgb) -> Rgb:
    """Reorder (3, y up, x) to (y down, x, 3)."""
    return np.ascontiguousarray(colour[:, ::-1].transpose(1, 2, 0))


@dataclass(frozen=True)
class Recipe:
    """A registered recipe; ``colour`` is None for images that are shown as served."""

    settings: type[RecipeSettings]
    colour: Callable[[Planes, RecipeSettings], Rgb] | None


RECIPES = {
    "decals": Recipe(DecalsSettings, decals),
    "lupton": Recipe(LuptonSettings, lupton),
    "passthrough": Recipe(RecipeSettings, None),
}

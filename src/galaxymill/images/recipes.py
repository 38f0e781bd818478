"""Recipes that make pictures, by name. A new one is a function, its settings and a line here."""

from collections.abc import Callable
from dataclasses import dataclass

from galaxymill.images import colours
from galaxymill.images.settings import (
    AsinhSettings,
    DecalsSettings,
    EuclidSettings,
    HscSettings,
    LuptonSettings,
    PassthroughSettings,
    RecipeSettings,
)


@dataclass(frozen=True)
class Recipe:
    """A registered recipe.

    Attributes
    ----------
    settings : type
        What it is told.
    colour : callable or None
        Draws planes of flux, see `galaxymill.images.colours`; None for images that are shown as
        served.
    version : int
        To be raised when it draws differently: its images are then drawn again, no others.
    """

    settings: type[RecipeSettings]
    colour: Callable[[colours.Planes, RecipeSettings], colours.Rgb] | None
    version: int = 1


RECIPES = {
    "asinh": Recipe(AsinhSettings, colours.asinh),
    "decals": Recipe(DecalsSettings, colours.decals),
    "euclid": Recipe(EuclidSettings, colours.euclid),
    "hsc": Recipe(HscSettings, colours.hsc),
    "lupton": Recipe(LuptonSettings, colours.lupton),
    "passthrough": Recipe(PassthroughSettings, None),
}

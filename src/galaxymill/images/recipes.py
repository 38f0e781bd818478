"""Recipes that make pictures, by name. A new one is a function, its settings and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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

    ``colour`` draws planes of flux (`galaxymill.images.colours`); None for images that are shown as
    served. Raise ``version`` when it draws differently: its images are then drawn again.
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


def settings_of(domain: Mapping[str, Any]) -> RecipeSettings:
    """Give the settings that images of a domain (`galaxymill.images.domains`) were made with."""
    model = RECIPES[domain["recipe"]].settings
    return model.model_validate({k: v for k, v in domain.items() if k in model.model_fields})

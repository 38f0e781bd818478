"""Recipes that make pictures, by name. A new one is a function, its settings and a line here.

And what kind of images a recipe makes of a survey: the domain that a model serves.
"""

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
from galaxymill.stages import STAGE_VERSIONS


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
    """Give the settings that images of a domain, see `domain`, were made with."""
    model = RECIPES[domain["recipe"]].settings
    return model.model_validate({k: v for k, v in domain.items() if k in model.model_fields})


WAYS_OUT = (
    "Train on this survey; where both are images of one origin, say so in both (images: {origin: "
    "NAME}); or set predict: {allow_domain_shift: true} in the release to flag every row"
)
"""For who would predict images of another domain than the model's."""


def domain(name: str, recipe: str, settings: RecipeSettings) -> dict[str, Any]:
    """Say what kind of images these are: a model serves the domain that it was trained on.

    ``name`` is of the survey or labelled set: where the pixels come from, unless the settings name
    an ``origin``. Two sets of the same origin, recipe and settings are one domain.
    """
    return {
        "survey": settings.origin or name,
        "recipe": recipe,
        "recipe_version": RECIPES[recipe].version,
        "render_version": STAGE_VERSIONS["render"],
        **{key: value for key, value in settings.product_settings().items() if key != "origin"},
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any], words: str) -> str:
    """Tell where two domains differ; ``words`` has places for key and both values."""
    if one.get("recipe") == other.get("recipe"):
        # What neither chose is the same; what one chose stands beside the other's default.
        one, other = (
            {**settings_of(each).model_dump(mode="json"), **each} if "recipe" in each else each
            for each in (one, other)
        )
    keys = sorted(key for key in {**one, **other} if one.get(key) != other.get(key))
    return "; ".join(words.format(key, one.get(key), other.get(key)) for key in keys)

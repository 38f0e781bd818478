"""What kind of images a survey has: the domain that a model learns from and serves.

Two surveys whose seeing and depth are known are one domain where these, the pixels and the recipe
are alike. Where they are not known, two sets of one origin, recipe and settings are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from galaxymill.images.recipes import RECIPES, settings_of
from galaxymill.images.settings import RecipeSettings
from galaxymill.settings import Settings, parse_json
from galaxymill.stages import STAGE_VERSIONS

MOST_SEEING, MOST_DEPTH, MOST_SCALE = 0.10, 0.25, 0.05
"""How far apart two surveys of one domain may be: in seeing as a share of the better one, in depth
in magnitudes, in pixel scale and width of a cutout as a share of the smaller one."""

_ROUNDING = 1e-9
_UNKNOWN = "unknown"

WAYS_OUT = (
    "Train on this survey, or on images drawn as this survey shows them (service observed); where "
    "both are images of one origin, say so in both (images: {origin: NAME}), or give the telescope "
    "of both surveys, which are then compared; or set predict: {allow_domain_shift: true} in the "
    "release to flag every row"
)
"""For who would predict images of another domain than the model's."""

_Positive = Annotated[float, Field(gt=0)]
_ByBand = Annotated[dict[str, _Positive], BeforeValidator(parse_json)]


class Sight(Settings):
    """How well a survey's images show the sky."""

    seeing: _ByBand = Field({}, description="FWHM of point sources by band, arcsec")
    depth: _ByBand = Field({}, description="5 sigma depth for point sources by band, AB magnitudes")
    pixel_scale: Annotated[float, Field(ge=0)] | Literal["gz_decals"] = Field(
        description="arcsec per pixel of a cutout; 0: unknown"
    )
    size: int = Field(ge=0, description="pixels across a cutout; 0: unknown")


def domain(
    name: str, recipe: str, settings: RecipeSettings, sight: Sight | None = None
) -> dict[str, Any]:
    """Say what kind of images these are: a model serves the domain that it was trained on.

    ``name`` is of the survey or labelled set: where the pixels come from, unless the settings name
    an ``origin``. Without ``sight``, two sets of the same origin, recipe and settings are one
    domain.
    """
    return {
        "survey": settings.origin or name,
        "recipe": recipe,
        "recipe_version": RECIPES[recipe].version,
        "render_version": STAGE_VERSIONS["render"],
        **{key: value for key, value in settings.product_settings().items() if key != "origin"},
        **({"sight": sight.product_settings()} if sight else {}),
    }


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a model that learned from images of one domain serves those of the other."""
    return one == other or not list(differing(one, other))


def differences(one: Mapping[str, Any], other: Mapping[str, Any], words: str) -> str:
    """Say where two domains differ; ``words`` has places for what it is and both values."""
    return "; ".join(words.format(*each) for each in differing(one, other))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """List where two domains differ: what it is, and both values.

    Where it is known how well both show the sky, that is compared instead of the surveys' names.
    Raises UserError when what a domain says of that is damaged.
    """
    sights = [Sight.parse(each["sight"], "sight") for each in (one, other) if each.get("sight")]
    left_out = {"sight", "survey"} if len(sights) == 2 else {"sight"}
    if one.get("recipe") == other.get("recipe"):
        # What neither chose is the same; what one chose stands beside the other's default.
        one, other = (
            {**settings_of(each).model_dump(mode="json"), **each} if "recipe" in each else each
            for each in (one, other)
        )
    for key in sorted({**one, **other}.keys() - left_out):
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)
    if len(sights) == 2:
        drawn = settings_of(one).drawn_bands() if "recipe" in one else ()
        yield from _apart(sights[0], sights[1], drawn)


def _apart(one: Sight, other: Sight, drawn: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """List in what two sights are further apart than allowed.

    In the bands that are ``drawn``; of pictures, which are shown as served, in those that either
    names.
    """
    named = sorted({*one.seeing, *one.depth, *other.seeing, *other.depth})
    for band in drawn or named or ["any band"]:
        values = one.seeing.get(band), other.seeing.get(band)
        yield from _too_far(f"seeing in {band}", "arcsec", MOST_SEEING, *values)
        values = one.depth.get(band), other.depth.get(band)
        yield from _too_far(f"depth in {band}", "mag", MOST_DEPTH, *values)
    yield from _too_far("pixel scale", "arcsec", MOST_SCALE, one.pixel_scale, other.pixel_scale)
    yield from _too_far("width of a cutout", "pixels", MOST_SCALE, one.size, other.size)


def _too_far(
    what: str, unit: str, most: float, one: float | str | None, other: float | str | None
) -> Iterator[tuple[str, Any, Any]]:
    """Give two values if they are further apart than ``most``, or if either is not known.

    Magnitudes are compared by their difference, all else by its share of the smaller value. A text
    (pixels by the size of the galaxy) is like itself alone.
    """
    if not one or not other:
        yield what, one or _UNKNOWN, other or _UNKNOWN
    elif isinstance(one, str) or isinstance(other, str):
        if one != other:
            yield what, one, other
    else:
        low, high = sorted((one, other))
        apart = high - low if unit == "mag" else high / low - 1
        if apart > most + _ROUNDING:
            # Of arcsec and pixels in per cent.
            spelled = (f"{x:.2f}" if unit == "mag" else f"{100 * x:.3g} %" for x in (apart, most))
            yield f"{what} ({unit}; {' apart, at most '.join(spelled)})", one, other

"""Settings of the recipes; what a config is checked with, without the code that draws."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from galaxymill.settings import Names, Numbers, Settings

OriginName = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f`|]+$", max_length=100)
]
"""Where pixels come from, in a user's words."""

_MOST = 1e12
"""Of fluxes and their factors: products of two are still float32."""


class RecipeSettings(Settings):
    """Settings of every recipe: the size and the format of the image."""

    size: int = Field(424, ge=16, le=3000, description="width and height of the image in pixels")
    format: Literal["jpeg", "png", "webp"] = Field(
        "jpeg", description="jpeg, or png or webp without loss"
    )
    quality: int = Field(90, ge=1, le=100, description="quality of a jpeg")
    origin: OriginName | None = Field(
        None,
        description="where the pixels come from, e.g. sdss-gri-jpeg: a model that learned from "
        "images of the same origin, recipe and settings serves these; default: the name",
    )
    shape: Literal["cut", "pad"] = Field(
        "cut",
        description="of an image that is not square: cut its middle out, or pad it (pictures in "
        "black, fluxes with fill)",
    )

    def drawn_bands(self) -> tuple[str, ...]:
        """Bands that are drawn; none for images that are shown as served."""
        return ()


class PassthroughSettings(RecipeSettings):
    """Settings of the recipe ``passthrough``."""

    depth: int = Field(
        16,
        ge=8,
        le=16,
        description="bits that the data of pictures of 16 bits fill: the upper 8 of them are shown",
    )


class FluxSettings(RecipeSettings):
    """Settings of a recipe that draws fluxes."""

    reproject: bool = Field(
        False,
        description="resample so that north is exactly up; by default only quarter turns and a "
        "reflection are made, and the angle that is left is kept beside the image",
    )
    fill: float = Field(
        0.0,
        ge=-_MOST,
        le=_MOST,
        description="flux drawn for a band that is missing and for pixels that are not finite",
    )


class RgbSettings(FluxSettings):
    """Settings of a recipe of three colours."""

    red: str = Field("z", description="band shown red")
    green: str = Field("r", description="band shown green")
    blue: str = Field("g", description="band shown blue")

    def drawn_bands(self) -> tuple[str, ...]:
        """Bands that are drawn, red first."""
        return self.red, self.green, self.blue


class DecalsSettings(RgbSettings):
    """Settings of the recipe ``decals``."""


class LuptonSettings(RgbSettings):
    """Settings of the recipe ``lupton``."""

    stretch: float = Field(
        0.5, ge=1 / _MOST, le=_MOST, description="linear stretch, in nanomaggies"
    )
    q: float = Field(8.0, ge=0, le=_MOST, description="asinh softening")
    minimum: float = Field(0.0, ge=-_MOST, le=_MOST, description="flux shown black, in nanomaggies")


def _bands(*names: str) -> Any:
    description = "bands, blue to red: one is drawn grey; of two, green is the mean"
    return Field(names, min_length=1, max_length=3, description=description)


def _scales(*factors: float, note: str = "") -> Any:
    description = (
        "factors of the fluxes (nanomaggies) before asinh, one a band: larger shows fainter parts"
    )
    return Field(factors, description=description + note)


class AsinhSettings(FluxSettings):
    """Settings of the recipe ``asinh``, and of those that are made like it."""

    bands: Names = _bands("g", "r", "z")
    scales: Numbers = _scales(125.0, 71.4, 52.6)
    percentile: float = Field(
        99.85, gt=0, le=100, description="of a band's pixels, which is drawn brightest"
    )

    def drawn_bands(self) -> tuple[str, ...]:
        """Bands that are drawn, blue first."""
        return self.bands

    @model_validator(mode="after")
    def _a_scale_each(self) -> Self:
        if (
            len(self.scales) != len(self.bands)
            or not 0 < min(self.scales) <= max(self.scales) <= _MOST
        ):
            raise ValueError(
                f"scales: {len(self.bands)} positive numbers are needed, one for each of bands "
                f"{','.join(self.bands)} (given: {','.join(map(str, self.scales))})"
            )
        return self


class EuclidSettings(AsinhSettings):
    """Settings of the recipe ``euclid``."""

    bands: Names = _bands("VIS", "Y")
    scales: Numbers = _scales(
        692.0,
        166.0,
        note="; the defaults are 100 and 0.2 in the units of mosaics of zero points 24.6 and 29.8",
    )


class HscSettings(AsinhSettings):
    """Settings of the recipe ``hsc``."""

    bands: Names = _bands("g", "r", "i")
    scales: Numbers = _scales(300.0, 200.0, 150.0)

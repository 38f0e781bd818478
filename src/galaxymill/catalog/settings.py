"""Settings of a catalogue."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from galaxymill.settings import Names, Settings, parse_json


def _is_range(bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = bounds
    if low is None and high is None:
        raise ValueError("give a lower bound, an upper bound, or both")
    if low is not None and high is not None and low > high:
        raise ValueError("the lower bound comes first")
    return bounds


Bound = Annotated[float, Field(allow_inf_nan=False)] | None
Range = Annotated[tuple[Bound, Bound], AfterValidator(_is_range)]
"""Two numbers that belong to the range themselves; None for no bound."""

TypeName = Literal["text", "number", "integer", "boolean"]


class CatalogSettings(Settings):
    """Which columns of a catalogue are used; a name on the right is the file's own."""

    object_id: str = Field("object_id", description="column of the unique identifier")
    ra: str = Field("ra", description="column of the right ascension, ICRS degrees")
    dec: str = Field("dec", description="column of the declination, ICRS degrees")
    positions: bool = Field(
        True,
        description="false for pictures whose place on the sky is not known, which service files "
        "reads",
    )
    petro_r50: str | None = Field(None, description="column of the half-light radius, arcsec")
    petro_r90: str | None = Field(None, description="column of the 90 % radius, arcsec")
    own_redshift: str | None = Field(
        None, description="column of the redshift, which service observed moves galaxies by"
    )
    file_loc: Names | None = Field(
        None,
        description="column of image paths, for service files; or one a band, in the order of its "
        "bands",
    )
    select: Annotated[dict[str, Range], BeforeValidator(parse_json)] | None = Field(
        None,
        description="rows to take: {column: [low, high]}, null for no bound; all must hold, and a "
        "value that is absent is outside",
    )
    keep: Names = Field((), description="further columns carried into the release")
    types: Annotated[dict[str, TypeName], BeforeValidator(parse_json)] = Field(
        {},
        description="types of kept columns, where those of the file will not do: {column: text, "
        "number, integer or boolean}",
    )
    hdu: str | None = Field(
        None,
        coerce_numbers_to_str=True,
        description="name or number of the table in a file of several; default: the first",
    )

    @model_validator(mode="after")
    def _types_of_kept(self) -> Self:
        others = [name for name in self.types if name not in self.keep]
        if others:
            raise ValueError(f"types: {', '.join(others)} is not in keep; keep it, or name no type")
        return self

"""Settings of a catalogue."""

from typing import Annotated, Any, Self

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


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


PositionColumn = Annotated[str | None, BeforeValidator(_empty_is_none)]
"""A column; None, on the command line an empty word, for a catalogue without positions."""


class CatalogSettings(Settings):
    """Which columns of a catalogue are used; a name on the right is the file's own."""

    object_id: str = Field("object_id", description="column of the unique identifier")
    ra: PositionColumn = Field(
        "ra",
        description="column of the right ascension, ICRS degrees; null, with dec: null, for "
        "pictures without positions",
    )
    dec: PositionColumn = Field(
        "dec", description="column of the declination, ICRS degrees; null as ra is"
    )
    petro_r50: str | None = Field(None, description="column of the half-light radius, arcsec")
    petro_r90: str | None = Field(None, description="column of the 90 % radius, arcsec")
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

    @property
    def has_positions(self) -> bool:
        """Whether it is known where on the sky the galaxies are."""
        return self.ra is not None and self.dec is not None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.ra is None) != (self.dec is None):
            raise ValueError(
                f"ra is {self.ra or 'null'}, but dec is {self.dec or 'null'}; name both columns, "
                "or give null for both where no positions are known"
            )
        return self

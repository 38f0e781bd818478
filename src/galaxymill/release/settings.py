"""Settings of a release: how it is cut, what it flags, and who publishes it."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from galaxymill.settings import Settings, Strict, parse_json

ColumnName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Cut(Strict):
    """Values of a column that a selection takes; both bounds belong to it."""

    column: str = Field(description="a column of the advanced table")
    at_least: float | None = Field(None, description="lower bound")
    at_most: float | None = Field(None, description="upper bound")

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"{self.column}: give at_least, at_most, or both")
        return self

    def __str__(self) -> str:
        low = "" if self.at_least is None else f"{self.at_least:g} ≤ "
        high = "" if self.at_most is None else f" ≤ {self.at_most:g}"
        return f"{low}{self.column}{high}"


class Selection(Strict):
    """Galaxies that meet all of some cuts: a boolean column, false where a value is null."""

    description: Line = Field(description="what kind of galaxy it is meant to find")
    source: Line = Field(description="where the cuts come from")
    made_for: Literal["fractions", "debiased fractions"] = Field(
        "fractions",
        description="what the source made them for; the fractions of a release are not debiased",
    )
    cuts: tuple[Cut, ...] = Field(min_length=1, description="all must hold")

    @property
    def meaning(self) -> str:
        """All of it in one sentence or two."""
        cuts = " and ".join(map(str, self.cuts))
        warning = ""
        if self.made_for == "debiased fractions":
            warning = "; its cuts were made for debiased fractions, which these are not"
        return f"{self.description}: {cuts} ({self.source}{warning})"


class Creator(Strict):
    """Somebody who publishes a release."""

    name: Line = Field(description="given name and family name, or that of a collaboration")
    orcid: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")] | None = (
        Field(None, description="e.g. 0000-0002-1825-0097")
    )
    affiliation: Line | None = Field(None, description="an institute")


class ReleaseSettings(Settings):
    """What a release holds beside predictions, and what it says of itself."""

    galaxies_per_tile: int = Field(400_000, ge=10, description="most galaxies in a HATS tile")
    margin_arcsec: float = Field(
        5, gt=0, le=60, description="width of the HATS margin, the widest of cross-matches"
    )
    friendly_cut: float = Field(
        0.5, ge=0, le=1, description="friendly fractions are null where fewer would be asked"
    )
    fits: bool = Field(
        True, description="whether the advanced table is written as a FITS table, too"
    )
    selections: Annotated[dict[ColumnName, Selection], BeforeValidator(parse_json)] = Field(
        {}, description="boolean columns by name: description, source, made_for, cuts"
    )
    title: Line | None = Field(None, description="default: the name")
    description: Line | None = Field(None, description="a sentence or two for those who look on")
    version: Line = Field("1", description="of the release")
    date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")] | None = Field(
        None, description="of publication, as 2026-12-31"
    )
    creators: Annotated[tuple[Creator, ...], BeforeValidator(parse_json)] = Field(
        (), description="who publishes it: name, orcid, affiliation"
    )
    license: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+-]+$", max_length=64)] = Field(
        "CC-BY-4.0", description="identifier of SPDX"
    )
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")] | None = Field(
        None, description="where it will be found"
    )
    doi: Annotated[str, StringConstraints(pattern=r"^10\.\d{4,}/\S+$")] | None = Field(
        None, description="without the resolver"
    )

    def shown_flags(self) -> str:
        """Spell what an explorer of the release has to know."""
        return self._flags("--release", ("friendly_cut", "selections"))

    @model_validator(mode="after")
    def _creators_are_named_once(self) -> Self:
        names = [re.sub(r"\s+", " ", creator.name) for creator in self.creators]
        if len(names) != len(set(names)):
            raise ValueError("creators: somebody is named twice")
        return self

"""Settings of a search."""

from pydantic import Field

from galaxymill.settings import Names, Settings


class SearchSettings(Settings):
    """What is looked for, and what of it is written."""

    to: Names = Field(
        description="galaxies to be like, by object_id, or tables with that column; several are "
        "their mean",
        min_length=1,
    )
    count: int = Field(1000, ge=1, le=1_000_000, description="galaxies that are found")
    where: str = Field(
        "", description="SQL condition over the columns of the predictions, such as flags = 0"
    )
    whiten: bool = Field(
        False,
        description="count each component alike: finds rarities, and blurs the rest",
    )
    distinct: float = Field(
        0.0, ge=0, le=3600, description="arcsec within which two galaxies count as one; 0: none"
    )
    columns: Names = Field((), description="columns of the predictions that are written too")

    def asked(self) -> str:
        """Say what is looked for, in a few words."""
        some = ", ".join(self.to[:3])
        return some if len(self.to) <= 3 else f"{some} and {len(self.to) - 3} others"

"""Settings of an explorer: what of a release it shows, and how."""

from typing import Annotated

from pydantic import Field, StringConstraints

from galaxymill.settings import Names, Settings

LEGACY_VIEWER = "https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&zoom=15&mark={ra},{dec}"


class ExplorerSettings(Settings):
    """What an explorer shows of each galaxy."""

    columns: Names = Field(
        (),
        description="columns of the advanced table to choose by: numbers, and yes or no; default: "
        "all",
    )
    thumbnails: int = Field(64, ge=16, le=256, description="width and height of images, in pixels")
    viewer: Annotated[str, StringConstraints(pattern=r"^(https://\S+)?$", max_length=500)] = Field(
        LEGACY_VIEWER,
        description="address of the survey's own viewer, with {ra} and {dec} in degrees; empty: "
        "no link",
    )

    def slice_flags(self) -> str:
        """Spell what changes a slice."""
        return self._flags("--set", ("columns", "thumbnails"))

"""Settings of a catalogue."""

from pydantic import Field

from galaxymill.settings import Names, Settings


class CatalogSettings(Settings):
    """Which columns of a catalogue are used; a name on the right is the file's own."""

    object_id: str = Field("object_id", description="column of the unique identifier")
    ra: str = Field("ra", description="column of the right ascension, ICRS degrees")
    dec: str = Field("dec", description="column of the declination, ICRS degrees")
    petro_r50: str | None = Field(None, description="column of the half-light radius, arcsec")
    petro_r90: str | None = Field(None, description="column of the 90 % radius, arcsec")
    file_loc: str | None = Field(None, description="column of image paths, for service files")
    keep: Names = Field((), description="further columns carried into the release")

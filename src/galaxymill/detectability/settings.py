"""Settings of a detectability."""

from pydantic import Field

from galaxymill.settings import Names, Settings


class DetectabilitySettings(Settings):
    """Which columns of the catalogue are taken, and what is told."""

    size: str = Field("petro_r50", description="column of the half-light radius, arcsec")
    magnitude: str = Field(description="column of the total magnitude in the band, AB")
    redshift: str = Field("", description="column of the redshift; default: it is not looked at")
    band: str = Field("r", description="band whose seeing and depth count")
    answers: Names = Field(
        (), description="answers that are told of, such as bar_strong; default: all"
    )
    lower_limit: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="flag lower_limit is set where less of one of the answers is still seen",
    )
    sample: int = Field(5_000, ge=100, le=50_000, description="galaxies that are learned from")

    @property
    def columns(self) -> list[str]:
        """Columns of the catalogue that are needed."""
        return [self.size, self.magnitude, *([self.redshift] if self.redshift else [])]

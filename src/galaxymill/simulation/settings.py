"""Settings of a simulated sky."""

from pydantic import Field

from galaxymill.settings import Settings


class SimulationSettings(Settings):
    """A sky with known truth, and the volunteers who looked at it."""

    n_galaxies: int = Field(1000, ge=10, le=1_000_000, description="galaxies in the catalogue")
    seed: int = Field(1, ge=0, description="another seed gives another sky")
    votes_per_galaxy: int = Field(40, ge=1, le=1000, description="volunteers a galaxy, on average")
    labelled: float = Field(2 / 3, gt=0, le=1, description="share of galaxies that have votes")

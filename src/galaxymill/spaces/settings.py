"""Settings of a space."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from galaxymill.settings import Name, Settings, Strict, parse_json


class MapSettings(Strict):
    """One map: which galaxies it is fitted to."""

    where: str = Field(
        "", description="SQL condition over the columns of the predictions; empty: all galaxies"
    )


Maps = Annotated[dict[Name, MapSettings], BeforeValidator(parse_json)]


class SpaceSettings(Settings):
    """What is fitted to a sample of the embeddings."""

    operational: ClassVar[frozenset[str]] = frozenset({"device"})

    components: int = Field(
        64, ge=2, le=256, description="principal components that are kept of the embeddings"
    )
    sample: int = Field(
        200_000, ge=100, le=1_000_000, description="galaxies that components are fitted to, at most"
    )
    maps: Maps = Field({}, description="maps by name, each with a condition `where`, or {} for all")
    map_sample: int = Field(
        50_000, ge=100, le=200_000, description="galaxies that a map is fitted to, at most"
    )
    neighbours: int = Field(
        30, ge=2, le=100, description="nearest galaxies that a map keeps together"
    )
    steps: int = Field(
        3000, ge=1, le=100_000, description="steps of fitting a map; fewer for small samples"
    )
    seed: int = Field(1, ge=0, le=2**53, description="seed of the maps")
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="where maps are fitted")

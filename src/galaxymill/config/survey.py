"""A survey in the config: its catalogue, its cutouts, its images."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from galaxymill.catalog.settings import CatalogSettings
from galaxymill.images.recipes import RECIPES
from galaxymill.images.settings import RecipeSettings
from galaxymill.settings import Choice, Settings, Strict
from galaxymill.surveys.base import ServiceSettings
from galaxymill.surveys.registry import SERVICES
from galaxymill.surveys.services.files import FilesSettings
from galaxymill.surveys.telescope import Telescope


class Catalog(CatalogSettings):
    """A survey's catalogue: a Parquet, CSV or FITS table."""

    path: Path = Field(description="the table")

    def settings(self) -> CatalogSettings:
        """All but the path."""
        return CatalogSettings(**self.model_dump(exclude={"path"}))


class Partitions(Settings):
    """How a catalogue is cut into partitions, the unit of every later job."""

    galaxies_per_partition: int = Field(
        4000, ge=1, le=1_000_000, description="most galaxies in one partition"
    )


class Cutouts(Choice):
    """A cutout service by name, with its settings beside the name."""

    key = "service"
    registry = SERVICES

    service: str = Field(description="a service")
    settings: ServiceSettings


class Images(Choice):
    """A recipe by name, with its settings beside the name."""

    key = "recipe"
    registry = RECIPES

    recipe: str = Field(description="a recipe")
    settings: RecipeSettings

    def plan_flags(self) -> str:
        """Spell what the cost of images depends on for the command line."""
        return f"--image size={self.settings.size} --image format={self.settings.format}"

    @property
    def version(self) -> int:
        """Version of the recipe."""
        return RECIPES[self.recipe].version


class Survey(Strict):
    """A catalogue of positions and a source of cutouts."""

    catalog: Catalog
    partitions: Partitions = Partitions()
    cutouts: Cutouts
    images: Images
    telescope: Telescope | None = Field(
        None, description="its seeing and depth: what `observed` and domains compare"
    )

    @model_validator(mode="after")
    def _positions_are_there(self) -> Self:
        why_needed = self.cutouts.settings.why_positions
        if why_needed and not self.catalog.positions:
            raise ValueError(
                f"catalog.positions: false, but {why_needed} (service: {self.cutouts.service}); "
                "give positions, or take service files without a footprint"
            )
        return self

    @model_validator(mode="after")
    def _telescope_has_its_bands(self) -> Self:
        bands = self.cutouts.settings.bands
        given = self.telescope or Telescope()
        for key in ("seeing", "depth"):
            for band in getattr(given, key):
                if band not in bands:
                    raise ValueError(
                        f"telescope.{key}: no band {band!r}; allowed: {', '.join(bands)}, as in "
                        "cutouts.bands"
                    )
        return self

    @model_validator(mode="after")
    def _columns_are_there(self) -> Self:
        scale_by_radius = self.cutouts.settings.pixel_scale == "gz_decals"
        needed = ["petro_r50", "petro_r90"] if scale_by_radius else []
        if isinstance(self.cutouts.settings, FilesSettings):
            needed += self._file_columns()
        if self.cutouts.service == "files":
            if self.images.recipe != "passthrough":
                self._bands_are_drawn()
        elif self.cutouts.settings.sends_pictures:
            self._pictures_are_shown_as_served()
        else:
            self._recipe_has_its_bands()
        for name in needed:
            if getattr(self.catalog, name) is None:
                raise ValueError(f"catalog.{name} is required by cutouts; name the column")
        return self

    def _pictures_are_shown_as_served(self) -> None:
        if self.images.recipe != "passthrough":
            raise ValueError(
                f"images.recipe: {self.images.recipe} draws from FITS, but "
                f"{self.cutouts.service} sends pictures; choose passthrough"
            )

    def _recipe_has_its_bands(self) -> None:
        """Check that what a service sends is what the recipe draws."""
        if self.images.recipe == "passthrough":
            raise ValueError(
                f"images.recipe: passthrough shows images as served, but {self.cutouts.service} "
                f"sends FITS; choose one of {', '.join(sorted({*RECIPES} - {'passthrough'}))}"
            )
        if self.cutouts.settings.zero_point is None:
            raise ValueError(
                f"images.recipe: {self.images.recipe} needs fluxes of a known zero point; give "
                "cutouts.zero_points, or choose pictures and passthrough"
            )
        self._bands_are_drawn()

    def _file_columns(self) -> list[str]:
        """Check that several columns of paths are one a band; give the column that is needed."""
        columns, bands = self.catalog.file_loc or (), self.cutouts.settings.bands
        if len(columns) > 1 and len(columns) != len(bands):
            raise ValueError(
                f"catalog.file_loc: {len(columns)} columns for bands {','.join(bands)} of cutouts; "
                "give one, or one a band in their order"
            )
        return ["file_loc"] if "{file_loc}" in getattr(self.cutouts.settings, "pattern", "") else []

    def _bands_are_drawn(self) -> None:
        bands = self.cutouts.settings.bands
        for band in self.images.settings.drawn_bands():
            if band not in bands:
                raise ValueError(
                    f"images: {self.images.recipe} draws band {band!r}, which is not among "
                    f"cutouts.bands {','.join(bands)}"
                )

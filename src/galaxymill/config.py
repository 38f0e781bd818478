"""The config: frozen models that say what may stand in it, and refuse the rest."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from galaxymill.catalog.settings import CatalogSettings
from galaxymill.downloads.settings import DownloadSettings, FileName
from galaxymill.errors import UserError, unknown_name
from galaxymill.images.recipes import RECIPES, WAYS_OUT, differences, domain
from galaxymill.images.settings import RecipeSettings
from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.settings import Labels
from galaxymill.models.settings import TrainSettings
from galaxymill.rates import Rates
from galaxymill.release.settings import ReleaseSettings
from galaxymill.settings import Choice, Name, Settings, Strict, explain
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.surveys.base import ServiceSettings
from galaxymill.surveys.registry import SERVICES
from galaxymill.trees.tree import find_tree, load_tree, tree_path
from galaxymill.web.network import Network

_DOWNLOADS = Path("results/downloads")


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

    service: str = Field(description="a service")
    settings: ServiceSettings

    def to_flags(self) -> str:
        """Spell what changes the cutouts for the command line."""
        return f"--service {self.service} {self.settings.to_flags()}"

    @model_validator(mode="before")
    @classmethod
    def _from_registry(cls, plain: Any) -> dict[str, Any]:
        return cls.pick(plain, "service", SERVICES)


class Images(Choice):
    """A recipe by name, with its settings beside the name."""

    recipe: str = Field(description="a recipe")
    settings: RecipeSettings

    def to_flags(self) -> str:
        """Spell what changes the images for the command line."""
        return f"--recipe {self.recipe} {self.settings.to_flags()}"

    def plan_flags(self) -> str:
        """Spell what a plan asks of the images for the command line."""
        return f"--image size={self.settings.size} --image format={self.settings.format}"

    @property
    def version(self) -> int:
        """Version of the recipe."""
        return RECIPES[self.recipe].version

    @model_validator(mode="before")
    @classmethod
    def _from_registry(cls, plain: Any) -> dict[str, Any]:
        return cls.pick(plain, "recipe", RECIPES)


class Survey(Strict):
    """A catalogue of positions and a source of cutouts."""

    catalog: Catalog
    partitions: Partitions = Partitions()
    cutouts: Cutouts
    images: Images

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
    def _columns_are_there(self) -> Self:
        scale_by_radius = self.cutouts.settings.pixel_scale == "gz_decals"
        needed = ["petro_r50", "petro_r90"] if scale_by_radius else []
        if self.cutouts.service == "files":
            needed += self._file_columns()
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
                "sends FITS; choose asinh, decals, euclid, hsc or lupton"
            )
        if self.cutouts.settings.zero_point is None:
            raise ValueError(
                f"images.recipe: {self.images.recipe} needs fluxes of a known zero point; give "
                "cutouts.zero_points, or choose pictures and passthrough"
            )
        self._bands_are_drawn()

    def _file_columns(self) -> list[str]:
        """Check that several columns of paths are one a band, and tell whether one is needed."""
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


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Model(Strict):
    """A model: what it learns from and how."""

    labels: Annotated[tuple[Name, ...], BeforeValidator(_several)] = Field(
        description="labels of this config; several are learned jointly", min_length=1
    )
    train: TrainSettings


class Release(ReleaseSettings):
    """A catalogue to publish: one survey seen by one model."""

    survey: Name = Field(description="a survey of this config")
    model: Name = Field(description="a model of this config")
    predict: PredictSettings = PredictSettings()

    def settings(self) -> ReleaseSettings:
        """All that is the release's own."""
        return ReleaseSettings(**self.model_dump(exclude={"survey", "model", "predict"}))


class Config(Strict):
    """Everything that a run needs to know."""

    downloads: dict[FileName, DownloadSettings] = Field(
        {}, description="files to download, by name; others name them as results/downloads/NAME"
    )
    simulations: dict[Name, SimulationSettings] = Field({}, description="skies to make")
    surveys: dict[Name, Survey] = Field({}, description="surveys by name")
    labels: dict[Name, Labels] = Field({}, description="labelled sets by name")
    models: dict[Name, Model] = Field({}, description="models by name")
    releases: dict[Name, Release] = Field({}, description="releases by name")
    network: dict[str, Network] = Field(
        {}, description="limits by service; changing them runs nothing again"
    )
    rates: Rates = Field(Rates(), description="how fast your machines are; only a plan asks")

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for place, name, among in self._references():
            if name not in among:
                kind = "service" if among is SERVICES else place.rsplit(".", 1)[-1]
                raise ValueError(str(unknown_name(place, name, among, kind)))
        for name, release in self.releases.items():
            ours = self.survey_domain(release.survey)
            theirs = [self.label_domain(one) for one in self.models[release.model].labels]
            if ours not in theirs and not release.predict.allow_domain_shift:
                told = differences(theirs[0], ours, "{}: model {!r}, survey {!r}")
                raise ValueError(
                    f"releases.{name}: model {release.model} learned from other images than those "
                    f"of {release.survey}: {told}. {WAYS_OUT}"
                )
        seen: dict[tuple[str, str], tuple[str, PredictSettings]] = {}
        for name, release in self.releases.items():
            key = (release.survey, release.model)
            other, settings = seen.setdefault(key, (name, release.predict))
            if settings != release.predict:
                raise ValueError(f"releases.{name}.predict: must equal that of {other}")
        return self

    def _references(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for name, labels in self.labels.items():
            if labels.images.survey is not None:
                yield f"labels.{name}.images.survey", labels.images.survey, self.surveys
        for name, model in self.models.items():
            for one in model.labels:
                yield f"models.{name}.labels", one, self.labels
        for name, release in self.releases.items():
            yield f"releases.{name}.survey", release.survey, self.surveys
            yield f"releases.{name}.model", release.model, self.models
        for service in self.network:
            yield f"network.{service}", service, SERVICES

    def operational_flags(self, survey: str) -> str:
        """Spell for the command line how a survey is fetched: what changes no product."""
        settings = self.surveys[survey].cutouts.settings
        return f"{settings.operational_flags()} {self.limits(survey).limit_flags()}"

    def limits(self, survey: str) -> Network:
        """Limits of the service that a survey's cutouts come from, for all jobs together."""
        return self.network.get(self.surveys[survey].cutouts.service, Network())

    def image_surveys(self, model: str) -> list[str | None]:
        """Surveys whose images a model learns from, by its labels; None for a folder of files."""
        return [self.labels[name].images.survey for name in self.models[model].labels]

    def survey_domain(self, survey: str) -> dict[str, Any]:
        """What kind of images a survey has."""
        images = self.surveys[survey].images
        return domain(survey, images.recipe, images.settings)

    def label_domain(self, labels: str) -> dict[str, Any]:
        """What kind of images a model learns from by a labelled set."""
        images = self.labels[labels].images
        if images.survey is not None:
            return self.survey_domain(images.survey)
        return domain(labels, "passthrough", images)

    def hosts(self) -> dict[str, int]:
        """Hosts that are asked, and how many jobs may ask each of them at once."""
        jobs: dict[str, int] = {}
        for name, survey in self.surveys.items():
            host = survey.cutouts.settings.host
            limit = self.limits(name).jobs
            if host:
                jobs[host] = min(limit, jobs.get(host, limit))
        return jobs

    def predict_settings(self, survey: str, model: str) -> PredictSettings:
        """Give the settings that the releases of a survey by a model share."""
        for release in self.releases.values():
            if (release.survey, release.model) == (survey, model):
                return release.predict
        return PredictSettings()

    def tree_path(self, labels: str, trees: Path) -> Path | None:
        """Path of the tree file of a labelled set; ``trees`` holds those known by name.

        None for classes and numbers.
        """
        tree = self.labels[labels].tree
        if tree is None:
            return None
        return tree_path(tree, trees)


def load_config(plain: Mapping[str, Any], place: str, trees: Path) -> Config:
    """Check a config and every file it names.

    Parameters
    ----------
    plain : mapping
        As read from YAML.
    place : str
        The config file, to name in errors.
    trees : Path
        Folder of the trees known by name.

    Returns
    -------
    Config

    Raises
    ------
    UserError
        With place, value and allowed values of everything that is wrong.
    """
    if not plain:
        raise UserError(f"{place}: the config is empty; config/README.md says what may stand in it")
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        raise UserError(f"{place}: {explain(error, Config)}") from error
    for key, path in input_files(config):
        if path.parent == _DOWNLOADS and path.name not in config.downloads:
            raise UserError(
                f"{place}: {key}: {path}: the config downloads no such file; downloads has: "
                f"{', '.join(sorted(config.downloads)) or 'none'}"
            )
        if not path.is_file() and not is_made(config, path):
            raise UserError(f"{place}: {key}: no such file: {path} (looked in {Path.cwd()})")
    for key, folder in input_folders(config):
        if not folder.is_dir():
            raise UserError(f"{place}: {key}: no such folder: {folder} (looked in {Path.cwd()})")
    for name, labels in config.labels.items():
        if labels.tree is not None:
            load_tree(find_tree(labels.tree, trees, f"{place}: labels.{name}.tree"))
    return config


def input_folders(config: Config) -> Iterator[tuple[str, Path]]:
    """List the folders that a config names, each with its key."""
    for name, survey in config.surveys.items():
        folder = getattr(survey.cutouts.settings, "folder", None)
        if folder is not None:
            yield f"surveys.{name}.cutouts.folder", Path(folder)
    for name, labels in config.labels.items():
        if labels.images.folder is not None:
            yield f"labels.{name}.images.folder", labels.images.folder


def input_files(config: Config) -> Iterator[tuple[str, Path]]:
    """List the files that a config names, each with its key; see `is_made`."""
    for name, survey in config.surveys.items():
        yield f"surveys.{name}.catalog.path", survey.catalog.path
        for key, path in survey.cutouts.settings.input_files().items():
            yield f"surveys.{name}.cutouts.{key}", path
    for name, labels in config.labels.items():
        for path in labels.votes:
            yield f"labels.{name}.votes", path
        for key, path in labels.settings.input_files().items():
            yield f"labels.{name}.{key}", path
    for name, model in config.models.items():
        if model.train.weights_file:
            yield f"models.{name}.train.weights", model.train.weights_file


def model_file(name: str) -> Path:
    """Path of a model that the workflow makes."""
    return Path(f"results/models/{name}/model.yaml")


def is_made(config: Config, path: Path) -> bool:
    """Tell whether the workflow makes this file: a download, a simulated sky's table, a model."""
    if path.parent == _DOWNLOADS:
        return path.name in config.downloads
    if path in map(model_file, config.models):
        return True
    made = {f"results/simulations/{name}" for name in config.simulations}
    tables = ("catalog.parquet", "truth.parquet", "votes.parquet")
    return str(path.parent) in made and path.name in tables

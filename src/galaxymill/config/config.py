"""The config: frozen models that say what may stand in it, and refuse the rest."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from galaxymill.config.detectability import Detectability, detectability_refusals
from galaxymill.config.models import AnyModel, several
from galaxymill.config.observed import (
    add_sources,
    observed,
    observed_refusals,
    pixels,
    synthetic,
    with_sources,
)
from galaxymill.config.refusals import refusals
from galaxymill.config.rounds import Round, add_rounds, round_refusals
from galaxymill.config.survey import Survey
from galaxymill.downloads.settings import DownloadSettings, FileName
from galaxymill.explorer.settings import ExplorerSettings
from galaxymill.images.domains import Sight, domain
from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.settings import Files, Labels
from galaxymill.rates import Rates
from galaxymill.release.settings import ReleaseSettings
from galaxymill.search.settings import SearchSettings
from galaxymill.settings import Name, Strict
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.surveys.telescope import Telescope
from galaxymill.trees.tree import tree_path
from galaxymill.web.network import Network


class Prediction(PredictSettings):
    """Predictions of a model for every galaxy of a survey, with their settings."""

    survey: Name = Field(description="a survey of this config")
    model: Name = Field(description="a model of this config")

    def settings(self) -> PredictSettings:
        """How it is predicted."""
        return PredictSettings(**self.model_dump(exclude={"survey", "model"}))


class Space(SpaceSettings):
    """A space of features: fitted to the embeddings of one prediction."""

    predictions: Name = Field(description="a prediction of this config that keeps its embeddings")

    def settings(self) -> SpaceSettings:
        """How it is fitted."""
        return SpaceSettings(**self.model_dump(exclude={"predictions"}))


class Search(SearchSettings):
    """A search that is a target: in a space, the galaxies most like some others."""

    space: Name = Field(description="a space of this config")

    def settings(self) -> SearchSettings:
        """What is looked for, and how."""
        return SearchSettings(**self.model_dump(exclude={"space"}))


class Interest(Strict):
    """What people find interesting: learned from their ratings, and predicted for every galaxy."""

    space: Name = Field(description="a space of this config, whose features it learns from")
    ratings: Files = Field(
        min_length=1,
        description="table or list of tables of ratings; `galaxymill rate` writes the first",
    )


class Release(ReleaseSettings):
    """A catalogue to publish: one or several predictions of one survey."""

    predictions: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        description="one or several predictions of this config, all of one survey", min_length=1
    )
    maps: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        (), description="spaces of the same survey, whose maps are columns of the release"
    )
    interests: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        (), description="interests of this config, of the same survey, that are columns of it"
    )

    detectability: Name | None = Field(
        None, description="a detectability of this config, whose columns the release has"
    )

    def settings(self) -> ReleaseSettings:
        """All that is the release's own."""
        others = {"predictions", "maps", "interests", "detectability"}
        return ReleaseSettings(**self.model_dump(exclude=others))


class Explorer(ExplorerSettings):
    """A page to look at a release, which opens from a folder."""

    release: Name = Field(description="a release of this config")
    maps: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        (), description="spaces of this config, of the same survey; the first says who is alike"
    )

    def settings(self) -> ExplorerSettings:
        """What it shows of each galaxy."""
        return ExplorerSettings(**self.model_dump(exclude={"release", "maps"}))


@dataclass(frozen=True)
class Evaluation:
    """A model as it predicts, to be compared with labels."""

    model: str
    settings: PredictSettings


class Config(Strict):
    """Everything that a run needs to know."""

    downloads: dict[FileName, DownloadSettings] = Field(
        {}, description="files to download, by name; others name them as results/downloads/NAME"
    )
    simulations: dict[Name, SimulationSettings] = Field({}, description="skies to make")
    surveys: dict[Name, Survey] = Field({}, description="surveys by name")
    labels: dict[Name, Labels] = Field({}, description="labelled sets by name")
    models: dict[Name, AnyModel] = Field({}, description="models by name")
    predictions: dict[Name, Prediction] = Field({}, description="predictions by name")
    spaces: dict[Name, Space] = Field({}, description="spaces of features by name")
    searches: dict[Name, Search] = Field({}, description="searches by name")
    interests: dict[Name, Interest] = Field({}, description="what people find interesting, by name")
    detectability: dict[Name, Detectability] = Field(
        {}, description="how much of each answer is still seen farther away, by name"
    )
    releases: dict[Name, Release] = Field({}, description="releases by name")
    explorers: dict[Name, Explorer] = Field({}, description="explorers by name")
    rounds: dict[Name, Round] = Field({}, description="rounds of asking volunteers, by name")
    network: dict[str, Network] = Field(
        {}, description="limits by service; changing them runs nothing again"
    )
    rates: Rates = Field(Rates(), description="how fast your machines are; only a plan asks")

    @model_validator(mode="before")
    @classmethod
    def _observed_as_their_source(cls, plain: Any) -> Any:
        return with_sources(plain)

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        add_sources(self)
        for key, why in (*observed_refusals(self), *round_refusals(self)):
            raise ValueError(f"{key}: {why}" if key else why)
        add_rounds(self)
        for key, why in chain(refusals(self), detectability_refusals(self)):
            raise ValueError(f"{key}: {why}" if key else why)
        return self

    def search_prediction(self, search: str) -> str:
        """Prediction that the space of a search is of."""
        return self.spaces[self.searches[search].space].predictions

    def space_survey(self, space: str) -> str:
        """Survey that a space is of."""
        return self.predictions[self.spaces[space].predictions].survey

    def interest_survey(self, interest: str) -> str:
        """Survey whose galaxies are rated."""
        return self.space_survey(self.interests[interest].space)

    def release_survey(self, release: str) -> str:
        """Survey that a release is of."""
        return self.predictions[self.releases[release].predictions[0]].survey

    def is_tested(self, model: str) -> bool:
        """Whether a model's labels keep galaxies for a test, or it is cross-validated."""
        kept = any(self.labels[name].splits.test > 0 for name in self.models[model].labels)
        return kept or getattr(self.models[model].network, "folds", 0) > 0

    def evaluation_name(self, prediction: str) -> str:
        """Name of the evaluation of a model as a prediction uses it.

        It is the model's, but the prediction's where the model's predictions differ in posterior.
        """
        chosen = self.predictions[prediction]
        same = [one for one in self.predictions.values() if one.model == chosen.model]
        alike = all(one.posterior() == chosen.posterior() for one in same)
        return chosen.model if alike else prediction

    def evaluations(self) -> dict[str, Evaluation]:
        """Name the evaluations: of each model that is tested, as each of its predictions is made.

        A model that predicts nothing is evaluated with the default settings.
        """
        found = {
            self.evaluation_name(name): Evaluation(one.model, one.settings().as_evaluated())
            for name, one in self.predictions.items()
        }
        seen = {one.model for one in found.values()}
        found |= {name: Evaluation(name, PredictSettings()) for name in self.models.keys() - seen}
        return {name: one for name, one in sorted(found.items()) if self.is_tested(one.model)}

    def operational_flags(self, survey: str) -> str:
        """Spell for the command line how a survey is fetched: what changes no product."""
        settings = self.surveys[survey].cutouts.settings
        return f"{settings.operational_flags()} {self.limits(survey).to_flags('--network')}"

    def limits(self, survey: str) -> Network:
        """Limits of the service that a survey's cutouts come from, for all jobs together."""
        return self.network.get(self.surveys[survey].cutouts.service, Network())

    def telescope(self, survey: str) -> Telescope | None:
        """Telescope that a survey's images are of; of an observed one that which it shows."""
        shown = observed(self).get(survey) or synthetic(self).get(survey)
        return self.surveys[survey].telescope if shown is None else shown.target

    def image_surveys(self, model: str) -> list[str | None]:
        """Surveys whose images a model learns from, by its labels; None for a folder of files."""
        return [self.labels[name].images.survey for name in self.models[model].labels]

    def survey_domain(self, survey: str) -> dict[str, Any]:
        """What kind of images a survey has."""
        images = self.surveys[survey].images
        return domain(survey, images.recipe, images.settings, self.sight(survey))

    def sight(self, survey: str) -> Sight | None:
        """How well a survey shows the sky in the bands that are drawn; None if not known."""
        telescope, images = self.telescope(survey), self.surveys[survey].images.settings
        if telescope is None:
            return None
        drawn = images.drawn_bands() or self.surveys[survey].cutouts.settings.bands
        seeing, depth = (
            {band: value for band, value in given.items() if band in drawn}
            for given in (telescope.seeing, telescope.depth)
        )
        pixel_scale, size = pixels(self, survey)
        return Sight(seeing=seeing, depth=depth, pixel_scale=pixel_scale, size=size)

    def image_flags(self, survey: str) -> str:
        """Spell for the command line how a survey's images are drawn, and what they show."""
        images, sight = self.surveys[survey].images.to_flags(), self.sight(survey)
        return f"{images} {sight.to_flags('--sight')}" if sight else images

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

    def tree_path(self, labels: str, trees: Path) -> Path | None:
        """Path of the tree file of labels, maybe in ``trees``; None for classes and numbers."""
        tree = self.labels[labels].tree
        return None if tree is None else tree_path(tree, trees)

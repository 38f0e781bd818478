"""The config: frozen models that say what may stand in it, and refuse the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from galaxymill.config.models import AnyModel, several
from galaxymill.config.probes import check_probes
from galaxymill.config.survey import Survey
from galaxymill.downloads.settings import DownloadSettings, FileName
from galaxymill.errors import unknown_name
from galaxymill.explorer.settings import ExplorerSettings
from galaxymill.images.recipes import WAYS_OUT, differences, domain
from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.settings import Labels
from galaxymill.rates import Rates
from galaxymill.release.settings import ReleaseSettings
from galaxymill.search.settings import SearchSettings
from galaxymill.settings import Name, Strict
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.surveys.registry import SERVICES
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


class Release(ReleaseSettings):
    """A catalogue to publish: one or several predictions of one survey."""

    predictions: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        description="one or several predictions of this config, all of one survey", min_length=1
    )
    maps: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        (), description="spaces of the same survey, whose maps are columns of the release"
    )

    def settings(self) -> ReleaseSettings:
        """All that is the release's own."""
        return ReleaseSettings(**self.model_dump(exclude={"predictions", "maps"}))


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
    releases: dict[Name, Release] = Field({}, description="releases by name")
    explorers: dict[Name, Explorer] = Field({}, description="explorers by name")
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
        return self

    @model_validator(mode="after")
    def _predictions_see_known_images(self) -> Self:
        for name, prediction in self.predictions.items():
            ours = self.survey_domain(prediction.survey)
            theirs = [self.label_domain(one) for one in self.models[prediction.model].labels]
            # An encoder alone has learned from no labelled images.
            if theirs and ours not in theirs and not prediction.allow_domain_shift:
                listed = differences(theirs[0], ours, "{}: model {!r}, survey {!r}")
                raise ValueError(
                    f"predictions.{name}: model {prediction.model} learned from other images than "
                    f"those of {prediction.survey}: {listed}. {WAYS_OUT}"
                )
        return self

    @model_validator(mode="after")
    def _releases_are_of_one_survey(self) -> Self:
        for name, release in self.releases.items():
            surveys = {one: self.predictions[one].survey for one in release.predictions}
            if len(set(surveys.values())) > 1:
                listed = ", ".join(f"{one} of {survey}" for one, survey in surveys.items())
                raise ValueError(
                    f"releases.{name}.predictions: {listed}; a release is of one survey: make one "
                    "release a survey"
                )
            for key in ("predictions", "maps"):
                names = getattr(release, key)
                if len(set(names)) < len(names):
                    raise ValueError(f"releases.{name}.{key}: one is named twice")
        return self

    @model_validator(mode="after")
    def _evaluations_have_names_of_their_own(self) -> Self:
        for name, prediction in self.predictions.items():
            called = self.evaluation_name(name)
            if called in self.models and called != prediction.model:
                raise ValueError(
                    f"predictions.{name}: has the name of another model, and its model "
                    f"{prediction.model} predicts with several samples or views, so that both "
                    "evaluations would have that name; rename the prediction"
                )
        return self

    @model_validator(mode="after")
    def _spaces_have_embeddings(self) -> Self:
        for name, space in self.spaces.items():
            model = self.predictions[space.predictions].model
            if self.models[model].probe:
                raise ValueError(
                    f"spaces.{name}: prediction {space.predictions} is of probe {model}, which has "
                    "no embeddings; name a prediction of a network"
                )
            if "embeddings" not in self.predictions[space.predictions].keep:
                raise ValueError(
                    f"spaces.{name}: prediction {space.predictions} keeps no embeddings; add "
                    "embeddings to its keep"
                )
        return self

    @model_validator(mode="after")
    def _explorers_are_of_one_survey(self) -> Self:
        for name, explorer in self.explorers.items():
            survey = self.release_survey(explorer.release)
            for space in explorer.maps:
                other = self.predictions[self.spaces[space].predictions].survey
                if other != survey:
                    raise ValueError(
                        f"explorers.{name}.maps: {space} is of survey {other}, but release "
                        f"{explorer.release} of {survey}; name spaces of that survey"
                    )
        return self

    def _searches_have_positions(self) -> Self:
        for name, search in self.searches.items():
            survey = self.predictions[self.spaces[search.space].predictions].survey
            asks = "position" if search.position else "distinct" if search.distinct else ""
            if asks and not self.surveys[survey].catalog.positions:
                raise ValueError(
                    f"searches.{name}.{asks}: the galaxies of survey {survey} have no positions"
                )
        return self

    @model_validator(mode="after")
    def _released_maps_are_of_the_survey(self) -> Self:
        for name, release in self.releases.items():
            ours = self.predictions[release.predictions[0]].survey
            for one in release.maps:
                space = self.spaces[one]
                other = self.predictions[space.predictions].survey
                if other != ours or not space.maps:
                    why = "has no maps" if not space.maps else f"is of survey {other}"
                    raise ValueError(
                        f"releases.{name}.maps: space {one} {why}; name spaces with maps of "
                        f"{ours}, the release's survey"
                    )
        return self

    @model_validator(mode="after")
    def _probes_have_features(self) -> Self:
        check_probes(self)
        return self

    def _references(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for name, labels in self.labels.items():
            if labels.images.survey is not None:
                yield f"labels.{name}.images.survey", labels.images.survey, self.surveys
        for name, model in self.models.items():
            for one in model.labels:
                yield f"models.{name}.labels", one, self.labels
            if model.probe:
                yield f"models.{name}.train.features", model.probe.features, self.spaces
        for name, prediction in self.predictions.items():
            yield f"predictions.{name}.survey", prediction.survey, self.surveys
            yield f"predictions.{name}.model", prediction.model, self.models
        for name, space in self.spaces.items():
            yield f"spaces.{name}.predictions", space.predictions, self.predictions
        for name, search in self.searches.items():
            yield f"searches.{name}.space", search.space, self.spaces
        for name, release in self.releases.items():
            for one in release.predictions:
                yield f"releases.{name}.predictions", one, self.predictions
        for name, explorer in self.explorers.items():
            yield f"explorers.{name}.release", explorer.release, self.releases
            for one in explorer.maps:
                yield f"explorers.{name}.maps", one, self.spaces
            for one in release.maps:
                yield f"releases.{name}.maps.spaces", one, self.spaces
        for service in self.network:
            yield f"network.{service}", service, SERVICES

    def search_prediction(self, search: str) -> str:
        """Prediction that the space of a search is of."""
        return self.spaces[self.searches[search].space].predictions

    def space_survey(self, space: str) -> str:
        """Survey that a space is of."""
        return self.predictions[self.spaces[space].predictions].survey

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

    def tree_path(self, labels: str, trees: Path) -> Path | None:
        """Path of the tree file of labels, maybe in ``trees``; None for classes and numbers."""
        tree = self.labels[labels].tree
        return None if tree is None else tree_path(tree, trees)

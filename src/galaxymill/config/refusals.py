"""What of a config cannot be done, by the config alone: found when it is read."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from galaxymill.errors import unknown_name
from galaxymill.images.domains import WAYS_OUT, alike, differences
from galaxymill.labels.formats import FORMATS
from galaxymill.models.settings import TrainSettings
from galaxymill.surveys.registry import SERVICES

if TYPE_CHECKING:
    from galaxymill.config.config import Config

Refusals = Iterator[tuple[str, str]]
"""The key of each fault, and why it is one."""

_OF_IMAGES = ("samples", "views", "keep_views", "precision", "batch_size", "compile", "device")
"""Settings of a prediction that say how images go through a network."""


def refusals(config: "Config") -> Refusals:
    """All that is wrong; what comes later takes for granted that what comes first is right."""
    for place, name, among in _references(config):
        if name not in among:
            kind = "service" if among is SERVICES else place.rsplit(".", 1)[-1]
            yield "", str(unknown_name(place, name, among, kind))
    yield from _of_counts(config)
    yield from _of_predictions(config)
    yield from _of_probes(config)
    yield from _of_spaces(config)
    yield from _of_releases(config)
    yield from _of_explorers(config)


def _references(config: "Config") -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each name that a config refers to: the key, the name, and what it must be one of."""
    for name, labels in config.labels.items():
        if labels.images.survey is not None:
            yield f"labels.{name}.images.survey", labels.images.survey, config.surveys
    for name, model in config.models.items():
        for one in model.labels:
            yield f"models.{name}.labels", one, config.labels
        if model.probe:
            yield f"models.{name}.train.features", model.probe.features, config.spaces
    for name, prediction in config.predictions.items():
        yield f"predictions.{name}.survey", prediction.survey, config.surveys
        yield f"predictions.{name}.model", prediction.model, config.models
    for name, space in config.spaces.items():
        yield f"spaces.{name}.predictions", space.predictions, config.predictions
    for name, search in config.searches.items():
        yield f"searches.{name}.space", search.space, config.spaces
    for name, interest in config.interests.items():
        yield f"interests.{name}.space", interest.space, config.spaces
    for name, release in config.releases.items():
        for one in release.interests:
            yield f"releases.{name}.interests", one, config.interests
        for one in release.predictions:
            yield f"releases.{name}.predictions", one, config.predictions
        for one in release.maps:
            yield f"releases.{name}.maps.spaces", one, config.spaces
    for name, explorer in config.explorers.items():
        yield f"explorers.{name}.release", explorer.release, config.releases
        for one in explorer.maps:
            yield f"explorers.{name}.maps", one, config.spaces
    for name, own in config.rounds.items():
        if own.diverse:
            yield f"rounds.{name}.diverse", own.diverse, config.spaces
    for service in config.network:
        yield f"network.{service}", service, SERVICES


def _of_counts(config: "Config") -> Refusals:
    """Models of individuals whose labels do not say who answered."""
    for name, model in config.models.items():
        network = model.network
        if isinstance(network, TrainSettings) and network.counts == "individuals":
            for one in model.labels:
                if not config.labels[one].has_individuals:
                    kinds = ", ".join(kind for kind, entry in FORMATS.items() if entry.individuals)
                    yield (
                        f"models.{name}.train.counts",
                        f"labels {one} of format {config.labels[one].format} do not say who gave "
                        f"which answer; allowed: labels of format {kinds}, or counts: votes",
                    )


def _of_predictions(config: "Config") -> Refusals:
    """Images that a model has not learned from; two evaluations of one name."""
    for name, prediction in config.predictions.items():
        ours = config.survey_domain(prediction.survey)
        theirs = [config.label_domain(one) for one in config.models[prediction.model].labels]
        # An encoder alone has learned from no labelled images.
        shifted = theirs and not any(alike(each, ours) for each in theirs)
        if shifted and not prediction.allow_domain_shift:
            listed = differences(theirs[0], ours, "{}: model {!r}, survey {!r}")
            yield (
                f"predictions.{name}",
                f"model {prediction.model} learned from other images than those of "
                f"{prediction.survey}: {listed}. {WAYS_OUT}",
            )
        called = config.evaluation_name(name)
        if called in config.models and called != prediction.model:
            yield (
                f"predictions.{name}",
                f"has the name of another model, and its model {prediction.model} predicts with "
                "several samples or views, so that both evaluations would have that name; rename "
                "the prediction",
            )


def _of_probes(config: "Config") -> Refusals:
    """Probes whose galaxies have no features, and what is asked of one as if of a network."""
    probes = {name: model.probe for name, model in config.models.items() if model.probe}
    for name, probe in probes.items():
        survey = config.space_survey(probe.features)
        for labels in config.models[name].labels:
            other = config.labels[labels].images.survey
            if other != survey:
                which = f"of survey {other}" if other else "in a folder"
                yield (
                    f"models.{name}",
                    f"space {probe.features} is of survey {survey}, but the images of labels "
                    f"{labels} are {which}; give labels of galaxies of {survey}",
                )
    for name, model in config.models.items():
        file = model.network.weights_file
        if file and file.parent.name in probes and file.parent.parent.name == "models":
            key = f"models.{name}{'.train' if model.labels else ''}.weights"
            yield key, f"{file} is a probe: it has no encoder to start from"
    for name, prediction in config.predictions.items():
        if prediction.model not in probes:
            continue
        features = probes[prediction.model].features
        survey = config.space_survey(features)
        if prediction.survey != survey:
            yield (
                f"predictions.{name}.survey",
                f"{prediction.survey}, but probe {prediction.model} takes the features of space "
                f"{features}, which is of {survey}",
            )
        for given in prediction.model_dump(include=set(_OF_IMAGES), exclude_defaults=True):
            key = f"predictions.{name}.{given}"
            yield key, "a probe sees features, not images; leave it away"


def _of_spaces(config: "Config") -> Refusals:
    """Spaces of predictions without embeddings, searches by positions that there are not."""
    for name, space in config.spaces.items():
        model = config.predictions[space.predictions].model
        if config.models[model].probe:
            yield (
                f"spaces.{name}",
                f"prediction {space.predictions} is of probe {model}, which has no embeddings; "
                "name a prediction of a network",
            )
        if "embeddings" not in config.predictions[space.predictions].keep:
            yield (
                f"spaces.{name}",
                f"prediction {space.predictions} keeps no embeddings; add embeddings to its keep",
            )
    for name, search in config.searches.items():
        survey = config.space_survey(search.space)
        asks = "position" if search.position else "distinct" if search.distinct else ""
        if asks and not config.surveys[survey].catalog.positions:
            key = f"searches.{name}.{asks}"
            yield key, f"the galaxies of survey {survey} have no positions"


def _of_releases(config: "Config") -> Refusals:
    """Releases of several surveys, or with maps or interests of another."""
    for name, release in config.releases.items():
        surveys = {one: config.predictions[one].survey for one in release.predictions}
        if len(set(surveys.values())) > 1:
            listed = ", ".join(f"{one} of {survey}" for one, survey in surveys.items())
            yield (
                f"releases.{name}.predictions",
                f"{listed}; a release is of one survey: make one release a survey",
            )
        for key in ("predictions", "maps", "interests"):
            names = getattr(release, key)
            if len(set(names)) < len(names):
                yield f"releases.{name}.{key}", "one is named twice"
        ours = config.release_survey(name)
        for one in release.maps:
            other, maps = config.space_survey(one), config.spaces[one].maps
            if other != ours or not maps:
                why = "has no maps" if not maps else f"is of survey {other}"
                yield (
                    f"releases.{name}.maps",
                    f"space {one} {why}; name spaces with maps of {ours}, the release's survey",
                )
        for one in release.interests:
            other = config.interest_survey(one)
            if other != ours:
                yield (
                    f"releases.{name}.interests",
                    f"{one} is of survey {other}; name interests of {ours}, the release's survey",
                )


def _of_explorers(config: "Config") -> Refusals:
    """Explorers with spaces of another survey."""
    for name, explorer in config.explorers.items():
        survey = config.release_survey(explorer.release)
        for space in explorer.maps:
            other = config.space_survey(space)
            if other != survey:
                yield (
                    f"explorers.{name}.maps",
                    f"{space} is of survey {other}, but release {explorer.release} of {survey}; "
                    "name spaces of that survey",
                )

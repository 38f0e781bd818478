"""What of a config no probe can do, found when it is read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxymill.config.config import Config

_OF_IMAGES = ("samples", "views", "keep_views", "precision", "batch_size", "compile", "device")
"""Settings of a prediction that say how images go through a network."""


def check_probes(config: "Config") -> None:
    """Refuse probes whose galaxies have no features; the ValueError names key and way out."""
    for problem in _problems(config):
        raise ValueError(problem)


def _problems(config: "Config") -> Iterator[str]:
    probes = {name: model.probe for name, model in config.models.items() if model.probe}
    for name, probe in probes.items():
        survey = config.space_survey(probe.features)
        for labels in config.models[name].labels:
            other = config.labels[labels].images.survey
            if other != survey:
                which = f"of survey {other}" if other else "in a folder"
                yield (
                    f"models.{name}: space {probe.features} is of survey {survey}, but the images "
                    f"of labels {labels} are {which}; give labels of galaxies of {survey}"
                )
    for name, model in config.models.items():
        file = model.network.weights_file
        if file and file.parent.name in probes and file.parent.parent.name == "models":
            place = f"models.{name}{'.train' if model.labels else ''}.weights"
            yield f"{place}: {file} is a probe: it has no encoder to start from"
    for name, prediction in config.predictions.items():
        if prediction.model not in probes:
            continue
        features = probes[prediction.model].features
        survey = config.space_survey(features)
        if prediction.survey != survey:
            yield (
                f"predictions.{name}.survey: {prediction.survey}, but probe {prediction.model} "
                f"takes the features of space {features}, which is of {survey}"
            )
        given = prediction.model_dump(include=set(_OF_IMAGES), exclude_defaults=True)
        if given:
            yield (
                f"predictions.{name}.{next(iter(given))}: a probe sees features, not images; leave "
                "it away"
            )

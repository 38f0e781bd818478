"""What the predictions of a config cost, for a plan."""

import shlex
from pathlib import Path

from galaxymill.config.config import Config
from galaxymill.config.known_tasks import known_task
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.rates import ModelUse
from galaxymill.settings import spell

_FLOAT_BYTES = 4
_EMBEDDING_BYTES = ModelUse().embedding_bytes
_UNKNOWN_VALUES = 8
"""Columns of classes whose number only the file of labels says: few."""


def model_flags(config: Config, survey: str, trees: Path) -> str:
    """Spell the predictions of a survey, and what each one costs, for the command line."""
    words: list[str] = []
    for name, chosen in config.predictions.items():
        if chosen.survey == survey:
            use = model_use(config, name, trees).model_dump()
            values = (f"{key}={spell(value)}" for key, value in use.items())
            words += ["--prediction", " ".join([name, *values])]
    return shlex.join(words)


def model_use(config: Config, prediction: str, trees: Path) -> ModelUse:
    """Count what a prediction of the config costs; ``trees`` is the folder of the named trees."""
    chosen = config.predictions[prediction]
    network = config.models[chosen.model].network
    # A tree that several labelled sets share is learned once.
    tasks = {name: known_task(config, name, trees) for name in config.models[chosen.model].labels}
    unique = {str(task and task.to_dict()): task for task in tasks.values()}.values()
    columns = sum(len(task.summary_fields()) if task else _UNKNOWN_VALUES for task in unique)
    width = sum(task.sample_width()[0] if task else _UNKNOWN_VALUES for task in unique)
    length = 2 if chosen.pool == "mean_std" else 1
    kept = chosen.draws(network) * width if "samples" in chosen.keep else 0
    probe = isinstance(network, ProbeSettings)
    return ModelUse(
        # A probe takes features: thousands of times quicker than any encoder.
        passes=1 if probe else chosen.view_count(network) * network.networks,
        summary_bytes=_FLOAT_BYTES * (columns + kept),
        embedding_bytes=0
        if probe or "embeddings" not in chosen.keep
        else _EMBEDDING_BYTES * length,
        releases=tuple(n for n, one in config.releases.items() if prediction in one.predictions),
    )

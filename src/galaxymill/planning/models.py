"""What the predictions of a config cost, as far as a plan needs to know."""

import shlex
from pathlib import Path

from galaxymill.config.config import Config
from galaxymill.config.releases import known_task
from galaxymill.rates import ModelUse

_FLOAT_BYTES = 4
_UNKNOWN_VALUES = 8
"""Columns of classes whose number only the file of labels tells: few."""


def model_flags(config: Config, survey: str, trees: Path) -> str:
    """Spell for the command line the predictions of a survey, and what each one leaves."""
    names = [name for name, one in config.predictions.items() if one.survey == survey]
    return " ".join(_flags(name, model_use(config, name, trees)) for name in names)


def _flags(name: str, use: ModelUse) -> str:
    values = (f"{key}={value}" for key, value in use.model_dump().items())
    return f"--prediction {shlex.quote(' '.join([name, *values]))}"


def model_use(config: Config, prediction: str, trees: Path) -> ModelUse:
    """Tell what a prediction of the config costs.

    Parameters
    ----------
    config : Config
    prediction : str
        Its name there.
    trees : Path
        Folder of the trees known by name.
    """
    chosen = config.predictions[prediction]
    train = config.models[chosen.model].train
    # A tree that several labelled sets share is learned once.
    tasks = {name: known_task(config, name, trees) for name in config.models[chosen.model].labels}
    known = {str(task and task.to_dict()): task for task in tasks.values()}.values()
    columns = sum(len(task.summary_fields()) if task else _UNKNOWN_VALUES for task in known)
    width = sum(task.sample_width()[0] if task else _UNKNOWN_VALUES for task in known)
    kept = chosen.draws(train) * width if "samples" in chosen.keep else 0
    releases = [name for name, one in config.releases.items() if prediction in one.predictions]
    return ModelUse(
        passes=chosen.seen_views(train) * train.networks,
        summary_bytes=_FLOAT_BYTES * (columns + kept),
        embedding_bytes=ModelUse().embedding_bytes if "embeddings" in chosen.keep else 0,
        releases=len(releases),
    )

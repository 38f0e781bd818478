"""What the models of a config predict for a survey, as a plan needs it."""

import shlex
from pathlib import Path

from galaxymill.config import Config
from galaxymill.rates import ModelUse
from galaxymill.trees.tree import load_tree

_FLOAT_BYTES = 4
_COLUMNS_AN_ANSWER, _COLUMNS_A_QUESTION = 3, 3


def model_flags(config: Config, survey: str, trees: Path) -> str:
    """Give the command-line flags of the models that predict a survey."""
    models = dict.fromkeys(
        release.model for release in config.releases.values() if release.survey == survey
    )
    return " ".join(_flags(name, model_use(config, survey, name, trees)) for name in models)


def _flags(name: str, use: ModelUse) -> str:
    values = (f"{key}={value}" for key, value in use.model_dump().items())
    return f"--model {shlex.quote(' '.join([name, *values]))}"


def model_use(config: Config, survey: str, model: str, trees: Path) -> ModelUse:
    """Tell how a model of the config predicts a survey.

    Parameters
    ----------
    config : Config
    survey, model : str
        Names in it.
    trees : Path
        Folder of the trees known by name.
    """
    train = config.models[model].train
    settings = config.predict_settings(survey, model)
    sizes = [_columns(config, labels, trees) for labels in config.models[model].labels]
    answers, columns = max(sizes, key=lambda size: size[1])
    kept = settings.draws(train) * answers if "samples" in settings.keep else 0
    wanted = [(r.survey, r.model) for r in config.releases.values()]
    return ModelUse(
        passes=settings.seen_views(train) * train.networks,
        summary_bytes=_FLOAT_BYTES * (columns + kept),
        embedding_bytes=ModelUse().embedding_bytes if "embeddings" in settings.keep else 0,
        releases=wanted.count((survey, model)),
    )


def _columns(config: Config, labels: str, trees: Path) -> tuple[int, int]:
    """Answers of a labelled set, and columns that sum them up; of classes and numbers, few."""
    path = config.tree_path(labels, trees)
    if path is None:
        return 2, 4
    questions = load_tree(path).questions
    answers = sum(len(question.answers) for question in questions)
    return answers, _COLUMNS_AN_ANSWER * answers + _COLUMNS_A_QUESTION * len(questions)

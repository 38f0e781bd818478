"""A prediction of a release, as its documents and tables are given one."""

from pathlib import Path

from galaxymill.inference.settings import PredictSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard
from galaxymill.release.predictions import Prediction

DOMAIN = {"survey": "toy", "recipe": "decals"}


def a_prediction(task, draws=2, name="said", metrics=None, domain=None):
    """Say that a model of a task predicted everything."""
    origin = {"domain": domain or DOMAIN}
    card = ModelCard(task, TrainSettings(encoder="resnet18"), {}, "w" * 64, origin, {"train": 7})
    path, file = Path("models/toy/model.yaml"), Path("metrics.json") if metrics else None
    settings = PredictSettings()
    return Prediction(name, path, card, settings, metrics or {}, file, draws, task.sample_column)

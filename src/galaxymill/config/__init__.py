"""The config: frozen models that say what may stand in it, and refuse the rest."""

from galaxymill.config.config import Config, Model, Prediction, Release
from galaxymill.config.files import input_files, input_folders, is_made, load_config, model_file
from galaxymill.config.survey import Catalog, Cutouts, Images, Partitions, Survey

__all__ = [
    "Catalog",
    "Config",
    "Cutouts",
    "Images",
    "Model",
    "Partitions",
    "Prediction",
    "Release",
    "Survey",
    "input_files",
    "input_folders",
    "is_made",
    "load_config",
    "model_file",
]

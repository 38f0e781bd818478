"""A config as it is read, and the files that it names."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from galaxymill.config.config import Config
from galaxymill.config.known_tasks import check_models
from galaxymill.config.releases import check_explorers, check_releases
from galaxymill.config.rounds import added_names
from galaxymill.errors import UserError
from galaxymill.migrations import CONFIG, migrate
from galaxymill.settings import explain
from galaxymill.trees.tree import find_tree, load_tree

_DOWNLOADS = Path("results/downloads")


def load_config(plain: Mapping[str, Any], place: str, trees: Path) -> Config:
    """Check a config, as read from YAML, and every file it names.

    ``place`` is the config file, to name in errors; ``trees`` is the folder of the named trees.

    Raises
    ------
    UserError
        With place, value and allowed values of everything that is wrong.
    """
    if not plain:
        raise UserError(f"{place}: the config is empty; galaxymill init writes one to start from")
    try:
        config = Config.model_validate(migrate(plain, CONFIG, place))
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
    check_models(config, place, trees)
    check_releases(config, place, trees)
    check_explorers(config, place, trees)
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
    added = added_names(config.rounds)
    for name, survey in config.surveys.items():
        yield f"surveys.{name}.catalog.path", survey.catalog.path
        for key, path in survey.cutouts.settings.input_files().items():
            yield f"surveys.{name}.cutouts.{key}", path
    for name, rounds in config.rounds.items():
        for path in rounds.exports:
            yield f"rounds.{name}.exports", path
        for path in rounds.subjects:
            yield f"rounds.{name}.subjects", path
    for name, labels in config.labels.items():
        if name in added:
            continue
        for path in labels.votes:
            yield f"labels.{name}.votes", path
        for key, path in labels.settings.input_files().items():
            yield f"labels.{name}.{key}", path
    for name, model in config.models.items():
        if model.network.weights_file and name not in added:
            key = f"models.{name}{'.train' if model.labels else ''}.weights"
            yield key, model.network.weights_file
    for name, search in config.searches.items():
        for path in search.input_files():
            yield f"searches.{name}.{'table' if search.table else 'image'}", path
    for name in rated_interests(config):
        for path in config.interests[name].ratings:
            yield f"interests.{name}.ratings", path


def rated_interests(config: Config) -> list[str]:
    """List the interests that somebody has rated for; a new one has no ratings yet, as galaxies are
    looked at once they have features.
    """
    return [
        name
        for name, one in config.interests.items()
        if any(path.is_file() or is_made(config, path) for path in one.ratings)
    ]


def model_file(name: str) -> Path:
    """Path of a model that the workflow makes."""
    return Path(f"results/models/{name}/model.yaml")


def is_made(config: Config, path: Path) -> bool:
    """Whether the workflow makes this file: a download, a simulated sky's table, a model."""
    if path.parent == _DOWNLOADS:
        return path.name in config.downloads
    if path in map(model_file, config.models):
        return True
    made = {f"results/simulations/{name}" for name in config.simulations}
    tables = ("catalog.parquet", "truth.parquet", "votes.parquet")
    return str(path.parent) in made and path.name in tables

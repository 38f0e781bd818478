"""The part of a config that a release comes from, and the user's files that it names."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from galaxymill.config.config import Config
from galaxymill.config.files import input_files, input_folders, is_made, model_file
from galaxymill.config.observed import observed
from galaxymill.config.rounds import subjects_files
from galaxymill.migrations import CONFIG, migrate
from galaxymill.settings import Settings

Plain = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A release's part of the config and what of it changes products, as JSON; the user's files."""

    config: str
    settings: str
    files: list[Path]


def describe_run(plain: Mapping[str, Any], config: Config, release: str) -> Run:
    """Describe the run that a release comes from; see `closure`."""
    own = closure(plain, config, release)
    checked = Config.model_validate(own)
    settings = product_settings(checked)
    files = [path for _, path in own_files(checked) if path.is_file()]
    return Run(json.dumps(own), json.dumps(settings, sort_keys=True), files)


def closure(plain: Mapping[str, Any], config: Config, release: str) -> Plain:
    """Take from a config what one release needs: itself, its predictions and all they need.

    ``plain`` is the config as read from YAML, and so is what is given back. Contacts are left out.
    """
    plain = migrate(plain, CONFIG, "")
    chosen = config.releases[release]
    rated = {config.interests[one].space for one in chosen.interests}
    models, spaces = set[str](), {*chosen.maps, *rated}
    # Spaces may be of predictions that are not released themselves; others are compared.
    predictions = {*chosen.predictions, *(config.spaces[one].predictions for one in spaces)}
    told = chosen.detectability
    compared = [config.detectability[told]] if told else []
    predictions |= {p for one in compared for p in (one.near, *one.far) if p}
    waiting = list(predictions)
    while waiting:
        own = _models(config, config.predictions[waiting.pop()].model)
        models |= own
        # A probe stands on a space, and that on the prediction of a network.
        stood_on = {probe.features for name in own if (probe := config.models[name].probe)}
        spaces |= stood_on
        more = {config.spaces[name].predictions for name in stood_on} - predictions
        predictions |= more
        waiting += more
    # Rounds add their own models; they start from another.
    rounds = models & set(config.rounds)
    models |= {config.rounds[name].model for name in rounds}
    labels = {name for model in models for name in config.models[model].labels}
    labels |= {one.labels for one in compared if one.labels}
    labelled = {config.labels[name].images.survey for name in labels}
    surveys = {config.release_survey(release), *filter(None, labelled)}
    surveys |= {config.predictions[one].survey for one in predictions}
    surveys |= {one.survey for name, one in observed(config).items() if name in surveys}
    services = {config.surveys[name].cutouts.service for name in surveys}
    wanted = {
        "surveys": surveys,
        "labels": labels,
        "models": models,
        "predictions": predictions,
        "rounds": rounds,
        "spaces": spaces,
        "interests": set(chosen.interests),
        "detectability": {told} if told else set(),
        "releases": {release},
        "network": services,
    }
    result = {key: _only(plain.get(key), names) for key, names in wanted.items()}
    made = _made_files(config, surveys, labels, models, set(chosen.interests))
    result["simulations"] = _only(plain.get("simulations"), {path.parent.name for path in made})
    for name, own in (result["rounds"] or {}).items():
        # What was asked is on record, and is not chosen again.
        own["subjects"] = [str(path) for path in subjects_files(name, config.rounds[name])]
        own.pop("diverse", None)
    result["downloads"] = _only(plain.get("downloads"), {path.name for path in made})
    for limits in result["network"].values():
        limits.pop("contact", None)
    return {key: value for key, value in result.items() if value}


def _made_files(config: Config, *names: set[str]) -> list[Path]:
    """Files that the workflow makes first, of some surveys, labels, models and interests."""
    wanted = set().union(*names)
    return [
        path
        for key, path in input_files(config)
        if key.split(".")[1] in wanted and is_made(config, path)
    ]


def _only(section: Any, names: set[str]) -> Plain:
    return {name: deepcopy(value) for name, value in (section or {}).items() if name in names}


def _models(config: Config, name: str) -> set[str]:
    """A model, and those whose weights it starts from."""
    found: set[str] = set()
    while name not in found:
        found.add(name)
        file = config.models[name].network.weights_file
        name = next((m for m in config.models if file == model_file(m)), name)
    return found


def product_settings(config: BaseModel) -> Plain:
    """Plain form of what a config chooses and changes a product, as `Settings.product_settings`."""
    left_out = config.operational if isinstance(config, Settings) else frozenset[str]()
    return {
        key: _product_value(getattr(config, key))
        for key, field in sorted(type(config).model_fields.items())
        if key not in {*left_out, "network"} and getattr(config, key) != field.default
    }


def _product_value(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return product_settings(value)
    if isinstance(value, Mapping):
        return {key: _product_value(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_product_value(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def own_files(config: Config) -> list[tuple[str, Path]]:
    """The user's own files and folders that a config names, each with the key that names it."""
    files = [(key, path) for key, path in input_files(config) if not is_made(config, path)]
    trees = [
        (f"labels.{name}.tree", Path(labels.tree))
        for name, labels in config.labels.items()
        if labels.tree and Path(labels.tree).is_file()
    ]
    return [*files, *trees, *input_folders(config)]


def renamed(plain: Any, names: Mapping[tuple[str, str], str], place: str = "") -> Any:
    """Replace paths in a config, where they are paths: a survey may have a folder's name.

    ``names`` has the new path by key, as `own_files` spells it, and path; ``place`` is the key of
    ``plain``.
    """
    if isinstance(plain, Mapping):
        return {k: renamed(value, names, f"{place}.{k}".lstrip(".")) for k, value in plain.items()}
    if isinstance(plain, list):
        return [renamed(value, names, place) for value in plain]
    return names.get((place, str(Path(plain))), plain) if isinstance(plain, str) else plain

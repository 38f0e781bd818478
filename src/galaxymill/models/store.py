"""Models on disk: ``model.yaml``, which alone rebuilds the networks, and their safetensors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from galaxymill.errors import UserError
from galaxymill.migrations import MODEL, migrate
from galaxymill.models.settings import TrainSettings
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.tasks.task import Task, parse_task
from galaxymill.yaml_file import read_yaml

if TYPE_CHECKING:
    from torch import Tensor

    from galaxymill.models.network import EncoderCard, Network

MODEL_FILE = "model.yaml"
WEIGHTS_FILE = "weights.safetensors"
_FEATURES = "features"
_MAX_YAML_BYTES = 5_000_000


@dataclass(frozen=True)
class ModelCard:
    """The contents of ``model.yaml``.

    ``encoder_dict`` builds the encoder, see `galaxymill.models.network.EncoderCard`. The weights,
    of every member, are in the file beside it. ``origin`` is that of
    `galaxymill.storage.origin.Origin.to_dict`: its ``domain`` names the survey and the recipe of
    the images that the model learned from. ``counts`` are of galaxies, by split.
    """

    task: Task
    settings: TrainSettings
    encoder_dict: dict[str, Any]
    weights_sha256: str
    origin: dict[str, Any]
    counts: dict[str, int]

    @property
    def encoder(self) -> "EncoderCard":
        """What builds the encoder."""
        from galaxymill.models.network import EncoderCard

        return EncoderCard(**self.encoder_dict)

    @property
    def digest(self) -> str:
        """Content digest of the model: of its weights, task and settings."""
        task, settings = self.task.to_dict(), self.settings.product_settings()
        return sha256_json([self.weights_sha256, task, self.encoder_dict, settings])

    @property
    def domains(self) -> list[dict[str, Any]]:
        """Surveys and recipes of the images that the model learned from; none: no labelled ones."""
        domain = self.origin["domain"]
        return list(domain.get("any_of", [domain] if domain else []))


def write_model(folder: Path, card: ModelCard) -> None:
    """Write the card beside weights that `write_weights` has written."""
    plain = {
        "task": card.task.to_dict(),
        "encoder": card.encoder_dict,
        "settings": card.settings.product_settings(),
        "splits": card.counts,
        "weights_sha256": card.weights_sha256,
        "digest": card.digest,
        "origin": card.origin,
    }
    (folder / MODEL_FILE).write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def write_weights(folder: Path, networks: "list[Network]") -> str:
    """Write the weights of an ensemble as safetensors and give the file's sha256.

    Tensors are named ``{member}.{name}``.
    """
    tensors = {
        f"{member}.{name}": value.contiguous()
        for member, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
    return write_tensors(folder, tensors, {_FEATURES: str(networks[0].channels)})


def write_tensors(folder: Path, tensors: "dict[str, Tensor]", notes: dict[str, str]) -> str:
    """Write named tensors as a model's weights, and give the file's sha256."""
    from safetensors.torch import save_file

    file = folder / WEIGHTS_FILE
    save_file(tensors, file, notes)
    # safetensors lets only the owner read it; a model is for others too, as far as umask says.
    umask = os.umask(0)
    os.umask(umask)
    file.chmod(0o666 & ~umask)
    return sha256_file(file)


def read_card(path: Path) -> ModelCard:
    """Read ``model.yaml``; raises UserError when it is absent, or not what this version writes."""
    if not path.is_file():
        raise UserError(f"{path}: no such model; train it first")
    if path.stat().st_size > _MAX_YAML_BYTES:
        raise UserError(f"{path}: too large for a model card")
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        plain = migrate(plain, MODEL, str(path))
        if "probe" in plain:
            raise UserError(f"{path}: a probe takes features, not images; galaxymill apply uses it")
        if not isinstance(plain["origin"]["domain"], dict) or not isinstance(plain["splits"], dict):
            raise ValueError("origin.domain and splits must be tables")
        return ModelCard(
            parse_task(plain["task"], f"{path}: task"),
            TrainSettings.model_validate(plain["settings"]),
            dict(plain["encoder"]),
            plain["weights_sha256"],
            plain["origin"],
            plain["splits"],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a model of galaxymill ({error})") from error


def is_probe(path: Path) -> bool:
    """Whether a ``model.yaml`` is of a probe, which takes features instead of images."""
    try:
        return "probe" in read_yaml(path, "a model")
    except UserError:
        return False


def read_features(path: Path) -> int:
    """Read the length of a model's embeddings from the weights beside ``model.yaml``.

    Raises UserError when the weights are absent or are not a model's.
    """
    from safetensors import SafetensorError, safe_open

    weights = path.parent / WEIGHTS_FILE
    try:
        with safe_open(weights, framework="numpy") as file:
            length = (file.metadata() or {}).get(_FEATURES)
            # Models of before 2026-12 lack it.
            return int(length or file.get_slice("0.head.linear.weight").get_shape()[1])
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{weights}: not the weights of {path} ({error})") from error


def read_weights(file: Path) -> "dict[str, Tensor]":
    """Read a safetensors file; raises UserError when it is none, or a number is not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: not a safetensors file: {error}") from error
    bad = not_finite(tensors)
    if bad:
        raise UserError(
            f"{file}: {bad} holds NaN or infinity: such weights predict nothing; take a sound "
            "copy, or train again"
        )
    return tensors


def under(tensors: "Mapping[str, Tensor]", prefix: str) -> "dict[str, Tensor]":
    """Tensors whose names begin so, named by what follows."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def not_finite(tensors: "Mapping[str, Tensor]") -> str:
    """Name a tensor that holds a number that is not finite; empty when all are."""
    bad = (
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not value.float().isfinite().all()
    )
    return next(bad, "")


def load_networks(path: Path) -> tuple["list[Network]", ModelCard]:
    """Rebuild the members of a model from ``model.yaml`` and the weights beside it.

    Raises UserError when the weights are absent, not those of the card, not finite, or do not fit.
    """
    from galaxymill.models.network import Network

    card = read_card(path)
    weights = path.parent / WEIGHTS_FILE
    if not weights.is_file():
        raise UserError(f"{weights}: the weights of {path} are missing")
    if sha256_file(weights) != card.weights_sha256:
        raise UserError(f"{weights}: not the weights that {path} names; train again or restore it")
    tensors = read_weights(weights)
    networks = []
    for member in range(card.settings.networks):
        own = under(tensors, f"{member}.")
        try:
            network = Network(card.encoder, card.task, card.settings)
            network.load_state_dict(own)
        except (RuntimeError, TypeError) as error:
            message = f"{weights}: does not fit {card.settings.encoder}: {error}"
            raise UserError(message) from error
        networks.append(network.eval())
    return networks, card

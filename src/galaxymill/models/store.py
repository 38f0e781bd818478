"""Models on disk: ``model.yaml``, which alone rebuilds the network, and its safetensors."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from galaxymill.errors import UserError
from galaxymill.models.settings import TrainSettings
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.votes.tree import Tree, parse_tree

if TYPE_CHECKING:
    from galaxymill.models.network import Network

MODEL_FILE = "model.yaml"
WEIGHTS_FILE = "weights.safetensors"
_MAX_YAML_BYTES = 5_000_000


@dataclass(frozen=True)
class ModelCard:
    """What ``model.yaml`` says.

    Attributes
    ----------
    tree : Tree
        The questions the model answers.
    settings : TrainSettings
        Encoder, image size and how it learned.
    weights_sha256 : str
        Of the weights file beside it.
    origin : dict
        See `galaxymill.storage.origin.Origin.to_dict`; its ``domain`` says which survey's
        images, by which recipe, the model learned from.
    counts : dict
        Number of galaxies by split.
    """

    tree: Tree
    settings: TrainSettings
    weights_sha256: str
    origin: dict[str, Any]
    counts: dict[str, int]

    @property
    def digest(self) -> str:
        """Content digest of the model: of its weights, tree and settings."""
        parts = [self.weights_sha256, self.tree.to_dict(), self.settings.model_dump(mode="json")]
        return sha256_json(parts)

    @property
    def domain(self) -> dict[str, Any]:
        """Survey and recipe of the images that the model learned from."""
        domain: dict[str, Any] = self.origin["domain"]
        return domain


def write_model(folder: Path, card: ModelCard) -> None:
    """Write the card beside weights that `write_weights` has written."""
    plain = {
        "tree": card.tree.to_dict(),
        "encoder": card.settings.encoder,
        "settings": card.settings.model_dump(mode="json"),
        "splits": card.counts,
        "weights_sha256": card.weights_sha256,
        "digest": card.digest,
        "origin": card.origin,
    }
    (folder / MODEL_FILE).write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def write_weights(folder: Path, network: "Network") -> str:
    """Write the weights as safetensors and give the file's sha256."""
    from safetensors.torch import save_file

    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    return sha256_file(folder / WEIGHTS_FILE)


def read_card(path: Path) -> ModelCard:
    """Read ``model.yaml``.

    Raises
    ------
    UserError
        When it is absent, or not what this version writes.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such model; train it first")
    if path.stat().st_size > _MAX_YAML_BYTES:
        raise UserError(f"{path}: too large for a model card")
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(plain["origin"]["domain"], dict) or not isinstance(plain["splits"], dict):
            raise ValueError("origin.domain and splits must be tables")
        return ModelCard(
            parse_tree(plain["tree"], f"{path}: tree"),
            TrainSettings.model_validate(plain["settings"]),
            plain["weights_sha256"],
            plain["origin"],
            plain["splits"],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a model of galaxymill ({error})") from error


def load_network(path: Path) -> tuple["Network", ModelCard]:
    """Rebuild a network from ``model.yaml`` and the weights beside it.

    Raises
    ------
    UserError
        When the weights are absent, are not those of the card, or do not fit the network.
    """
    from safetensors.torch import load_file

    from galaxymill.models.network import Network

    card = read_card(path)
    weights = path.parent / WEIGHTS_FILE
    if not weights.is_file():
        raise UserError(f"{weights}: the weights of {path} are missing")
    if sha256_file(weights) != card.weights_sha256:
        raise UserError(f"{weights}: not the weights that {path} names; train again or restore it")
    network = Network(card.settings, len(card.tree.columns))
    try:
        network.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise UserError(f"{weights}: does not fit {card.settings.encoder}: {error}") from error
    return network.eval(), card

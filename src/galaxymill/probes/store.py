"""Probes on disk: ``model.yaml`` and the weights beside it, as of any model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from galaxymill.errors import UserError
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.store import (
    MODEL_FILE,
    WEIGHTS_FILE,
    ModelCard,
    is_probe,
    read_card,
    read_weights,
    under,
    write_tensors,
)
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.tasks.task import Task, parse_task
from galaxymill.yaml_file import read_yaml

# A card is read where nothing is predicted, and torch takes seconds to load.
if TYPE_CHECKING:
    from galaxymill.probes.network import Probe


@dataclass(frozen=True)
class ProbeCard:
    """The contents of the ``model.yaml`` of a probe.

    Attributes
    ----------
    task : Task
    settings : ProbeSettings
    space : str
        Digest of the space whose features it takes.
    components : int
        Number of those features.
    penalties : list of float
        That each member was fitted with.
    weights_sha256 : str
    origin : dict
        As of any model; its domain is that of the images that the features are of.
    counts : dict of str to int
        Labelled galaxies that have features, by split.
    """

    task: Task
    settings: ProbeSettings
    space: str
    components: int
    penalties: list[float]
    weights_sha256: str
    origin: dict[str, Any]
    counts: dict[str, int]

    @property
    def digest(self) -> str:
        """Content digest: of its weights, task, space and settings."""
        settings = self.settings.product_settings()
        return sha256_json([self.weights_sha256, self.task.to_dict(), self.space, settings])

    @property
    def domains(self) -> list[dict[str, Any]]:
        """The survey and recipe of the images that the features are of."""
        return [self.origin["domain"]]


def write_probe(folder: Path, card: ProbeCard, probes: "Sequence[Probe]") -> None:
    """Write the weights of the members, and the card beside them, last."""
    tensors = {
        f"{member}.{name}": value.float().contiguous()
        for member, probe in enumerate(probes)
        for name, value in probe.state_dict().items()
    }
    sha256 = write_tensors(folder, tensors, {})
    card = ProbeCard(**{**vars(card), "weights_sha256": sha256})
    plain = {
        "task": card.task.to_dict(),
        "probe": {"space": card.space, "components": card.components, "penalties": card.penalties},
        "settings": card.settings.product_settings(),
        "splits": card.counts,
        "weights_sha256": sha256,
        "digest": card.digest,
        "origin": card.origin,
    }
    (folder / MODEL_FILE).write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def read_probe_card(path: Path) -> ProbeCard:
    """Read the ``model.yaml`` of a probe; raises UserError when it is not one."""
    plain: Mapping[str, Any] = read_yaml(path, "a probe")
    try:
        own = plain["probe"]
        return ProbeCard(
            parse_task(plain["task"], f"{path}: task"),
            ProbeSettings.model_validate(plain["settings"]),
            str(own["space"]),
            int(own["components"]),
            list(own["penalties"]),
            plain["weights_sha256"],
            dict(plain["origin"], domain=dict(plain["origin"]["domain"])),
            dict(plain["splits"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a probe of galaxymill ({error})") from error


def load_probes(path: Path) -> "tuple[list[Probe], ProbeCard]":
    """Rebuild the members of a probe from ``model.yaml`` and the weights beside it.

    Raises UserError when the weights are absent, not those of the card, or do not fit.
    """
    from galaxymill.probes.network import Probe

    card, weights = read_probe_card(path), path.parent / WEIGHTS_FILE
    if not weights.is_file() or sha256_file(weights) != card.weights_sha256:
        raise UserError(f"{weights}: not the weights that {path} names; fit the probe again")
    tensors = read_weights(weights)
    probes = []
    for member in range(card.settings.folds):
        probe = Probe(card.components, card.task, card.settings)
        try:
            probe.load_state_dict(under(tensors, f"{member}."))
        except RuntimeError as error:
            raise UserError(f"{weights}: does not fit {path}: {error}") from error
        probes.append(probe.eval())
    return probes, card


def read_any_card(path: Path) -> ModelCard | ProbeCard:
    """Read the ``model.yaml`` of a network or of a probe."""
    return read_probe_card(path) if is_probe(path) else read_card(path)

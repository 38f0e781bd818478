"""A trained model that turns images into posteriors."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galaxymill.images.pixels import to_pixels
from galaxymill.models.devices import choose_device
from galaxymill.models.network import Network
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, load_networks
from galaxymill.models.views import central_view, dihedral_views
from galaxymill.votes.tree import Tree

BATCH_SIZE = 64


@dataclass(frozen=True)
class Predictor:
    """A model ready for use: one network, or several that are asked alike; see `load`.

    Attributes
    ----------
    networks : sequence of Network
        Members of the ensemble, in evaluation mode and on ``device``.
    card : ModelCard
    samples : int
        Monte-Carlo dropout samples of each member's head for each galaxy.
    device : torch.device
    """

    networks: Sequence[Network]
    card: ModelCard
    samples: int
    device: torch.device

    @classmethod
    def load(cls, model: Path, samples: int, device: str = "auto") -> "Predictor":
        """Load a model.

        Parameters
        ----------
        model : Path
            ``model.yaml``, or the folder that holds it.
        samples : int
            Monte-Carlo dropout samples of each member's head for each galaxy.
        device : str
            ``cpu``, ``cuda``, or ``auto``: cuda where there is one.
        """
        path = model / "model.yaml" if model.is_dir() else model
        networks, card = load_networks(path)
        chosen = choose_device(device)
        return cls([network.to(chosen) for network in networks], card, samples, chosen)

    @property
    def tree(self) -> Tree:
        """The questions that the model answers."""
        return self.card.tree

    @property
    def digest(self) -> str:
        """Content digest of the model."""
        return self.card.digest

    @property
    def draws(self) -> int:
        """Posterior samples of each galaxy: those of all members."""
        return self.samples * len(self.networks)

    @property
    def features(self) -> int:
        """Length of the embeddings."""
        return int(self.networks[0].encoder.num_features)

    def predict(
        self, object_ids: Sequence[str], images: Sequence[bytes]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Predict galaxies; each one's result depends on its image and its id alone.

        Parameters
        ----------
        object_ids : sequence of str, length n
            Seeds of the dropout masks.
        images : sequence of bytes, length n
            Rendered images.

        Returns
        -------
        outputs : ndarray, shape (n, draws, width)
            What the head gives: concentrations of votes; probabilities of classes; mean and
            standard deviation of a number.
        embeddings : ndarray, shape (n, features)
            Pooled features of the encoder, before dropout; the mean over members.
        """
        outputs, embeddings = [], []
        for start in range(0, len(images), BATCH_SIZE):
            piece = slice(start, start + BATCH_SIZE)
            drawn, features = self._predict_batch(object_ids[piece], images[piece])
            outputs.append(drawn)
            embeddings.append(features)
        empty = np.empty((0, self.draws, self.networks[0].head.width), np.float32)
        return (
            np.concatenate([empty, *outputs]),
            np.concatenate([np.empty((0, self.features), np.float32), *embeddings]),
        )

    @torch.inference_mode()
    def _predict_batch(
        self, object_ids: Sequence[str], images: Sequence[bytes]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        settings = self.card.settings
        pixels = central_pixels(images, settings).to(self.device)
        masks = dropout_masks(object_ids, self.draws, self.features, settings.dropout)
        outputs, embeddings = [], []
        for member, network in enumerate(self.networks):
            features = view_features(network, pixels, settings)
            own = masks[:, member * self.samples : (member + 1) * self.samples]
            outputs.append(network.head(features, torch.from_numpy(own).to(self.device)))
            embeddings.append(features)
        return (
            torch.cat(outputs, dim=1).float().cpu().numpy(),
            torch.stack(embeddings).mean(0).float().cpu().numpy(),
        )


def central_pixels(images: Sequence[bytes], settings: TrainSettings) -> Tensor:
    """Decode rendered images as a model sees them in use; shape (n, 3, size, size), uint8."""
    stack = np.stack([to_pixels(image, settings.side) for image in images])
    return central_view(torch.from_numpy(stack), settings.image_size)


def view_features(network: Network, pixels: Tensor, settings: TrainSettings) -> Tensor:
    """Pool a network's features over the model's views; shape (n, features)."""
    views = dihedral_views(pixels, settings.views)
    return torch.stack([network.features(view) for view in views]).mean(0)


def dropout_masks(
    object_ids: Sequence[str], samples: int, features: int, dropout: float
) -> npt.NDArray[np.bool_]:
    """Draw which features each sample keeps, seeded by the galaxy's identifier.

    Parameters
    ----------
    object_ids : sequence of str, length n
    samples, features : int
    dropout : float
        Probability that a feature is dropped.

    Returns
    -------
    ndarray of bool, shape (n, samples, features)
        The same for a galaxy in any batch, partition or machine.
    """
    masks = np.empty((len(object_ids), samples, features), bool)
    for row, object_id in enumerate(object_ids):
        key = int.from_bytes(hashlib.sha256(object_id.encode()).digest()[:16], "big")
        draws = np.random.Generator(np.random.Philox(key=key))
        masks[row] = draws.random((samples, features), dtype=np.float32) >= dropout
    return masks

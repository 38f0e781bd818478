"""A trained model that turns images into posteriors."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from galaxymill.images.pixels import to_pixels
from galaxymill.models.network import Network
from galaxymill.models.store import ModelCard, load_network
from galaxymill.models.views import central_view, dihedral_views
from galaxymill.votes.tree import Tree

BATCH_SIZE = 64

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Predictor:
    """A network ready for use; make one with `load`."""

    network: Network
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
            Monte-Carlo dropout samples of the head for each galaxy.
        device : str
            ``cpu``, ``cuda``, or ``auto``: cuda where there is one.
        """
        path = model / "model.yaml" if model.is_dir() else model
        network, card = load_network(path)
        chosen = choose_device(device)
        return cls(network.to(chosen), card, samples, chosen)

    @property
    def tree(self) -> Tree:
        """The questions that the model answers."""
        return self.card.tree

    @property
    def digest(self) -> str:
        """Content digest of the model."""
        return self.card.digest

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
        concentrations : ndarray, shape (n, samples, answers)
        embeddings : ndarray, shape (n, features)
            Pooled features of the encoder, before dropout.
        """
        concentrations, embeddings = [], []
        for start in range(0, len(images), BATCH_SIZE):
            piece = slice(start, start + BATCH_SIZE)
            alpha, features = self._predict_batch(object_ids[piece], images[piece])
            concentrations.append(alpha)
            embeddings.append(features)
        width = self.network.encoder.num_features
        empty = np.empty((0, self.samples, len(self.tree.columns)), np.float32)
        return (
            np.concatenate([empty, *concentrations]),
            np.concatenate([np.empty((0, width), np.float32), *embeddings]),
        )

    @torch.inference_mode()
    def _predict_batch(
        self, object_ids: Sequence[str], images: Sequence[bytes]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        size = self.card.settings.image_size
        zoom = float(np.mean(self.card.settings.zoom))
        stack = np.stack([to_pixels(image, round(size * zoom)) for image in images])
        pixels = central_view(torch.from_numpy(stack), size).to(self.device)
        views = dihedral_views(pixels, self.card.settings.views)
        features = torch.stack([self.network.features(view) for view in views]).mean(0)
        masks = dropout_masks(
            object_ids, self.samples, features.shape[1], self.card.settings.dropout
        )
        alpha = self.network.head(features, torch.from_numpy(masks).to(self.device))
        return alpha.float().cpu().numpy(), features.float().cpu().numpy()


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


def choose_device(name: str) -> torch.device:
    """Resolve ``auto`` to cuda where there is one, else cpu with a note in the log."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    logger.info("no CUDA device: running on the CPU")
    return torch.device("cpu")

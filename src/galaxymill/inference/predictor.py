"""A trained model that turns images into posteriors."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galaxymill.errors import UserError
from galaxymill.images.pixels import central_pixels
from galaxymill.inference.engine import Engine
from galaxymill.inference.rows import check_finite
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.devices import choose_device
from galaxymill.models.network import Network, pooled
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, load_networks
from galaxymill.models.views import dihedral_views

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
_STEPS = 1 << 16


class Predictor:
    """A model ready for use; see `load`.

    ``networks`` are its members, in evaluation mode and on the engine's device.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        card: ModelCard,
        settings: PredictSettings,
        engine: Engine,
    ) -> None:
        self.networks, self.card, self.engine = networks, card, engine
        self.samples, self.draws = settings.samples, settings.draws(card.settings)
        self._views = settings.view_count(card.settings)
        self._kept = self._views if settings.keep_views else 1
        if refused := settings.refused(card.settings, card.task):
            raise UserError(refused)
        self._member, self._pool = settings.member, settings.pool
        size = card.settings.image_size
        encoders = [engine.prepare(network, size) for network in networks]
        for network, encoder in zip(networks, encoders, strict=True):
            engine.check_precision(network, encoder, card.task, size)
        self._encoders = [engine.compile(encoder, size) for encoder in encoders]

    @property
    def members(self) -> int:
        """Number of networks of the ensemble."""
        return len(self.networks)

    @classmethod
    def load(
        cls, model: Path, settings: PredictSettings, engine: Engine | None = None
    ) -> "Predictor":
        """Load a model from ``model.yaml``, or the folder that holds it.

        Without an engine it computes in float32, on the device of the settings.
        """
        path = model / "model.yaml" if model.is_dir() else model
        networks, card = load_networks(path)
        engine = engine or Engine(choose_device(settings.device))
        return cls([network.to(engine.device) for network in networks], card, settings, engine)

    def predict(self, object_ids: Sequence[str], images: Sequence[bytes]) -> tuple[Floats, Floats]:
        """Predict galaxies from rendered images; gives the arrays of `predict_pixels`."""
        pixels = network_pixels(images, self.card.settings)
        outputs, embeddings = self.predict_pixels(object_ids, pixels)
        drawn: Floats = outputs.cpu().numpy()
        check_finite(object_ids, drawn)
        return drawn, embeddings.cpu().numpy()

    @torch.inference_mode()
    def predict_pixels(self, object_ids: Sequence[str], pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Predict galaxies; each one's result depends on its image and its id alone.

        Parameters
        ----------
        object_ids : sequence of str, length n
            Seeds of the dropout masks.
        pixels : ndarray, shape (n, size, size, 3), uint8
            From `network_pixels`.

        Returns
        -------
        outputs : Tensor, shape (n, draws, …), float32
            On the device, which may still be computing. Concentrations of votes, probabilities
            of classes, or mean and standard deviation of a number. Samples of a view of a member
            stand together.
        embeddings : Tensor, shape (n, features), float32
            Pooled features of one member's encoder, before dropout, pooled over the views.
        """
        images = self._to_device(pixels)
        channels, dropout = self.networks[0].channels, self.card.settings.dropout
        kept = dropout_masks(object_ids, self.draws, channels, dropout)
        masks = torch.from_numpy(kept).to(self.engine.device)
        samples_of_each = iter(torch.split(masks, self.samples, dim=1))
        outputs, embeddings = [], torch.empty(0)
        both = zip(self.networks, self._encoders, strict=True)
        for number, (network, encoder) in enumerate(both, start=1):
            found = [
                self.engine.features(network, encoder, view)
                for view in dihedral_views(images, self._views)
            ]
            if number == self._member:
                # Members learn apart: what one feature means to one it does not to another.
                embeddings = pool_views([pooled(features) for features in found], self._pool)
            for features in found if self._kept > 1 else [torch.stack(found).mean(0)]:
                outputs.append(network.head(features, next(samples_of_each)))
        return torch.cat(outputs, dim=1), embeddings

    def _to_device(self, pixels: Pixels) -> Tensor:
        """Move images to the device, as (n, 3, size, size) with the colours innermost."""
        tensor = torch.from_numpy(pixels)
        if self.engine.device.type == "cuda":
            tensor = tensor.pin_memory().to(self.engine.device, non_blocking=True)
        return tensor.permute(0, 3, 1, 2)


def network_pixels(images: Sequence[bytes], settings: TrainSettings) -> Pixels:
    """Decode rendered images as a model takes them in use; shape (n, size, size, 3)."""
    size = settings.image_size
    pixels = [central_pixels(image, settings.side, size) for image in images]
    return np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)


def view_features(network: Network, pixels: Tensor, count: int) -> Tensor:
    """Pool a network's features over some of the dihedral views; shape (n, features)."""
    views = dihedral_views(pixels, count)
    return pool_views([pooled(network.features(view)) for view in views], "mean")


def pool_views(features: Sequence[Tensor], pool: str) -> Tensor:
    """Pool the features (n, f) of several views, see `PredictSettings`; (n, f) or (n, 2 f)."""
    stacked = torch.stack(list(features))
    mean = stacked.mean(0)
    return mean if pool == "mean" else torch.cat([mean, stacked.std(0, correction=0)], dim=1)


def dropout_masks(
    object_ids: Sequence[str], samples: int, features: int, dropout: float
) -> npt.NDArray[np.bool_]:
    """Draw which features each sample keeps, shape (n, samples, features).

    Seeded by the identifier: the same for a galaxy in any batch, partition or machine. ``dropout``,
    the probability that a feature is dropped, is met to 1 in 65,536.
    """
    count = samples * features
    draws = np.empty((len(object_ids), count), "<u2")
    for row, object_id in enumerate(object_ids):
        key = int.from_bytes(hashlib.sha256(object_id.encode()).digest()[:16], "big")
        # Four draws of 16 bits in each word: a tenth of the time of as many floats.
        words = np.random.Philox(key=key).random_raw(-(-count // 4))
        draws[row] = words.astype("<u8").view("<u2")[:count]
    kept: npt.NDArray[np.bool_] = draws >= round(dropout * _STEPS)
    return kept.reshape(-1, samples, features)

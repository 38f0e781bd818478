"""Features of the encoder as it was before training."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from galaxymill.inference.predictor import network_pixels, view_features
from galaxymill.models.initial import initial_network
from galaxymill.models.settings import TrainSettings
from galaxymill.tasks.task import Task

BATCH_SIZE = 64


class InitialEncoder:
    """The network that training started from, applied with the same views as the trained one.

    Parameters
    ----------
    settings : TrainSettings
        Of the model.
    task : Task
    device : torch.device

    Raises
    ------
    UserError
        When the initial weights cannot be had, such as those of a hub without a network.
    """

    def __init__(self, settings: TrainSettings, task: Task, device: torch.device) -> None:
        self._settings, self._device = settings, device
        torch.manual_seed(settings.seed)
        self._network = initial_network(settings, task).eval().to(device)

    def features(self, images: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Pool the features of rendered images; shape (n, f)."""
        batches = range(0, len(images), BATCH_SIZE)
        return np.concatenate([self._batch(images[i : i + BATCH_SIZE]) for i in batches])

    @torch.inference_mode()
    def _batch(self, images: Sequence[bytes]) -> npt.NDArray[np.float32]:
        pixels = torch.from_numpy(network_pixels(images, self._settings)).permute(0, 3, 1, 2)
        pooled = view_features(self._network, pixels.to(self._device), self._settings.views)
        return np.asarray(pooled.float().cpu().numpy())

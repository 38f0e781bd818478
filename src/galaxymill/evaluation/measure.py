"""Predictions, features and pictures of the labelled galaxies, read from their images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from galaxymill.decoding.decode import read_raster
from galaxymill.evaluation.features import image_features
from galaxymill.evaluation.sample import Sample, Values
from galaxymill.images.pixels import RowGroup
from galaxymill.inference.predictor import network_pixels, view_features
from galaxymill.models.initial import initial_network
from galaxymill.models.settings import TrainSettings
from galaxymill.progress import progress
from galaxymill.tasks.task import Task

Floats = npt.NDArray[np.float32]

BATCH_SIZE = 64


class InitialEncoder:
    """The network that training started from, applied with the same views as the trained one.

    Raises UserError when its weights cannot be had, such as those of a hub without a network.
    """

    def __init__(self, settings: TrainSettings, task: Task, device: torch.device) -> None:
        self._settings, self._device = settings, device
        torch.manual_seed(settings.seed)
        self._network = initial_network(settings, task).eval().to(device)

    def features(self, images: Sequence[bytes]) -> Floats:
        """Pool the features of rendered images; shape (n, f)."""
        batches = range(0, len(images), BATCH_SIZE)
        return np.concatenate([self._batch(images[i : i + BATCH_SIZE]) for i in batches])

    @torch.inference_mode()
    def _batch(self, images: Sequence[bytes]) -> Floats:
        pixels = torch.from_numpy(network_pixels(images, self._settings)).permute(0, 3, 1, 2)
        pooled = view_features(self._network, pixels.to(self._device), self._settings.views)
        return np.asarray(pooled.float().cpu().numpy())


class Drawing(Protocol):
    """What draws samples of the posterior of galaxies: a network, or a probe."""

    @property
    def members(self) -> int:
        """Number of members of the ensemble; the samples of each stand together."""

    def predict(self, object_ids: Sequence[str], images: Sequence[bytes]) -> tuple[Floats, Floats]:
        """Give the samples (n, s, …), and the embeddings."""


@dataclass
class Measurements:
    """What was measured, by ``object_id``; samples (n_samples, width) of those to test."""

    features: dict[str, Values] = field(default_factory=dict)
    encoder: dict[str, Floats] = field(default_factory=dict)
    samples: dict[str, Floats] = field(default_factory=dict)


def measure_images(
    sample: Sample,
    groups: Sequence[RowGroup],
    predictor: Drawing,
    encoder: InitialEncoder | None,
) -> Measurements:
    """Measure the labelled galaxies and predict those to test, one row group at a time."""
    found = Measurements()
    with progress("evaluate", sum(len(group.ids) for group in groups)) as advance:
        for group in groups:
            pictures = dict(group.read())
            if sample.train:
                found.features |= {
                    key: image_features(read_raster(image)) for key, image in pictures.items()
                }
            if encoder is not None and pictures:
                pooled = encoder.features(list(pictures.values()))
                found.encoder |= dict(zip(pictures, pooled, strict=True))
            keys = [key for key in pictures if key in sample.test]
            if keys:
                drawn, _ = predictor.predict(keys, [pictures[key] for key in keys])
                if sample.folds:
                    own = [sample.folds[key] for key in keys]
                    members = drawn.reshape(len(keys), predictor.members, -1, drawn.shape[2])
                    drawn = members[np.arange(len(keys)), own]
                found.samples |= dict(zip(keys, drawn, strict=True))
            advance(len(group.ids))
    return found


def stack(found: Mapping[str, npt.NDArray[Any]], keys: Sequence[str]) -> Values:
    """Stack the features of some galaxies; shape (n, n_features)."""
    return np.array([found[key] for key in keys], dtype=np.float64)


def read_pictures(groups: Sequence[RowGroup], wanted: Iterable[str]) -> dict[str, bytes]:
    """Read the image files of a few galaxies, for the galleries."""
    keys = set(wanted)
    found: dict[str, bytes] = {}
    for group in groups:
        if not keys.isdisjoint(group.ids):
            found |= {key: image for key, image in group.read() if key in keys}
    return found

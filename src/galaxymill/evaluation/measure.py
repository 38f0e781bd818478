"""Predictions, features and pictures of the labelled galaxies, read from their images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galaxymill.decoding.decode import read_raster
from galaxymill.evaluation.features import image_features
from galaxymill.evaluation.sample import Sample, Values
from galaxymill.images.pixels import RowGroup
from galaxymill.progress import progress

if TYPE_CHECKING:
    from galaxymill.evaluation.encoder import InitialEncoder
    from galaxymill.inference.predictor import Predictor

Floats = npt.NDArray[np.float32]


@dataclass
class Measurements:
    """What was measured on the images, by ``object_id``.

    Attributes
    ----------
    features, encoder : dict
        Hand-made features, and the initial encoder's.
    samples : dict
        Posterior samples of the galaxies to test, shape (n_samples, width).
    """

    features: dict[str, Values] = field(default_factory=dict)
    encoder: dict[str, Floats] = field(default_factory=dict)
    samples: dict[str, Floats] = field(default_factory=dict)


def measure_images(
    sample: Sample,
    groups: Sequence[RowGroup],
    predictor: "Predictor",
    encoder: "InitialEncoder | None",
) -> Measurements:
    """Measure the labelled galaxies and predict those to test, one row group at a time.

    Parameters
    ----------
    sample : Sample
    groups : sequence of RowGroup
        Where their images are; see `galaxymill.images.pixels.ImageSource.find`.
    predictor : Predictor
    encoder : InitialEncoder or None
        Not needed where there are no training galaxies.

    Returns
    -------
    Measurements
    """
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
                    members = drawn.reshape(len(keys), len(predictor.networks), -1, drawn.shape[2])
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

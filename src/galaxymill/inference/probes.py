"""Whether a fast way of computing may be used: seen on pictures that are always the same.

What 8 bits of mantissa do to a prediction depends on the network. One with batch normalisation
adds the same error in every pixel of dark sky, and may shift a fraction by 0.1; one with layer
normalisation does not. So it is tried on drawn galaxies, the same for every partition.
"""

import numpy as np
import torch
from torch import Tensor

from galaxymill.tasks.heads import Head
from galaxymill.tasks.task import Task

COUNT = 12
TOLERANCE = 0.003
"""Real pictures differ more than the probes: on them, 0.01 is promised."""


def probe_images(size: int) -> Tensor:
    """Draw galaxies on a dark sky: discs and spheroids, round and flat, faint and bright.

    Parameters
    ----------
    size : int
        Width and height.

    Returns
    -------
    Tensor, shape (COUNT, 3, size, size), uint8
    """
    rng = np.random.default_rng(1)
    y, x = (np.indices((size, size)) - (size - 1) / 2) / size
    images = []
    for number in range(COUNT):
        angle = np.pi * number / COUNT
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        radius = np.hypot(along, across / (0.25 + 0.75 * (number % 4) / 3))
        arms = 1 + 0.6 * (number % 3 == 0) * np.cos(2 * np.arctan2(across, along) + 40 * radius)
        light = np.exp(-radius / (0.04 + 0.02 * (number % 5))) * arms
        light = (60 + 15 * number) * light + 255 * np.exp(-radius / 0.015)
        colour = np.array([1.0, 0.85, 0.7])[:, None, None]
        images.append(light * colour + rng.normal(6, 4, (3, size, size)))
    return torch.from_numpy(np.clip(np.array(images), 0, 255).astype(np.uint8))


def shift(head: Head, task: Task, plain: Tensor, fast: Tensor) -> float:
    """Give by how much a prediction differs at most, computed in two ways.

    Parameters
    ----------
    task : Task
        What it predicts.
    plain, fast : Tensor, shape (n, f)
        Features of the same images.

    Returns
    -------
    float
        Of a fraction or a probability; of a number, in units of its standard deviation.
    """
    one, other = (head(features)[:, None].cpu().numpy() for features in (plain, fast))
    return task.difference(one, other)

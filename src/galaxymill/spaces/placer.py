"""The network that places galaxies on a map: parametric UMAP (Sainburg, McInnes & Gentner 2021)."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

WIDTH = 256
ROWS = 1024
"""Galaxies that are placed at once: always so many, as sums may round by the size of a batch."""
GRID = 1 << 16
"""Places are multiples of 1/65,536 of the map's width: exact in 32 bits, and small on disk."""

Floats = npt.NDArray[np.float32]


class Placer(nn.Module):
    """From features (n, components) to places (n, 2): a plane, bent by a network of three layers.

    ``low`` and ``high`` (2,) are the edges of the map, which become 0 and 1.
    """

    low: Tensor
    high: Tensor

    def __init__(self, components: int) -> None:
        super().__init__()
        self.plane = nn.Linear(components, 2)
        layers: list[nn.Module] = []
        for inputs in (components, WIDTH, WIDTH):
            layers += [nn.Linear(inputs, WIDTH), nn.ReLU()]
        self.bend = nn.Sequential(*layers, nn.Linear(WIDTH, 2))
        self.register_buffer("low", torch.zeros(2))
        self.register_buffer("high", torch.ones(2))

    def forward(self, features: Tensor) -> Tensor:
        """Places before they are scaled; by the direction of the features, not by their length."""
        unit = nn.functional.normalize(features, dim=1)
        places: Tensor = self.plane(unit) + self.bend(unit)
        return places

    @torch.inference_mode()
    def place(self, features: Floats) -> Floats:
        """Place galaxies, each by itself: the same in any batch.

        Parameters
        ----------
        features : ndarray, shape (n, components)

        Returns
        -------
        ndarray, shape (n, 2), float32
            In 0–1; a galaxy beyond an edge of the map is put on it.
        """
        places = np.empty((len(features), 2), np.float32)
        batch = torch.zeros(ROWS, features.shape[1])
        for start in range(0, len(features), ROWS):
            rows = torch.from_numpy(features[start : start + ROWS])
            batch[: len(rows)] = rows
            scaled = (self(batch) - self.low) / (self.high - self.low)
            places[start : start + ROWS] = scaled[: len(rows)].numpy()
        rounded: Floats = (np.rint(places.clip(0, 1) * GRID) / GRID).astype(np.float32)
        return rounded

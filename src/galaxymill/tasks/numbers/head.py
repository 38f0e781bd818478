"""The head of a number: a Gaussian."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from galaxymill.tasks.heads import LinearHead

MIN_DEVIATION = 1e-3
SOFTPLUS_OF_1 = math.log(math.e - 1)
"""Whose softplus is 1: a Gaussian starts as wide as the labels are."""


class GaussianHead(LinearHead):
    """Mean and standard deviation of a number."""

    confidence_sign: ClassVar[int] = -1
    centre: Tensor
    spread: Tensor

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__(features, 2, 1, dropout)
        self.register_buffer("centre", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))

    def start_at(self, labels: Tensor) -> None:
        """Start at the labels' mean and standard deviation, and learn in units of the latter."""
        wide = labels.double()
        self.centre.copy_(wide.mean())
        # A spread below what float32 tells apart would be all rounding.
        self.spread.copy_(wide.std().clamp_min(max(1e-30, 1e-7 * float(wide.mean().abs()))))

    def outputs(self, logits: Tensor) -> Tensor:
        """Mean and standard deviation, in the label's unit."""
        mean = self.centre + self.spread * logits[..., 0]
        relative = nn.functional.softplus(logits[..., 1] + SOFTPLUS_OF_1) + MIN_DEVIATION
        return torch.stack([mean, self.spread * relative], dim=-1)

    def rescaled(self, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """Scale the standard deviation."""
        return torch.stack([outputs[..., 0], outputs[..., 1] * log_scale.exp()], dim=-1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Gaussian negative log likelihood."""
        # In units of the spread: the square of a luminosity in watt is no float32.
        mean, deviation = (outputs[..., :1] - self.centre) / self.spread, outputs[..., 1:]
        own = nn.functional.gaussian_nll_loss(
            mean,
            (labels - self.centre) / self.spread,
            (deviation / self.spread).square(),
            full=True,
            eps=1e-12,
            reduction="none",
        )
        return own + torch.log(self.spread)

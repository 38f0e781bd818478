"""The head of classes: softmax probabilities."""

import torch
from torch import Tensor

from galaxymill.tasks.heads import LinearHead


class SoftmaxHead(LinearHead):
    """Probabilities of classes."""

    def __init__(self, features: int, classes: int, dropout: float) -> None:
        super().__init__(features, classes, 1, dropout)

    def outputs(self, logits: Tensor) -> Tensor:
        """Probabilities, which add up to 1."""
        return torch.softmax(logits, dim=-1)

    def rescaled(self, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """Divide the logits by a temperature (Guo+17)."""
        return torch.softmax(torch.log(outputs.clamp_min(1e-12)) * log_scale.exp(), dim=-1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with the counts of the classes; 0 for a galaxy without a label."""
        return -(labels * torch.log(outputs.clamp_min(1e-12))).sum(-1, keepdim=True)

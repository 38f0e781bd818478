"""Heads, of which each task has its own: from an encoder's features to predictions, and a loss."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class Head(nn.Module, ABC):
    """From features to outputs, whose meaning is the task's.

    Parameters
    ----------
    scales : int
        Length of ``log_scale``, which calibration fits after training (zero before).
    dropout : float
        Share of features dropped, in training and in Monte-Carlo samples.

    Attributes
    ----------
    confidence_sign : int
        1 where a larger scale is more confidence, −1 where it is less.
    """

    confidence_sign: ClassVar[int] = 1
    log_scale: Tensor

    def __init__(self, scales: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.register_buffer("log_scale", torch.zeros(scales))

    @abstractmethod
    def forward(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """Map features to outputs (n, …), or (n, s, …) with masks.

        Parameters
        ----------
        features : Tensor, shape (n, f), or (n, f, h, w) for a task that is not pooled
        masks : Tensor of bool, shape (n, s, f), optional
            Which features each Monte-Carlo sample keeps. Without them features are dropped at
            random in training, and not at all in evaluation.
        """

    @abstractmethod
    def rescaled(self, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """Scale the confidence of outputs (n, …): what calibration fits ``log_scale`` to."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Negative log likelihood of labels (n, …) in nats, shape (n, parts); they add up."""

    def start_at(self, labels: Tensor) -> None:
        """Begin at what the training labels (n, …) are on average; by default anywhere."""


class NoHead(Head):
    """Predicts nothing: outputs without width.

    Without masks it gives the features themselves, by which a precision is then judged.
    """

    def forward(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """Map features (n, f) to themselves, or to (n, s, 0) with masks."""
        return features if masks is None else features.new_empty((*masks.shape[:2], 0))

    def rescaled(self, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """Leave outputs as they are."""
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Nothing is lost: shape (n, 0)."""
        return outputs.new_zeros((len(outputs), 0))


class LinearHead(Head):
    """Dropout and a linear map of pooled features."""

    def __init__(self, features: int, outputs: int, scales: int, dropout: float) -> None:
        super().__init__(scales, dropout)
        self.linear = nn.Linear(features, outputs)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """Map features (n, f) to outputs (n, width), or (n, s, width) with masks."""
        # Autocast would round what the loss takes logarithms of.
        with torch.autocast(features.device.type, enabled=False):
            features = features if features.dtype == torch.float64 else features.float()
            if masks is not None:
                features = features[:, None, :] * masks / (1 - self.dropout)
            else:
                features = nn.functional.dropout(features, self.dropout, self.training)
            return self.rescaled(self.outputs(self.linear(features)), self.log_scale)

    @abstractmethod
    def outputs(self, logits: Tensor) -> Tensor:
        """Turn the linear map's values into outputs, before calibration."""

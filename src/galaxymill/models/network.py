"""The network: a timm encoder and a Dirichlet head over the answers of a tree."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from galaxymill.models.settings import TrainSettings

START_LOGIT = -2.0


class DirichletHead(nn.Module):
    """Concentrations from features: dropout, linear, and a sigmoid over a fixed range.

    Parameters
    ----------
    features : int
        Length of the encoder's pooled features.
    answers : int
        Number of answers of the tree.
    dropout : float
        Share of features dropped, in training and in Monte-Carlo samples.
    low, high : float
        Range of the concentrations; 1 to 101 is Zoobot's.
    """

    def __init__(
        self, features: int, answers: int, dropout: float, low: float, high: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = nn.Linear(features, answers)
        # Start unsure: from the middle of the range, learning would first unlearn certainty.
        nn.init.constant_(self.linear.bias, START_LOGIT)
        self.low, self.high = low, high

    def forward(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """Map features (n, f) to concentrations (n, answers), or (n, s, answers) with masks.

        Parameters
        ----------
        features : Tensor, shape (n, f)
        masks : Tensor of bool, shape (n, s, f), optional
            Which features each Monte-Carlo sample keeps. Without them features are dropped at
            random in training, and not at all in evaluation.
        """
        features = features.float()
        if masks is not None:
            features = features[:, None, :] * masks / (1 - self.dropout)
        else:
            features = nn.functional.dropout(features, self.dropout, self.training)
        with torch.autocast(features.device.type, enabled=False):
            span = self.high - self.low
            return self.low + span * torch.sigmoid(self.linear(features))


class Network(nn.Module):
    """Images to concentrations; the encoder and the head can be called apart."""

    def __init__(self, settings: TrainSettings, answers: int, pretrained: bool = False) -> None:
        super().__init__()
        self.encoder = timm.create_model(
            settings.encoder, pretrained=pretrained, num_classes=0, in_chans=3
        )
        low, high = settings.concentrations
        self.head = DirichletHead(self.encoder.num_features, answers, settings.dropout, low, high)
        mean, std = normalisation(self.encoder)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def features(self, pixels: Tensor) -> Tensor:
        """Pool the encoder's features of images (n, 3, h, w), uint8 or float in 0–255."""
        assert isinstance(self.mean, Tensor)
        assert isinstance(self.std, Tensor)
        scaled = (pixels.float() / 255 - self.mean) / self.std
        pooled: Tensor = self.encoder(scaled)
        return pooled

    def forward(self, pixels: Tensor) -> Tensor:
        """Concentrations (n, answers) of images (n, 3, h, w)."""
        concentrations: Tensor = self.head(self.features(pixels))
        return concentrations


def normalisation(encoder: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per colour that the encoder expects, from timm."""
    config = encoder.pretrained_cfg
    return tuple(config["mean"]), tuple(config["std"])

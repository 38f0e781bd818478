"""Heads: from an encoder's features to what is predicted, each with its loss."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from galaxymill.models.dirichlet import dirichlet_multinomial_nll
from galaxymill.models.settings import TrainSettings
from galaxymill.votes.task import Task
from galaxymill.votes.tree import Tree

START_LOGIT = -2.0
"""Heads start unsure: from the middle of the range, learning would first unlearn certainty."""

MIN_DEVIATION = 1e-3
SOFTPLUS_OF_1 = math.log(math.e - 1)
"""Whose softplus is 1: a Gaussian starts as wide as the labels are."""


class Head(nn.Module, ABC):
    """Dropout and a linear map; what its outputs mean is for the heads below to say.

    Parameters
    ----------
    features : int
        Length of the encoder's pooled features.
    outputs : int
        Number of outputs.
    scales : int
        Length of ``log_scale``, which calibration fits after training (zero before).
    dropout : float
        Share of features dropped, in training and in Monte-Carlo samples.

    Attributes
    ----------
    surer : int
        1 where a larger scale is more belief, −1 where it is less.
    """

    surer: ClassVar[int] = 1
    log_scale: Tensor

    def __init__(self, features: int, outputs: int, scales: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = nn.Linear(features, outputs)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("log_scale", torch.zeros(scales))

    def forward(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """Map features (n, f) to outputs (n, width), or (n, s, width) with masks.

        Parameters
        ----------
        features : Tensor, shape (n, f)
        masks : Tensor of bool, shape (n, s, f), optional
            Which features each Monte-Carlo sample keeps. Without them features are dropped at
            random in training, and not at all in evaluation.
        """
        # Autocast would round what the loss takes logarithms of.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            if masks is not None:
                features = features[:, None, :] * masks / (1 - self.dropout)
            else:
                features = nn.functional.dropout(features, self.dropout, self.training)
            return self.rescaled(self.outputs(self.linear(features)), self.log_scale)

    @abstractmethod
    def outputs(self, logits: Tensor) -> Tensor:
        """Turn the linear map's values into outputs, before calibration."""

    @abstractmethod
    def rescaled(self, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """Make outputs (…, width) surer or less sure: what calibration fits ``log_scale`` to."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Negative log likelihood of labels (n, n_columns) in nats, shape (n, n_questions)."""

    @property
    def width(self) -> int:
        """Number of outputs a galaxy."""
        return self.linear.out_features


class DirichletHead(Head):
    """Concentrations of votes: a sigmoid over a fixed range, times each question's strength.

    Parameters
    ----------
    features, dropout
        See `Head`.
    tree : Tree
    low, high : float
        Range of the concentrations before calibration; 1 to 101 is Zoobot's, which forbids
        posteriors that have most of their weight at both ends.
    """

    _sizes: Tensor

    def __init__(self, features: int, tree: Tree, dropout: float, low: float, high: float) -> None:
        super().__init__(features, len(tree.columns), len(tree.questions), dropout)
        nn.init.constant_(self.linear.bias, START_LOGIT)
        self._tree, self.low, self.high = tree, low, high
        sizes = torch.tensor([len(question.answers) for question in tree.questions])
        self.register_buffer("_sizes", sizes, persistent=False)

    def outputs(self, logits: Tensor) -> Tensor:
        """Concentrations, positive."""
        return self.low + (self.high - self.low) * torch.sigmoid(logits)

    def rescaled(self, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """Scale each question's concentrations, which leaves the fractions as they are."""
        return outputs * torch.repeat_interleave(log_scale, self._sizes).exp()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Dirichlet–multinomial; see `dirichlet_multinomial_nll`."""
        return dirichlet_multinomial_nll(outputs, labels, self._tree)


class SoftmaxHead(Head):
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


class GaussianHead(Head):
    """Mean and standard deviation of a number.

    Parameters
    ----------
    features, dropout
        See `Head`.
    """

    surer: ClassVar[int] = -1
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


def make_head(features: int, task: Task, settings: TrainSettings) -> Head:
    """Choose the head that suits a task: Dirichlet, softmax or Gaussian."""
    if task.kind == "number":
        return GaussianHead(features, settings.dropout)
    if task.kind == "class":
        return SoftmaxHead(features, len(task.columns), settings.dropout)
    low, high = settings.concentrations
    return DirichletHead(features, task.questions, settings.dropout, low, high)

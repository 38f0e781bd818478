"""The head of votes: Dirichlet concentrations."""

import torch
from torch import Tensor, nn

from galaxymill.tasks.heads import LinearHead
from galaxymill.tasks.votes.dirichlet import dirichlet_multinomial_nll
from galaxymill.trees.tree import Tree

START_LOGIT = -2.0
"""Heads start unsure: from the middle of the range, learning would first unlearn certainty."""


class DirichletHead(LinearHead):
    """Concentrations of votes: a sigmoid over a fixed range, times each question's strength.

    The range is ``low`` to ``high`` before calibration; 1 to 101 is Zoobot's, which forbids
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

"""The head of votes: Dirichlet concentrations, and their likelihood."""

import torch
from torch import Tensor, nn

from galaxymill.tasks.heads import LinearHead
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


def dirichlet_multinomial_nll(concentrations: Tensor, votes: Tensor, tree: Tree) -> Tensor:
    """Negative log likelihood of each galaxy's votes, question by question, in nats.

    Walmsley+22, eq. 2, multinomial form. Per question, with concentrations α, votes n, ``N = Σn``
    and ``α₀ = Σα``:
    ``−[lnΓ(α₀) + lnΓ(N+1) − lnΓ(N+α₀) + Σᵢ(lnΓ(nᵢ+αᵢ) − lnΓ(αᵢ) − lnΓ(nᵢ+1))]``.

    Parameters
    ----------
    concentrations : Tensor, shape (n, n_answers)
        Positive. Computed in float32 at least: lnΓ in half precision is badly wrong.
    votes : Tensor, shape (n, n_answers)
        Counts; a question with none adds exactly 0 and no gradient.
    tree : Tree
        Says which columns belong to which question.

    Returns
    -------
    Tensor, shape (n, n_questions)
    """
    with torch.autocast(concentrations.device.type, enabled=False):
        alpha = concentrations if concentrations.dtype == torch.float64 else concentrations.float()
        counts = votes.to(alpha.dtype)
        per_answer = torch.lgamma(counts + alpha) - torch.lgamma(alpha) - torch.lgamma(counts + 1)
        losses = []
        for question in tree.questions:
            a0 = alpha[:, question.slice].sum(1)
            n = counts[:, question.slice].sum(1)
            likelihood = torch.lgamma(a0) + torch.lgamma(n + 1) - torch.lgamma(n + a0)
            likelihood = likelihood + per_answer[:, question.slice].sum(1)
            # where, not a product: 0 × gradient would still be NaN for extreme concentrations.
            losses.append(torch.where(n > 0, -likelihood, torch.zeros_like(likelihood)))
        return torch.stack(losses, dim=1)

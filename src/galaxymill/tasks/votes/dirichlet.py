"""The Dirichlet–multinomial likelihood of votes (Walmsley+22, eq. 2, multinomial form)."""

import torch
from torch import Tensor

from galaxymill.trees.tree import Tree


def dirichlet_multinomial_nll(concentrations: Tensor, votes: Tensor, tree: Tree) -> Tensor:
    """Negative log likelihood of each galaxy's votes, question by question, in nats.

    Per question, with concentrations α, votes n, ``N = Σn`` and ``α₀ = Σα``:
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

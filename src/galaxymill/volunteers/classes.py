"""Classes, of which each galaxy truly has one: the confusions of each volunteer.

Dawid & Skene 1979 (Applied Statistics 28, 20), by expectation and maximisation. A volunteer with
few answers is taken for a typical one: everybody's confusions, learned too, count as ``WORTH``
answers of each true class.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from galaxymill.volunteers.question import Answered

ROUNDS = 200
TOLERANCE = 1e-5
WORTH = 4.0


@dataclass(frozen=True)
class Confusions:
    """What galaxies are and what volunteers call them.

    Attributes
    ----------
    classes : Tensor, shape (n_galaxies, n_classes)
        Probability of each class.
    called : Tensor, shape (n_volunteers, n_classes, n_classes)
        Probability that a volunteer calls a galaxy of the last axis's class by the other's name.
    weight : Tensor, shape (n_volunteers, n_classes)
        Answers on galaxies of each true class, as far as that is known, and prior ones.
    shares : Tensor, shape (n_classes,)
        Of all galaxies.
    """

    classes: Tensor
    called: Tensor
    weight: Tensor
    shares: Tensor

    def skill(self) -> tuple[Tensor, Tensor]:
        """Share of the right names that each volunteer gives, and its standard deviation."""
        right = torch.diagonal(self.called, dim1=1, dim2=2)
        variance = right * (1 - right) / (self.weight + 1)
        return right @ self.shares, (variance @ self.shares**2).sqrt()

    def bias(self) -> tuple[Tensor, Tensor]:
        """Log odds of each name beyond those of its class, and their errors (n, n_classes)."""
        given = (self.called @ self.shares).clamp(1e-4, 1 - 1e-4)
        error = (self.weight.sum(1, keepdim=True) * given * (1 - given)).rsqrt()
        return torch.logit(given) - torch.logit(self.shares.clamp(1e-4, 1 - 1e-4)), error


def dawid_skene(answered: Answered) -> Confusions:
    """Fit confusions to answers; galaxies not learned from are judged by what was learned."""
    galaxy, volunteer, learn = answered.galaxy, answered.volunteer, answered.learn
    volunteers, classes = answered.volunteers, answered.answers

    def matrix(chosen: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.stack([galaxy, classes * volunteer + answered.answer])[:, chosen]
        return counted(places, (len(learn), classes * volunteers))

    known = learn[galaxy]
    there, turned = matrix(known)
    votes = there @ torch.eye(classes).repeat(volunteers, 1) + 0.1
    belief = votes / votes.sum(1, keepdim=True)
    asked = torch.bincount(galaxy[known], minlength=len(learn)) > 0
    for _ in range(ROUNDS):
        counts = (turned @ belief).reshape(volunteers, classes, classes)
        typical = counts.sum(0) + torch.eye(classes) + 0.1
        counts = counts + WORTH * typical / typical.sum(0)
        weight = counts.sum(1)
        called = counts / weight[:, None]
        shares = belief[asked].sum(0) + 1 / classes
        shares = shares / shares.sum()
        table = called.log().reshape(-1, classes)
        after = torch.softmax(there @ table + shares.log(), 1)
        if (after - belief).abs().max() < TOLERANCE:
            break
        belief = after
    everything, _ = matrix(torch.ones_like(known))
    belief = torch.softmax(everything @ table + shares.log(), 1)
    return Confusions(belief, called, weight, shares)


def counted(places: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Count how often each place (row, column) is named: a sparse matrix, and its transpose."""
    with warnings.catch_warnings(action="ignore"):
        # Torch calls the layout new.
        whole = torch.sparse_coo_tensor(
            places, torch.ones(places.shape[1]), size, check_invariants=False
        ).coalesce()
        return whole.to_sparse_csr(), whole.t().coalesce().to_sparse_csr()

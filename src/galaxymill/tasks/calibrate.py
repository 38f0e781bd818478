"""Calibration: one scale a question, fitted to galaxies that the model has not learned from.

Networks trained on few galaxies are surer than they should be (Guo+17, "On calibration of modern
neural networks"). The most likely answer stays as it is; only the strength of belief changes.
"""

import math

import torch
from torch import Tensor

from galaxymill.tasks.heads import Head

PRIOR_CENTRE, PRIOR_WIDTH = -0.3, 0.35
"""Mean and standard deviation of the prior of ln(scale): most questions need less belief, and the
galaxies that it is fitted to have chosen the epoch, and so flatter the network. Some hundred votes
on a question outweigh it."""

STEPS = 60


def fit_log_scale(head: Head, samples: Tensor, labels: Tensor) -> Tensor:
    """Find the ln(scale) that makes validation labels most likely under the mixture of samples.

    ``samples`` (n, s, width) are the head's outputs before calibration, of Monte-Carlo samples and
    members; ``labels`` have the shape (n, n_columns). Gives the maximum a posteriori with a normal
    prior, in the shape of ``head.log_scale``; 0 without labels.
    """
    log_scale = torch.zeros_like(head.log_scale, dtype=torch.float64, requires_grad=True)
    centre = head.confidence_sign * PRIOR_CENTRE
    if len(labels) == 0:
        return log_scale.detach().float()
    outputs, labels = samples.double(), labels.double()
    solver = torch.optim.LBFGS([log_scale], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = mixture_nll(head, head.rescaled(outputs, log_scale), labels).sum()
        loss = loss + 0.5 * ((log_scale - centre) / PRIOR_WIDTH).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    found = log_scale.detach()
    return torch.where(found.isfinite(), found, 0).clamp(-5, 5).float()


def mixture_nll(head: Head, samples: Tensor, labels: Tensor) -> Tensor:
    """Negative log likelihood of labels under the even mixture of samples, in nats.

    Shapes are those of `fit_log_scale`; gives (n, n_questions).
    """
    losses = torch.stack([head.loss(sample, labels) for sample in samples.unbind(1)], dim=1)
    return math.log(samples.shape[1]) - torch.logsumexp(-losses, dim=1)

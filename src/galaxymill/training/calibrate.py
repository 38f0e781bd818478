"""How sure a model may be: one scale a question, fitted to galaxies it has not learned from.

Networks trained on few galaxies are surer than they should be (Guo+17, "On calibration of modern
neural networks"). The most likely answer stays as it is; only the strength of belief changes.
"""

import math

import torch
from torch import Tensor

from galaxymill.tasks.heads import Head

PRIOR_CENTRE, PRIOR_WIDTH = -0.3, 0.35
"""What ln(scale) is expected to be beforehand, its mean and standard deviation: most questions need
less belief, and few galaxies must not argue for more. The same galaxies have chosen the epoch, and
so flatter the network. Some hundred votes on a question outweigh it."""

STEPS = 60


def fit_log_scale(head: Head, samples: Tensor, labels: Tensor) -> Tensor:
    """Find the scale that makes validation labels most likely under the mixture of samples.

    Parameters
    ----------
    head : Head
        Whose outputs they are; its own scale is not used.
    samples : Tensor, shape (n, s, width)
        Outputs before calibration: Monte-Carlo samples and members of an ensemble.
    labels : Tensor, shape (n, n_columns)

    Returns
    -------
    Tensor, shape of ``head.log_scale``
        Maximum a posteriori with a normal prior; 0 without labels.
    """
    log_scale = torch.zeros_like(head.log_scale, dtype=torch.float64, requires_grad=True)
    centre = head.confidence_sign * PRIOR_CENTRE
    if len(labels) == 0:
        return log_scale.detach().float()
    outputs, wanted = samples.double(), labels.double()
    solver = torch.optim.LBFGS([log_scale], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = mixture_nll(head, head.rescaled(outputs, log_scale), wanted).sum()
        loss = loss + 0.5 * ((log_scale - centre) / PRIOR_WIDTH).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    found = log_scale.detach()
    return torch.where(found.isfinite(), found, 0).clamp(-5, 5).float()


def mixture_nll(head: Head, samples: Tensor, labels: Tensor) -> Tensor:
    """Negative log likelihood of labels under the even mixture of samples, in nats.

    Parameters
    ----------
    samples : Tensor, shape (n, s, width)
    labels : Tensor, shape (n, n_columns)

    Returns
    -------
    Tensor, shape (n, n_questions)
    """
    count = samples.shape[1]
    each = [head.loss(samples[:, place], labels) for place in range(count)]
    return math.log(count) - torch.logsumexp(-torch.stack(each, dim=1), dim=1)

"""The network of a probe, and how it is fitted: all galaxies at once, with a penalty."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from galaxymill.errors import UserError
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.tasks.task import Task

PENALTIES: tuple[float, ...] = tuple(10.0 ** (power / 2) for power in range(6, -4, -1))
"""Candidates, the strongest first: the inverse of C in scikit-learn's words."""
BIAS_PENALTY = 1e-4
"""So that a class that no galaxy has keeps a probability."""
STEPS = 200
ROUGH_STEPS = 15
"""Enough to compare penalties, each of which goes on from the one before."""

Doubles = npt.NDArray[np.float64]


class Probe(nn.Module):
    """Scaled features, maybe a hidden layer, and a task's head.

    ``scale`` (f,) divides each feature by the square root of its deviation: between components as
    they are, whose large ones would learn alone, and all alike, whose small ones are noise.
    """

    scale: Tensor

    def __init__(self, features: int, task: Task, settings: ProbeSettings) -> None:
        super().__init__()
        if not task.pooled:
            raise UserError(
                f"a probe of {task.kind}: it says where in the image something is, but features "
                "are of whole images; train a network on the images"
            )
        width = settings.hidden or features
        self.register_buffer("scale", torch.ones(features))
        hidden = (nn.Linear(features, width), nn.Tanh()) if settings.hidden else ()
        self.hidden = nn.Sequential(*hidden)
        self.head = task.head(width, settings)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (n, …) of the head for features (n, f)."""
        return self.of_scaled(features * self.scale)

    def of_scaled(self, features: Tensor) -> Tensor:
        """Outputs for features (n, f) that are scaled already."""
        outputs: Tensor = self.head(self.hidden(features))
        return outputs

    def penalised(self) -> list[Tensor]:
        """Weights that the penalty draws to zero; all parameters but biases."""
        return [value for value in self.parameters() if value.ndim > 1]


def feature_scale(deviations: Doubles) -> Tensor:
    """Factor on each feature, by their standard deviations (f,); the mean square is then 1."""
    wide = np.maximum(deviations, 1e-12)
    return torch.from_numpy(1 / np.sqrt(wide * wide.mean()))


def make_probe(
    task: Task, settings: ProbeSettings, scale: Tensor, labels: Tensor, member: int = 0
) -> Probe:
    """Make a probe that has learned nothing but what the labels (n, …) are on average."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed + member)
        probe = Probe(len(scale), task, settings).double()
    probe.scale.copy_(scale)
    probe.head.start_at(labels)
    return probe


def fit_probe(
    probe: Probe, features: Tensor, labels: Tensor, penalty: float, rough: bool = False
) -> None:
    """Minimise the task's loss, summed over galaxies, plus half the penalty on squared weights.

    Parameters
    ----------
    probe : Probe
        In double precision; it goes on from where it is.
    features : Tensor, shape (n, f), float64
    labels : Tensor, shape (n, …), float64
    penalty : float
        1/C of scikit-learn's LogisticRegression; alpha of its Ridge, in units of the noise.
    rough : bool
        Stop when the loss hardly changes.
    """
    penalised = probe.penalised()
    biases = [value for value in probe.parameters() if value.ndim == 1]
    solver = torch.optim.LBFGS(
        probe.parameters(),
        max_iter=ROUGH_STEPS if rough else STEPS,
        tolerance_grad=1e-4 if rough else 1e-6,
        tolerance_change=1e-5 if rough else 1e-9,
        line_search_fn="strong_wolfe",
    )
    # Steps are measured in the loss of one galaxy, so that many do not overshoot.
    share = 1 / max(len(features), 1)
    scaled = features * probe.scale

    def closure() -> Tensor:
        solver.zero_grad()
        loss = probe.head.loss(probe.of_scaled(scaled), labels).sum()
        for weights, strength in ((penalised, penalty), (biases, BIAS_PENALTY)):
            loss = loss + 0.5 * strength * sum(value.square().sum() for value in weights)
        loss = loss * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    before = [value.detach().clone() for value in probe.parameters()]
    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    if not all(value.isfinite().all() for value in probe.parameters()):
        with torch.no_grad():
            for value, old in zip(probe.parameters(), before, strict=True):
                value.copy_(old)


def choose_penalties(
    start: Callable[[Tensor], Probe], features: Tensor, labels: Tensor, folds: Tensor, count: int
) -> list[float]:
    """Choose for each member the penalty whose probes predict best what they did not learn from.

    A probe that learns from all folds but two is judged by each of them, for the member that the
    other belongs to: nobody's own fold has a say.

    Parameters
    ----------
    start : callable
        Makes a probe for some labels.
    features, labels : Tensor, shapes (n, f) and (n, …)
    folds : Tensor, shape (n,)
        Fold of each galaxy, below ``count``.

    Returns
    -------
    list of float, length count
        Each one of ``PENALTIES``; the strongest where nothing can be judged.
    """
    losses = np.zeros((count, len(PENALTIES)))
    for one, other in combinations(range(count), 2):
        learned = (folds != one) & (folds != other)
        if int(learned.sum()) < 2:
            continue
        probe = start(labels[learned])
        for place, penalty in enumerate(PENALTIES):
            fit_probe(probe, features[learned], labels[learned], penalty, rough=True)
            with torch.no_grad():
                each = probe.head.loss(probe(features), labels).sum(1)
            losses[one, place] += float(each[folds == other].sum())
            losses[other, place] += float(each[folds == one].sum())
    best = np.nan_to_num(losses, nan=np.inf).argmin(axis=1)
    return [PENALTIES[place] for place in best]


def predict_all(probes: Sequence[Probe], features: npt.NDArray[Any]) -> Tensor:
    """Predict galaxies by each member; shape (n, members, …), float32."""
    values = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    with torch.inference_mode():
        return torch.stack([probe(values) for probe in probes], dim=1)

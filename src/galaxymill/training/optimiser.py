"""What learns, how fast, and when."""

import math
from typing import Any

import torch
from torch import nn

from galaxymill.errors import UserError
from galaxymill.models.network import Network
from galaxymill.models.settings import TrainSettings


def stages(encoder: Any) -> dict[str, int]:
    """Number the stages of a timm encoder, from 0 at its input, by its parameters' names."""
    from timm.models import group_parameters

    groups: dict[str, int] = group_parameters(
        encoder, encoder.group_matcher(coarse=True), reverse=True
    )
    return {name: groups.get(name, 0) for name, _ in encoder.named_parameters()}


def freeze(network: Network, settings: TrainSettings) -> None:
    """Let only the chosen part of a network learn.

    Raises UserError when more stages are asked for than the encoder has.
    """
    if settings.trainable == "all":
        return
    numbers = stages(network.encoder)
    count = max(numbers.values()) + 1
    learning = 0 if settings.trainable == "head" else int(settings.trainable)
    if learning > count:
        raise UserError(
            f"trainable: {learning} stages, but {settings.encoder} has {count}; give at most "
            "that, or all"
        )
    for name, parameter in network.encoder.named_parameters():
        parameter.requires_grad_(numbers[name] >= count - learning)


def frozen_modules(network: Network) -> list[nn.Module]:
    """Modules none of whose parameters learn: their batch statistics must stay as well."""
    return [
        module
        for module in network.modules()
        if list(module.parameters()) and not any(p.requires_grad for p in module.parameters())
    ]


def make_optimiser(network: Network, settings: TrainSettings) -> torch.optim.AdamW:
    """Make AdamW with a learning rate that falls from stage to stage towards the input.

    Weight decay spares biases and normalisations, as is usual. Each group's ``lr_scale`` is its
    share of the learning rate (Howard & Ruder 2018, "discriminative fine-tuning").
    """
    numbers = stages(network.encoder)
    depth = max(numbers.values()) + 1
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        above = depth - numbers.get(name.removeprefix("encoder."), depth)
        scale, decays = settings.layer_decay**above, parameter.ndim > 1
        group = groups.setdefault(
            (scale, decays),
            {
                "params": [],
                "lr_scale": scale,
                "weight_decay": settings.weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return torch.optim.AdamW(list(groups.values()), lr=settings.learning_rate)


def rate_factor(step: int, steps: int, warm_up: float) -> float:
    """Share of the peak learning rate at a step, from 0, of all ``steps``.

    A linear warm-up over the share ``warm_up`` of the steps, then half a cosine to zero.
    """
    rising = round(warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]

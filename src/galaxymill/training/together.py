"""A step that several processes share computes what one process would, but for rounding."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Together(TorchFunctionMode):
    """Within this context, a process that sees some galaxies of a step acts as part of the whole.

    All processes draw the random numbers of all ``whole`` galaxies of the step, of which each takes
    its ``own``; batch normalisation takes its statistics over all galaxies.
    """

    def __init__(self, whole: int, own: slice) -> None:
        super().__init__()
        self._whole, self._own = whole, own
        self._here = len(range(whole)[own])

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Catch what looks at more than one galaxy or draws a number; let all else pass."""
        kwargs = kwargs or {}
        if func is functional.batch_norm and kwargs["training"]:
            return batch_norm(*args, **kwargs)
        if func is torch.rand and args[-1] == self._here:
            return func(*args[:-1], self._whole, **kwargs)[..., self._own]
        if func is functional.dropout and kwargs["training"] and len(args[0]) == self._here:
            ones = args[0].new_ones((self._whole, *args[0].shape[1:]))
            return args[0] * func(ones, p=kwargs["p"])[self._own]
        if func is Tensor.bernoulli_ and len(args[0]) == self._here:
            every = args[0].new_empty((self._whole, *args[0].shape[1:]))
            return args[0].copy_(every.bernoulli_(*args[1:], **kwargs)[self._own])
        return func(*args, **kwargs)


def batch_norm(
    pixels: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Do what `torch.nn.functional.batch_norm` does, over the galaxies of all processes.

    ``torch.nn.SyncBatchNorm`` would need every module exchanged, and a GPU.
    """
    ones = torch.ones(pixels.shape[1], device=pixels.device)
    normed, mean, var, count = _BatchNorm.apply(
        pixels, ones if weight is None else weight, 0 * ones if bias is None else bias, eps
    )
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
    return normed  # type: ignore[no-any-return]


class _BatchNorm(torch.autograd.Function):
    """Normalisation by the mean and variance of all processes; both directions exchange once."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        mean, var, count = _moments(pixels)
        ctx.save_for_backward(pixels, weight, mean, torch.rsqrt(var + eps), count)
        ctx.mark_non_differentiable(mean, var, count)
        normed = functional.batch_norm(pixels, mean, var, weight, bias, False, 0.0, eps)
        return normed, mean, var, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *others: Any) -> Any:
        pixels, weight, mean, scale, count = ctx.saved_tensors
        dims, shape = _all_but_colours(pixels)
        gradient = _precise(gradient)
        standard = (_precise(pixels) - mean.view(shape)) * scale.view(shape)
        # Of the bias and the weight: DDP adds those of all processes itself.
        own = torch.stack([gradient.sum(dims), (gradient * standard).sum(dims)])
        every = own.clone()
        dist.all_reduce(every)
        flat, along = (every / count).view(2, *shape)
        for_pixels = (gradient - flat - standard * along) * (scale * weight).view(shape)
        return for_pixels.to(pixels.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None


def _moments(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and number of the values of each colour, over all processes."""
    dims, shape = _all_but_colours(pixels)
    values = _precise(pixels)
    count = pixels.numel() // pixels.shape[1]
    mean = values.sum(dims) / max(1, count)
    square = (values - mean.view(shape)).square().sum(dims)
    own = torch.stack([mean, square, torch.full_like(mean, count)])
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, own)
    means, squares, counts = torch.stack(gathered, dim=1)
    total = counts.sum(0)
    mean = (means * counts).sum(0) / total
    var = (squares + counts * (means - mean).square()).sum(0) / total
    return mean, var, total


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _all_but_colours(pixels: Tensor) -> tuple[list[int], tuple[int, ...]]:
    dims = [0, *range(2, pixels.ndim)]
    return dims, (1, -1, *(1 for _ in dims[1:]))

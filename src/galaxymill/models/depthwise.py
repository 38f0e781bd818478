"""Depthwise convolutions in bfloat16 on a CPU, with a gradient that does not crawl.

oneDNN has fast bfloat16 kernels for their forward pass, but for the backward pass of strided or
5×5 ones it falls back to loops that take two to ten times as long as its float32 kernels: half of
the time of a training step of an EfficientNet. Here those gradients are taken in float32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Depthwise(torch.autograd.Function):
    """conv2d of one filter a channel: forward in bfloat16, backward in float32."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, weight: Tensor, stride: list[int], padding: list[int]
    ) -> Tensor:
        half, kernel = pixels.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(half, kernel)
        ctx.geometry = stride, padding
        ctx.kinds = pixels.dtype, weight.dtype
        return torch.conv2d(half, kernel, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        half, kernel = ctx.saved_tensors
        stride, padding = ctx.geometry
        for_pixels, for_weight, _ = torch.ops.aten.convolution_backward(
            gradient.float(),
            half.float(),
            kernel.float(),
            *(None, stride, padding, [1, 1], False, [0, 0], len(kernel)),
            [ctx.needs_input_grad[0], True, False],
        )
        kind, weight_kind = ctx.kinds
        moved = None if for_pixels is None else for_pixels.to(kind)
        return moved, for_weight.to(weight_kind), None, None


class QuickDepthwise(TorchFunctionMode):
    """Within this context, slow depthwise convolutions take their gradients in float32."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Catch conv2d; let all else pass."""
        if func is torch.conv2d and not kwargs and len(args) == 7 and _is_slow(*args):
            pixels, weight, _, stride, padding, _, _ = args
            return _Depthwise.apply(pixels, weight, _pair(stride), _pair(padding))
        return func(*args, **(kwargs or {}))


def _is_slow(
    pixels: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    depthwise = groups == len(weight) == pixels.shape[1] > 1
    plain = bias is None and not isinstance(padding, str) and _pair(dilation) == [1, 1]
    large = max(weight.shape[-2:]) > 3 or max(_pair(stride)) > 1
    return depthwise and plain and large and weight.requires_grad


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)

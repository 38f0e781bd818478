"""Quick depthwise convolutions are the same convolutions."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from galaxymill.models import depthwise
from galaxymill.models.depthwise import QuickDepthwise

CHANNELS = 8


def conv(kernel, stride, same=False, **given):
    torch.manual_seed(1)
    kind = Conv2dSame if same else nn.Conv2d
    padding = 0 if same else kernel // 2
    options = {"groups": CHANNELS, "bias": False, "padding": padding, **given}
    return kind(CHANNELS, CHANNELS, kernel, stride, **options)


def grads(layer, pixels, quick):
    layer.zero_grad()
    pixels = pixels.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=quick is not None):
        if quick:
            with QuickDepthwise():
                out = layer(pixels)
        else:
            out = layer(pixels)
    (out.float() ** 2).sum().backward()
    return out.detach().float(), pixels.grad, layer.weight.grad.clone()


@pytest.fixture
def pixels():
    return torch.randn(3, CHANNELS, 17, 17, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def calls(monkeypatch):
    """Sizes of the kernels that were taken over."""
    seen = []
    real = depthwise._Depthwise.apply
    spy = type("Spy", (), {"apply": lambda *a: seen.append(tuple(a[1].shape)) or real(*a)})
    monkeypatch.setattr(depthwise, "_Depthwise", spy)
    return seen


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (5, 2)])
def test_slow_ones_give_the_same_numbers(pixels, calls, kernel, stride, same):
    layer = conv(kernel, stride, same)
    quick = grads(layer, pixels, quick=True)
    assert calls == [(CHANNELS, 1, kernel, kernel)]
    half, full = grads(layer, pixels, quick=False), grads(layer, pixels, quick=None)
    assert torch.equal(quick[0], half[0])
    for ours, exact in zip(quick, full, strict=True):
        assert ours.dtype == exact.dtype
        assert (ours - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize(
    "layer",
    [
        conv(3, 1),
        conv(5, 2, bias=True),
        conv(5, 2, groups=1),
        conv(5, 2, groups=2),
        conv(5, 1, dilation=2, padding=4),
        conv(3, 1, same=True),
    ],
    ids=["quick already", "biased", "whole", "grouped", "dilated", "same"],
)
def test_others_are_untouched(pixels, calls, layer):
    quick, plain = grads(layer, pixels, quick=True), grads(layer, pixels, quick=False)
    assert calls == []
    for ours, theirs in zip(quick, plain, strict=True):
        assert torch.equal(ours, theirs)


def test_a_frozen_weight_and_a_leaf_image_need_no_gradient(pixels, calls):
    layer = conv(5, 2).requires_grad_(False)
    with QuickDepthwise():
        layer(pixels)
    assert calls == []
    layer.requires_grad_(True)
    with QuickDepthwise():
        layer(pixels).sum().backward()
    assert calls == [(CHANNELS, 1, 5, 5)]
    assert layer.weight.grad.abs().sum() > 0


def test_outside_the_context_nothing_is_changed(pixels, calls):
    with QuickDepthwise():
        pass
    conv(5, 2)(pixels)
    assert calls == []

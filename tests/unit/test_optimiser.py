"""What learns, how fast, and when."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.optim import param_groups_layer_decay

from galaxymill.errors import UserError
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings
from galaxymill.tasks import NumberTask
from galaxymill.training.optimiser import (
    freeze,
    frozen_modules,
    make_optimiser,
    rate_factor,
    set_rate,
    stages,
)

ENCODERS = ["test_efficientnet", "test_resnet", "test_vit"]


def network(encoder="test_efficientnet", **given):
    size = 160 if encoder == "test_vit" else 32
    settings = TrainSettings(encoder=encoder, image_size=size, weights="published", **given)
    return Network(describe_encoder(encoder), NumberTask("z"), settings), settings


def rates(net, optimiser):
    """Share of the learning rate of each parameter, by its name."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {
        names[id(parameter)]: group["lr_scale"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rates_fall_towards_the_input_as_timm_s_do(encoder):
    """From the head's full rate, by one factor a stage; in timm's order of depth."""
    net, settings = network(encoder, layer_decay=0.5)
    ours = rates(net, make_optimiser(net, settings))
    assert ours["head.linear.weight"] == ours["head.linear.bias"] == 1
    assert set(ours) == {name for name, _ in net.named_parameters()}
    numbers = stages(net.encoder)
    for name, number in numbers.items():
        assert ours[f"encoder.{name}"] == 0.5 ** (max(numbers.values()) + 1 - number)
    theirs = param_groups_layer_decay(net.encoder, layer_decay=0.5, min_scale=0)
    scales = {id(p): group["lr_scale"] for group in theirs for p in group["params"]}
    pairs = sorted(
        (scales[id(p)], ours[f"encoder.{name}"]) for name, p in net.encoder.named_parameters()
    )
    # Its stages are finer: each block is one.
    assert [own for _, own in pairs] == sorted(own for _, own in pairs)


def test_decay_spares_biases_and_normalisations():
    net, settings = network(weight_decay=0.3)
    names = {id(p): (name, p.ndim) for name, p in net.named_parameters()}
    for group in make_optimiser(net, settings).param_groups:
        for parameter in group["params"]:
            _, dimensions = names[id(parameter)]
            assert group["weight_decay"] == (0.3 if dimensions > 1 else 0)


def test_each_group_gets_its_share():
    net, settings = network(layer_decay=0.5)
    optimiser = make_optimiser(net, settings)
    set_rate(optimiser, 0.2)
    assert all(group["lr"] == 0.2 * group["lr_scale"] for group in optimiser.param_groups)
    assert {group["lr_scale"] for group in optimiser.param_groups} > {1.0, 0.5}


@pytest.mark.parametrize(("trainable", "learning"), [("head", 0), (1, 1), (3, 3), ("all", 6)])
def test_the_last_stages_learn(trainable, learning):
    net, settings = network(trainable=trainable)
    freeze(net, settings)
    numbers = stages(net.encoder)
    learns = {n for name, n in numbers.items() if net.encoder.get_parameter(name).requires_grad}
    assert learns == set(range(6 - learning, 6))
    assert net.head.linear.weight.requires_grad
    assert len(rates(net, make_optimiser(net, settings))) == sum(
        p.requires_grad for p in net.parameters()
    )


def test_frozen_batch_normalisations_are_known():
    net, settings = network(trainable=2)
    freeze(net, settings)
    frozen = set(frozen_modules(net))
    for module in net.modules():
        own = list(module.parameters())
        assert (module in frozen) == bool(own and not any(p.requires_grad for p in own))
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in frozen)


def test_more_stages_than_there_are_is_refused():
    net, settings = network(trainable=7)
    with pytest.raises(UserError, match="trainable: 7 stages, but test_efficientnet has 6"):
        freeze(net, settings)


@given(st.integers(1, 500), st.floats(0, 0.99))
def test_the_rate_rises_to_its_peak_and_falls_to_nought(steps, warm_up):
    curve = [rate_factor(step, steps, warm_up) for step in range(steps)]
    rising = round(warm_up * steps)
    for step, value in enumerate(curve):
        # Half a cosine is the square of a cosine of half the angle.
        part = (step - rising) / max(1, steps - rising)
        expected = (step + 1) / rising if step < rising else math.cos(math.pi * part / 2) ** 2
        assert value == pytest.approx(expected, abs=1e-12)
    assert max(curve) == pytest.approx(1)
    assert all(0 < value <= 1 for value in curve)
    assert rate_factor(steps, steps, warm_up) == pytest.approx(0 if rising < steps else 1)

"""A checkpoint brings everything back, or is not used."""

import pytest
import torch
from torch import nn

from galaxymill.training.checkpoint import load_checkpoint, save_checkpoint


def trained(steps):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1)
    step(net, optimiser, steps)
    return net, optimiser


def step(net, optimiser, steps):
    pixels = torch.randn(8, 3, generator=torch.Generator().manual_seed(2))
    for _ in range(steps):
        optimiser.zero_grad()
        net(pixels).square().sum().backward()
        optimiser.step()


@pytest.fixture
def saved(tmp_path):
    net, optimiser = trained(3)
    path = tmp_path / "checkpoint.safetensors"
    parts = {"network": net.state_dict(), "best": {"head/a.b": torch.ones(2)}}
    save_checkpoint(path, "r1", parts, optimiser, {"history": [{"val_nll": None, "x": 0.1}]})
    return path, net, optimiser


def test_training_goes_on_bit_by_bit(saved):
    path, net, optimiser = saved
    again, other = trained(0)
    parts, facts = load_checkpoint(path, "r1", other)
    again.load_state_dict(parts["network"])
    assert facts == {"history": [{"val_nll": None, "x": 0.1}]}
    assert torch.equal(parts["best"]["head/a.b"], torch.ones(2))
    step(net, optimiser, 4)
    step(again, other, 4)
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_another_request_s_is_not_used(saved):
    _, optimiser = trained(0)
    assert load_checkpoint(saved[0], "r2", optimiser) is None
    assert load_checkpoint(saved[0].with_name("none"), "r1", optimiser) is None
    assert optimiser.state_dict()["state"] == {}


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_one_is_not_used(saved, share):
    path = saved[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    _, optimiser = trained(0)
    assert load_checkpoint(path, "r1", optimiser) is None
    assert optimiser.state_dict()["state"] == {}


@pytest.mark.parametrize("content", [b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}      ", b"PK\3\4"])
def test_garbage_is_not_used(saved, content):
    saved[0].write_bytes(content)
    _, optimiser = trained(0)
    assert load_checkpoint(saved[0], "r1", optimiser) is None


def test_the_same_state_is_the_same_file(saved, tmp_path):
    path, net, optimiser = saved
    before = path.read_bytes()
    parts = {"network": net.state_dict(), "best": {"head/a.b": torch.ones(2)}}
    for _ in range(8):  # an order drawn at random would be the same once in two
        save_checkpoint(path, "r1", parts, optimiser, {"history": [{"val_nll": None, "x": 0.1}]})
        assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]

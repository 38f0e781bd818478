"""What processes compute of a step together is what one computes of it alone."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from torch.nn import functional

from galaxymill.models.views import erase, random_view
from galaxymill.training.together import Together

PROCESSES = 3
SHARED = {"many": 8, "fewer than processes": 2}
"""Galaxies of a step; of two, the third process has none."""


def images(count):
    generator = torch.Generator().manual_seed(5)
    return torch.rand((count, 3, 32, 32), generator=generator)


def weighted(outputs, count, own):
    """Make a loss of which galaxies count differently."""
    return (outputs * torch.arange(1.0, count + 1)[own][:, None]).sum()


def computed(count, own):
    """Outputs, the gradient at the images, gradients and statistics of a network of every kind."""
    torch.manual_seed(1)
    network = timm.create_model("test_efficientnet", num_classes=4, drop_path_rate=0.2).double()
    pixels = images(count)[own].double().requires_grad_()
    outputs = functional.dropout(network.train()(pixels), 0.3)
    weighted(outputs, count, own).backward()
    gradients = {name: value.grad for name, value in network.named_parameters()}
    statistics = {k: v for k, v in network.state_dict().items() if "running" in k}
    return outputs.detach(), pixels.grad, gradients, statistics


def work(folder, port, rank):
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES
    )
    torch.set_num_threads(1)
    own = slice(rank, None, PROCESSES)
    for name, count in SHARED.items():
        with Together(count, own):
            torch.save(computed(count, own), folder / f"{name}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = [sys.executable, __file__, str(folder), str(port)]
    started = [subprocess.Popen([*run, str(rank)]) for rank in range(PROCESSES)]
    assert [one.wait(timeout=120) for one in started] == [0] * PROCESSES
    return lambda name: [torch.load(folder / f"{name}-{rank}.pt") for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", SHARED)
def test_a_network_sees_the_whole_step(found, name):
    """Batch statistics, dropout and stochastic depth, in float64."""
    count, parts = SHARED[name], found(name)
    outputs, at_images, gradients, statistics = computed(count, slice(None))
    for rank, (own_outputs, own_at_images, _, own_statistics) in enumerate(parts):
        own = slice(rank, None, PROCESSES)
        close(own_outputs, outputs[own])
        close(own_at_images, at_images[own])
        for key, value in statistics.items():
            close(own_statistics[key], value)
    for key, value in gradients.items():
        close(sum(part[2][key] for part in parts), value)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


def test_views_are_those_of_the_whole_step():
    def seen(pixels):
        draws = torch.Generator().manual_seed(3)
        views = random_view(pixels, 24, (1.1, 1.4), 0.1, draws)
        return erase(views, 0.7, draws)

    whole = seen(images(7))
    for rank in range(2):
        own = slice(rank, None, 2)
        with Together(7, own):
            assert torch.equal(seen(images(7)[own]), whole[own])


def test_outside_nothing_is_changed():
    torch.manual_seed(4)
    before = functional.dropout(torch.ones(4, 3))
    torch.manual_seed(4)
    with Together(8, slice(0, 8, 2)):
        within = functional.dropout(torch.ones(4, 3))
    torch.manual_seed(4)
    assert torch.equal(functional.dropout(torch.ones(4, 3)), before)
    assert not torch.equal(within, before)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

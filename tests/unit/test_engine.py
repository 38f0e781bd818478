"""Ways of computing agree; what the device cannot do is told, or done in smaller steps."""

import copy
import logging

import pytest
import torch

from galaxymill.errors import UserError
from galaxymill.inference import engine as module
from galaxymill.inference.engine import PROBES, Engine, probe_images, shift
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.trees.tree import parse_tree

TREE = parse_tree({"name": "b", "questions": {"bar": {"answers": ["yes", "no"]}}}, "b")
SIZE = 32
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    settings = TrainSettings(encoder="test_efficientnet", image_size=SIZE)
    return Network(describe_encoder(settings.encoder), VoteTask(TREE), settings).eval()


@pytest.fixture(scope="module")
def pixels():
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (21, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def plain(network, pixels):
    with torch.inference_mode():
        return network.features(pixels)


def features(engine, network, pixels):
    with torch.inference_mode():
        encoder = engine.compile(engine.prepare(network, SIZE), SIZE)
        return engine.features(network, encoder, pixels)


@pytest.mark.parametrize("batch_size", [1, 4, 16, 64])
def test_any_batch_size_gives_the_plain_network_s_features(network, pixels, plain, batch_size):
    found = features(Engine(CPU, batch_size=batch_size), network, pixels)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


def test_no_images_give_no_features(network, pixels, plain):
    assert features(Engine(CPU), network, pixels[:0]).shape == (0, plain.shape[1])


def test_bfloat16_is_near(network, pixels, plain):
    found = features(Engine(CPU, torch.bfloat16), network, pixels)
    assert found.dtype == torch.float32
    assert 0 < (found - plain).abs().max() < 0.05 * plain.abs().max()


def test_compiled_gives_the_same(network, pixels, plain, caplog):
    engine = Engine.choose(PredictSettings(device="cpu", precision="fp32", compile="on"), 1)
    assert engine.compiled
    found = features(engine, network, pixels)
    assert engine.compiled, caplog.text
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)


def test_short_partitions_are_not_compiled():
    chosen = PredictSettings(device="cpu")
    assert not Engine.choose(chosen, module.REPAID_FROM - 1).compiled
    assert Engine.choose(chosen, module.REPAID_FROM).compiled
    assert not Engine.choose(PredictSettings(device="cpu", compile="off"), 10**9).compiled


def test_without_a_compiler_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    assert not Engine.choose(PredictSettings(device="cpu", compile="on"), 1).compiled


def test_a_compiler_that_fails_is_done_without(network, pixels, plain, monkeypatch, caplog):
    def broken(encoder, dynamic):
        def run(images):
            raise RuntimeError("no such instruction\nat all")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level(logging.WARNING, "galaxymill"):
        found = features(Engine(CPU, compiled=True), network, pixels)
    assert "not compiled: no such instruction" in caplog.text
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


def short_of_memory(network, most, seen):
    """An encoder on a device that holds so many images; no GPU is needed to run out of memory."""

    def encode(images):
        seen.append(len(images))
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network.encoder(images)

    return encode


def test_out_of_memory_halves_the_batch_and_goes_on(network, pixels, plain, caplog):
    engine, seen = Engine(CPU, batch_size=16), []
    with torch.inference_mode(), caplog.at_level(logging.WARNING, "galaxymill"):
        found = engine.features(network, short_of_memory(network, 5, seen), pixels)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    assert seen == [16, 8, 4, 4, 4, 4, 4, 1]
    assert engine.batch_size == 4
    assert "out of memory with 16 images a step: going on with 8" in caplog.text


def test_no_memory_for_one_image_is_told(network, pixels):
    with pytest.raises(UserError, match="out of memory with one image at a time"):
        Engine(CPU, batch_size=4).features(network, short_of_memory(network, 0, []), pixels)


def test_half_precision_on_a_cpu_is_refused():
    with pytest.raises(UserError, match="on a CPU give bf16, fp32 or auto"):
        Engine.choose(PredictSettings(device="cpu", precision="fp16"), 1)


def trained(name, settings):
    """Make a network whose fractions differ from galaxy to galaxy."""
    torch.manual_seed(3)
    network = Network(describe_encoder(name), VoteTask(TREE), settings).eval()
    torch.nn.init.normal_(network.head.linear.weight, std=0.3)
    return network


def chosen_precision(network, encoder, precision=torch.bfloat16):
    engine = Engine(CPU, precision)
    engine.check_precision(network, encoder, VoteTask(TREE), SIZE)
    return engine.precision


def test_bfloat16_stays_where_it_changes_nothing():
    settings = TrainSettings(encoder="test_convnext", image_size=SIZE)
    network = trained(settings.encoder, settings)
    torch.nn.init.normal_(network.head.linear.weight, std=0.02)
    assert chosen_precision(network, network.encoder) == torch.bfloat16


def test_rounding_that_changes_predictions_is_seen(caplog):
    settings = TrainSettings(encoder="test_efficientnet", image_size=SIZE)
    network = trained(settings.encoder, settings)
    coarse = copy.deepcopy(network.encoder)
    with torch.no_grad():
        for weights in coarse.parameters():
            weights.mul_(1.05)
    with caplog.at_level(logging.INFO, "galaxymill"):
        assert chosen_precision(network, coarse) == torch.float32
    assert "bfloat16 would shift this model's predictions by" in caplog.text


def test_the_probes_are_always_the_same_galaxies_on_a_dark_sky():
    images = probe_images(64)
    assert images.shape == (PROBES, 3, 64, 64)
    assert torch.equal(images, probe_images(64))
    assert images[:, :, :8, :8].float().mean() < 20
    assert images[:, :, 28:36, 28:36].float().mean() > 60


@pytest.mark.parametrize(
    ("task", "expected"),
    [(VoteTask(TREE), 0.25), (ClassTask(TREE), 0.25), (NumberTask("z"), 0.5)],
)
def test_a_shift_is_that_of_what_is_predicted(task, expected):
    outputs = {0: torch.tensor([[1.0, 1.0]]), 1: torch.tensor([[1.5, 0.5]])}
    if task.kind == "number":
        outputs = {0: torch.tensor([[1.0, 2.0]]), 1: torch.tensor([[2.0, 2.0]])}
    assert shift(outputs.get, task, 0, 1) == pytest.approx(expected)

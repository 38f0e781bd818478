"""Where a network computes, and what is said when that is not where one would like."""

import pytest
import torch
from typer.testing import CliRunner

from galaxymill.cli import app
from galaxymill.errors import UserError
from galaxymill.models import devices
from galaxymill.models.devices import check_count, choose_device, why_no_cuda


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_cpu_is_taken_without_a_word(caplog):
    assert choose_device("cpu") == torch.device("cpu")
    assert not caplog.messages


def test_auto_without_a_gpu_warns_once_and_says_why(no_gpu, monkeypatch, caplog):
    monkeypatch.setattr(devices, "why_no_cuda", lambda: "the driver sleeps")
    assert choose_device("auto") == torch.device("cpu")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "device: auto: on the CPU, as the driver sleeps"


def test_auto_takes_a_gpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert not caplog.messages


def test_an_unknown_device_is_refused():
    with pytest.raises(UserError, match="device 'gpu': allowed: auto, cpu, cuda"):
        choose_device("gpu")


def broken():
    raise RuntimeError("Found no NVIDIA driver. Please check that you have one.")


@pytest.mark.parametrize(
    ("built", "visible", "told"),
    [
        (None, None, "is built without CUDA"),
        ("13.0", "", "CUDA_VISIBLE_DEVICES is '': this process was given no GPU"),
        ("13.0", None, r"there is no CUDA device \(Found no NVIDIA driver\)"),
    ],
)
def test_the_cause_is_named(no_gpu, monkeypatch, built, visible, told):
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "init", broken)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=f"device: cuda, but .*{told}; start it where there is"):
        choose_device("cuda")
    assert why_no_cuda()


def test_fewer_gpus_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_count(torch.device("cuda"), 1)
    check_count(torch.device("cpu"), 4)
    with pytest.raises(UserError, match="devices: 4, but this process sees 1 "):
        check_count(torch.device("cuda"), 4)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_every_command_that_computes_has_the_option(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert "--device" in shown.output

"""Who started a training's processes, and what is said when they do not fit its settings."""

import logging

import pytest

from galaxymill.errors import UserError
from galaxymill.models.settings import TrainSettings
from galaxymill.training.processes import Processes

SRUN = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5"}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in (*SRUN, "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def started(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_one_process(monkeypatch):
    """Also as a step of one task, which is how SLURM runs any job, and below other launchers."""
    alone = Processes.here(1, 1)
    assert (alone.count, alone.rank, alone.leads, alone.by_srun) == (1, 0, True, False)
    started(monkeypatch, SLURM_STEP_NUM_TASKS="1", SLURM_PROCID="0", LOCAL_RANK="3")
    assert Processes.here(1, 1) == alone


def test_those_of_one_machine(monkeypatch):
    assert Processes.here(4, 1).leads
    started(monkeypatch, LOCAL_RANK="3")
    assert Processes.here(4, 1) == Processes(4, 1, rank=3)


def test_those_of_srun(monkeypatch):
    started(monkeypatch, **SRUN)
    assert Processes.here(4, 2) == Processes(4, 2, rank=5, by_srun=True)


@pytest.mark.parametrize(("devices", "nodes"), [(1, 1), (8, 1), (2, 4), (3, 2)])
def test_others_than_configured_are_refused(monkeypatch, devices, nodes):
    started(monkeypatch, **SRUN)
    way_out = f"srun --nodes={nodes} --ntasks-per-node={devices}"
    with pytest.raises(UserError, match=f"started 8 processes on 2 nodes, but .*: .*{way_out}$"):
        Processes.here(devices, nodes)


def test_several_nodes_need_srun():
    with pytest.raises(UserError, match=r"nodes is 2, but .* srun --nodes=2 --ntasks-per-node=4, "):
        Processes.here(4, 2)


def test_a_first_node_without_an_address_is_refused(monkeypatch):
    started(monkeypatch, **SRUN, MASTER_ADDR="no-such-node.invalid", SLURM_JOB_ID="12")
    # It is set for Lightning, and would stay for the tests that follow.
    started(monkeypatch, SLURM_NTASKS_PER_NODE="1")
    with pytest.raises(UserError, match=r"'no-such-node.invalid', has no address .*MASTER_ADDR"):
        Processes.here(4, 2).agree(needed=True)


def test_a_failure_is_named_and_a_lost_process_says_less(caplog):
    with pytest.raises(ValueError, match="bad"), Processes(1, 1).named():
        raise ValueError("bad")
    assert not caplog.messages
    with pytest.raises(ValueError, match="bad"), Processes(2, 1, rank=1).named():
        raise ValueError("bad")
    with pytest.raises(SystemExit), Processes(2, 1).named():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:1] Connection closed by peer")
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    first, second = caplog.messages
    assert first.startswith("train: process 2 of 2 (")
    assert first.endswith("has failed, and ends the others")
    assert second.endswith("ends: another has failed, whose log says why")


def settings(**given):
    return TrainSettings(encoder="test_efficientnet", **given)


def test_only_several_nodes_are_started_by_srun():
    """tasks and tasks_per_node are what the SLURM plugin asks for; it takes one of them."""
    assert settings(devices=4).launcher(8) == ""
    assert settings(devices=4).tasks is settings(devices=4).tasks_per_node is None
    four = settings(devices=4, nodes=2)
    assert four.launcher(8).startswith("srun --nodes=2 --ntasks-per-node=4 --cpus-per-task=8 ")
    assert (four.tasks, four.tasks_per_node) == (None, 4)
    assert (settings(nodes=2).tasks, settings(nodes=2).tasks_per_node) == (2, None)


def test_how_many_share_the_work_changes_no_product():
    one, many = settings(), settings(device="cuda", devices=4, nodes=2)
    assert one.to_flags() == many.to_flags()
    assert one.product_settings() == many.product_settings()
    assert many.operational_flags() == "--set device=cuda --set devices=4 --set nodes=2"


def test_a_step_too_small_to_share_is_refused():
    settings(batch_size=16, devices=4, nodes=2)
    with pytest.raises(ValueError, match=r"15 galaxies a step .* by 8 processes .* at least 16"):
        settings(batch_size=15, devices=4, nodes=2)

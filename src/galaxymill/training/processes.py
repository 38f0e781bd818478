"""The processes that train one model together: who started them, and how they agree."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from galaxymill.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch.plugins.environments import ClusterEnvironment

HEARING_S = 86_400.0
"""How long the others wait for the first, which may itself wait for the orphan of a killed run."""

_PORTS_APART = 10_000
"""Ours and Lightning's, which follows from the number of the SLURM job and is below 25,000."""

logger = logging.getLogger("galaxymill")


class SharedError(UserError):
    """An error that all processes of a training find alike; the first one reports it."""


@dataclass(frozen=True)
class Processes:
    """Processes that train together, ``devices`` on each node, and which one this is.

    ``rank`` 0 writes. ``by_srun`` says whether srun has started them all; else the first starts the
    others.
    """

    devices: int = 1
    nodes: int = 1
    rank: int = 0
    by_srun: bool = False

    @classmethod
    def here(cls, devices: int, nodes: int) -> "Processes":
        """Find out which process this is.

        Raises UserError when srun has started other processes than are configured, or none for
        several nodes.
        """
        started = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
        way_out = f"srun --nodes={nodes} --ntasks-per-node={devices}"
        if started > 1:
            on = int(os.environ.get("SLURM_STEP_NUM_NODES", nodes))
            if (started, on) != (devices * nodes, nodes):
                raise UserError(
                    f"train: srun has started {started} processes on {on} nodes, but devices is "
                    f"{devices} and nodes is {nodes}: start it by {way_out}"
                )
            return cls(devices, nodes, int(os.environ["SLURM_PROCID"]), by_srun=True)
        if nodes > 1:
            raise UserError(
                f"train: nodes is {nodes}, but this is one process on one node: start it by "
                f"{way_out}, or give nodes: 1"
            )
        # Set by Lightning in what it starts.
        rank = int(os.environ.get("LOCAL_RANK", "0")) if devices > 1 else 0
        return cls(devices, nodes, rank)

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.devices * self.nodes

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def environment(self) -> "ClusterEnvironment":
        """Describe them to Lightning."""
        from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

        if not self.by_srun:
            return LightningEnvironment()
        # srun sets it only when it was asked in these words; `here` has checked the numbers.
        os.environ["SLURM_NTASKS_PER_NODE"] = str(self.devices)
        return SLURMEnvironment(auto_requeue=False)

    def agree(self, needed: bool) -> bool:
        """Whether there is anything to do: what the first process finds counts for all.

        Those that it starts itself have work.
        """
        if not self.by_srun:
            return needed
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        environment = self.environment()
        address = _reachable(environment.main_address)
        port = environment.main_port
        port += _PORTS_APART if port < 50_000 else -_PORTS_APART
        patience = timedelta(seconds=HEARING_S)
        # The store is the first one's: it stays until everyone has read it.
        store = TCPStore(address, port, None, self.leads, patience, wait_for_workers=False)
        if not self.leads:
            needed = store.get("needed") == b"True"
            store.add("heard", 1)
            return needed
        store.set("needed", str(needed))
        while store.add("heard", 0) < self.count - 1:
            time.sleep(0.05)
        return needed

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say in the log which of several processes has failed; the others end with one line."""
        try:
            yield
        except SharedError:
            if not self.leads:
                # Ending badly, it would kill the first before that has spoken.
                raise SystemExit(0) from None
            raise
        except Exception as error:
            if self.count > 1:
                who = f"process {self.rank + 1} of {self.count} ({socket.gethostname()})"
                if _is_lost(error):
                    logger.error("train: %s ends: another has failed, whose log says why", who)
                    raise SystemExit(1) from None
                logger.error("train: %s has failed, and ends the others", who)
            raise


def _reachable(address: str) -> str:
    try:
        socket.getaddrinfo(address, None)
    except OSError as error:
        raise UserError(
            f"train: the name of the first node, {address!r}, has no address ({error.strerror}); "
            "set MASTER_ADDR to one that every node reaches"
        ) from error
    return address


def _is_lost(error: Exception) -> bool:
    """Whether an error means that another process is gone: gloo's, or one of torch's."""
    return "gloo" in str(error) or type(error).__name__.startswith("Dist")

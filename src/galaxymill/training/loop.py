"""The training of one network, on Lightning; what is particular to us is in `learner`."""

import logging
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from galaxymill.models.network import Network
from galaxymill.models.settings import TrainSettings
from galaxymill.progress import progress
from galaxymill.training.checkpoint import load_checkpoint, save_checkpoint
from galaxymill.training.learner import History, Learner, Opened
from galaxymill.training.optimiser import freeze
from galaxymill.training.processes import Processes

_PRECISIONS = {
    torch.float32: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Machine:
    """Where training runs; it changes what is learned by rounding only.

    ``precision`` is that of the encoder; ``tensorboard`` is the folder of its event files.
    """

    device: torch.device
    precision: torch.dtype
    processes: Processes
    tensorboard: Path | None = None

    def trainer(self, **options: Any) -> lightning.Trainer:
        """Make the trainer of one network."""
        several = self.processes.count > 1
        return lightning.Trainer(
            accelerator="gpu" if self.device.type == "cuda" else "cpu",
            devices=self.processes.devices,
            num_nodes=self.processes.nodes,
            # Batch statistics are the same everywhere; see `galaxymill.training.together`.
            strategy=DDPStrategy(broadcast_buffers=False) if several else "auto",
            plugins=[self.processes.environment()],
            precision=_PRECISIONS[self.precision],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            deterministic="warn",
            **options,
        )


def fit(
    network: Network,
    data: Opened,
    settings: TrainSettings,
    seed: int,
    machine: Machine,
    checkpoint: Path,
    request: str,
) -> History:
    """Train ``network`` in place; it ends with the averaged weights of its best epoch.

    Of ``data``, ``train`` and ``val``, the latter may be empty. The state at the end of each epoch
    is kept in ``checkpoint``, from which a killed training of the same ``request``, the digest of
    all that decides the result, goes on. Gives a row per epoch: ``epoch``, ``seconds``,
    ``images_per_second``, ``learning_rate``, ``train_nll``, ``val_nll`` (None without a validation
    split), ``kept``.
    """
    # Convolutions are a quarter faster on CPUs, and more on GPUs, with the colours innermost.
    network.to(memory_format=torch.channels_last).train()
    freeze(network, settings)
    quick = machine.device.type == "cpu" and machine.precision == torch.bfloat16
    count = data["train"].count
    bar: AbstractContextManager[Callable[[int], None]] = nullcontext(lambda _: None)
    if machine.processes.leads:
        bar = progress("train", count * settings.epochs, unit="images")
    with bar as advance:
        learner = Learner(network, data, settings, seed, quick, advance)
        if _resume(learner, checkpoint, request):
            logger.info("train: goes on after epoch %d", learner.epoch)
            advance(count * learner.epoch)
        learner.on_epoch_end = _after_epoch(learner, checkpoint, request, machine)
        if not learner.finished:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="lightning")
                for name in ("lightning.pytorch", "lightning.fabric.utilities.distributed"):
                    logging.getLogger(name).setLevel(logging.WARNING)
                trainer = machine.trainer(
                    max_epochs=settings.epochs - learner.epoch,
                    gradient_clip_val=settings.gradient_clip,
                )
                trainer.fit(learner)
    network.to("cpu").load_state_dict({k: v.cpu() for k, v in learner.best.items()})
    best = [row for row in learner.history if row["kept"]][-1]
    logger.info("train: %d epochs; kept %s", learner.epoch, best)
    return learner.history


def _resume(learner: Learner, checkpoint: Path, request: str) -> bool:
    """Put a learner into the state of its checkpoint, if there is one."""
    found = load_checkpoint(checkpoint, request, learner.optimiser)
    if found is None:
        return False
    parts, facts = found
    learner.network.load_state_dict(parts["network"])
    learner.average.load_state_dict(parts.get("average", parts["network"]))
    learner.best, learner.history = parts["best"], facts["history"]
    return True


def _after_epoch(
    learner: Learner, checkpoint: Path, request: str, machine: Machine
) -> Callable[[], None]:
    """Make the function that keeps the state after an epoch, and writes to log and TensorBoard."""
    board = TensorBoardLogger(machine.tensorboard, "", "") if machine.tensorboard else None

    def after() -> None:
        if learner.global_rank != 0:
            return
        row = learner.history[-1]
        val = "" if row["val_nll"] is None else f", validation {row['val_nll']:.4f}"
        logger.info("train: epoch %d: loss %.4f%s", row["epoch"], row["train_nll"], val)
        parts = {"network": learner.network.state_dict(), "best": learner.best}
        if learner.average is not learner.network:
            parts["average"] = learner.average.state_dict()
        facts = {"history": learner.history}
        save_checkpoint(checkpoint, request, parts, learner.optimiser, facts)
        if board:
            numbers = {k: v for k, v in row.items() if isinstance(v, float)}
            board.log_metrics(numbers, step=row["epoch"])
            board.save()

    return after

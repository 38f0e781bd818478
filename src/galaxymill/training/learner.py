"""One member of a model while it learns: what Lightning calls, step by step and epoch by epoch.

An epoch depends on nothing but the state at its beginning, the seed and its number, so that a
training that was killed and goes on ends as one that was not.
"""

import contextlib
import copy
import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from galaxymill.models.depthwise import QuickDepthwise
from galaxymill.models.network import Network
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import not_finite
from galaxymill.models.views import central_view, erase, random_view
from galaxymill.tasks.calibrate import fit_log_scale, mixture_nll
from galaxymill.training.data import Batch, Batches, Cached, Streamed
from galaxymill.training.optimiser import frozen_modules, make_optimiser, rate_factor, set_rate
from galaxymill.training.processes import SharedError
from galaxymill.training.together import Together

History = list[dict[str, Any]]
Opened = dict[str, Cached | Streamed]


class Learner(lightning.LightningModule):  # type: ignore[misc]
    """A network, its running average, the best epoch so far and the history.

    ``seed`` is that of order, augmentation and dropout. ``quick`` trains in bfloat16 on a CPU, see
    `galaxymill.models.depthwise`. ``advance`` takes the number of images after each step.
    """

    def __init__(
        self,
        network: Network,
        data: Opened,
        settings: TrainSettings,
        seed: int,
        quick: bool,
        advance: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False) if settings.ema else network
        self.optimiser = make_optimiser(network, settings)
        self.best: dict[str, Tensor] = {}
        self.history: History = []
        self.on_epoch_end: Callable[[], None] = lambda: None
        self._data, self._settings, self._seed = data, settings, seed
        self._quick, self._advance = quick, advance
        self._frozen = frozen_modules(network)
        self._step = self._steps = 0

    @property
    def epoch(self) -> int:
        """Number of epochs done, those before a restart included."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        patience = self._settings.patience
        kept = [row["epoch"] for row in self.history if row["kept"]]
        tired = bool(patience and kept and self.epoch - 1 - kept[-1] >= patience)
        return tired or self.epoch >= self._settings.epochs

    def _own(self) -> slice:
        """Galaxies of each step that this process takes."""
        return slice(self.trainer.global_rank, None, self.trainer.world_size)

    def train_dataloader(self) -> Batches:
        """Batches of the epoch, in an order of its own."""
        size, seed = self._settings.batch_size, self._epoch_seed()
        batches = self._data["train"].batches(size, seed, self._own())
        self._steps = len(batches) * self._settings.epochs
        self._step = len(batches) * self.epoch
        return batches

    def val_dataloader(self) -> Batches | list[Batch]:
        """Validation galaxies, always in the same order."""
        return self._data["val"].batches(self._settings.batch_size, None, self._own())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; its rate is set before each step."""
        return self.optimiser

    def _epoch_seed(self) -> int:
        """Seed of this epoch, the same in all processes."""
        # The 0 keeps the seeds of models that are there already.
        text = f"{self._seed} {self.epoch} 0".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")

    def on_train_start(self) -> None:
        """Make sure that all processes go on at the same epoch."""
        epochs = gathered(self.trainer, torch.tensor([self.epoch], device=self.device)).tolist()
        if len(set(epochs)) > 1:
            raise SharedError(
                f"train: the processes found checkpoints of different epochs, {epochs}: the "
                "model's folder must be on a disk that all nodes share"
            )

    def on_train_epoch_start(self) -> None:
        """Seed whatever is drawn in this epoch; what is frozen keeps its batch statistics."""
        seed = self._epoch_seed()
        torch.manual_seed(seed)
        self._draws = torch.Generator().manual_seed(seed)
        self._start, self._seen, self._loss_sum = time.monotonic(), 0, 0.0
        self._validated: list[tuple[Tensor, Tensor]] = []
        for module in self._frozen:
            module.eval()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        factor = rate_factor(self._step, self._steps, self._settings.warm_up)
        self._rate = self._settings.learning_rate * factor
        set_rate(self.optimiser, self._rate)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean loss of one batch of random views."""
        processes = self.trainer.world_size
        with contextlib.ExitStack() as modes:
            if self._quick:
                modes.enter_context(QuickDepthwise())
            if processes > 1:
                modes.enter_context(Together(batch.whole, self._own()))
            outputs = self.network(self._views(batch.pixels))
        # DDP takes the mean over processes, which may have different numbers of galaxies.
        part = batch.whole / processes
        loss: Tensor = self.network.head.loss(outputs, batch.labels).sum(1).sum() / part
        total = self.trainer.strategy.reduce(loss.detach().clone(), reduce_op="sum")
        self._stop_unless_finite("the loss", float(total))
        self._seen += len(batch.labels)
        self._loss_sum += float(loss.detach()) * part
        return loss

    def _views(self, pixels: Tensor) -> Tensor:
        settings, size = self._settings, self._settings.image_size
        if not len(pixels):
            return central_view(pixels.float(), size)
        allowed = bool(self.network.is_pooled), not self.network.is_handed
        views = random_view(pixels, size, settings.zoom, settings.shift, self._draws, *allowed)
        return erase(views, settings.erase, self._draws) if settings.erase else views

    def _stop_unless_finite(self, what: str, value: float) -> None:
        """End a training that has diverged; in every process ``value`` must be the same."""
        if math.isfinite(value):
            return
        settings = self._settings
        way_out = f"No step was taken yet: the labels or weights {settings.weights} are to blame"
        if self._step:
            way_out = (
                f"Give a smaller learning_rate than {settings.learning_rate:g}, a longer warm_up "
                f"than {settings.warm_up:g}, or a smaller gradient_clip"
            )
        raise SharedError(
            f"train: {what} is not finite ({value:g}) in epoch {self.epoch}, step {self._step} of "
            f"{self._steps}, at learning rate {self._rate:g}: nothing sound would come of it. "
            f"{self._data['train'].split.range_of_labels()}. {way_out}; labels that span many "
            "powers of ten are learned as logarithms; precision fp16 overflows where fp32 does not"
        )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Update the average."""
        self._step += 1
        self._advance(batch.whole)
        if self._settings.ema:
            # The average must not remember the random start: Polyak's with a warm-up, as in timm.
            decay = min(self._settings.ema, (1 + self._step) / (10 + self._step))
            follow(self.average, self.network, decay)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the average's outputs for one batch, seen as in use."""
        outputs = self.average(central_view(batch.pixels, self._settings.image_size))
        self._validated.append((outputs.detach(), batch.labels))

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the history, and keep its weights when they are the best so far."""
        seconds = time.monotonic() - self._start
        sums = torch.tensor([self._loss_sum, float(self._seen)], device=self.device)
        loss, seen = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        # The first process decides, lest rounding make processes end at different epochs.
        val_nll = self.trainer.strategy.broadcast(self._validation_nll())
        if val_nll is not None:
            self._stop_unless_finite("the validation loss", val_nll)
        # The last step of an epoch may have spoilt what no loss has seen yet.
        for network in {self.network, self.average}:
            if name := not_finite(network.state_dict()):
                self._stop_unless_finite(f"weight {name}", math.nan)
        earlier = [row["val_nll"] for row in self.history]
        # Without a validation split the last epoch is taken: the training loss cannot judge.
        kept = val_nll is None or val_nll < min(earlier, default=math.inf)
        if kept:
            self.best = {k: v.detach().clone() for k, v in self.average.state_dict().items()}
        self.history.append(
            {
                "epoch": self.epoch,
                "seconds": round(seconds, 3),
                "images_per_second": round(seen / seconds, 2),
                "learning_rate": self._rate,
                "train_nll": loss / seen,
                "val_nll": val_nll,
                "kept": kept,
            }
        )
        self.on_epoch_end()
        self.trainer.should_stop = self.finished

    def _validation_nll(self) -> float | None:
        """Mean loss of the validation galaxies, calibrated as the model will be in use."""
        if not self._validated:
            return None
        outputs, labels = (torch.cat(column) for column in zip(*self._validated, strict=True))
        outputs, labels = gathered(self.trainer, outputs), gathered(self.trainer, labels)
        head = copy.deepcopy(self.average.head).cpu()
        samples = outputs[:, None].float().cpu()
        if self._settings.calibrate:
            samples = head.rescaled(samples, fit_log_scale(head, samples, labels.cpu()))
        return float(mixture_nll(head, samples, labels.cpu()).sum(1).mean())


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an average of weights, batch statistics included, towards a network's."""
    with torch.no_grad():
        values = network.state_dict()
        for name, mean in average.state_dict().items():
            value = values[name]
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def gathered(trainer: Any, values: Tensor) -> Tensor:
    """Put the rows of all processes together; they may have different numbers of them."""
    if trainer.world_size == 1:
        return values
    count = torch.tensor(len(values), device=values.device)
    counts = trainer.strategy.all_gather(count).tolist()
    padded = values.new_zeros((max(counts), *values.shape[1:]))
    padded[: len(values)] = values
    every = trainer.strategy.all_gather(padded)
    return torch.cat([part[:n] for part, n in zip(every, counts, strict=True)])

"""The training loop, on Lightning: AdamW with warm-up and cosine decay, the best epoch kept."""

import copy
import logging
import math
import warnings
from typing import Any

import lightning
import torch
from torch import Tensor

from galaxymill.models.dirichlet import dirichlet_multinomial_nll
from galaxymill.models.network import Network
from galaxymill.models.settings import TrainSettings
from galaxymill.models.views import central_view, random_view
from galaxymill.progress import progress
from galaxymill.training.data import Batches, LabelledImages
from galaxymill.votes.tree import Tree

WARM_UP = 0.1
GRADIENT_CLIP = 1.0

logger = logging.getLogger("galaxymill")


class Learner(lightning.LightningModule):  # type: ignore[misc]
    """What Lightning calls: one step of training, one of validation, the optimiser."""

    def __init__(self, network: Network, tree: Tree, settings: TrainSettings, steps: int) -> None:
        super().__init__()
        self.network = network
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self._tree, self._settings, self._steps = tree, settings, steps
        self._views = torch.Generator().manual_seed(settings.seed)
        self._sums = {"train": [0.0, 0], "val": [0.0, 0]}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Mean loss of one batch of random views."""
        pixels, votes = batch
        views = random_view(pixels, self._settings.image_size, self._settings.zoom, self._views)
        return self._loss("train", views, votes)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Mean loss of one batch as the model will see it in use."""
        pixels, votes = batch
        return self._loss("val", central_view(pixels, self._settings.image_size), votes)

    def _loss(self, split: str, views: Tensor, votes: Tensor) -> Tensor:
        loss = dirichlet_multinomial_nll(self.network(views), votes, self._tree).mean()
        self._sums[split][0] += float(loss.detach()) * len(votes)
        self._sums[split][1] += len(votes)
        return loss

    def on_train_epoch_end(self) -> None:
        """Note the epoch, and its weights when they are the best so far."""
        row: dict[str, Any] = {"epoch": len(self.history)}
        for split, (total, count) in self._sums.items():
            row[f"{split}_nll"] = total / count if count else None
            self._sums[split] = [0.0, 0]
        judged = "val_nll" if row["val_nll"] is not None else None
        earlier = [past[judged] for past in self.history] if judged else []
        # Without a validation split the last epoch is taken: the training loss cannot judge.
        if judged is None or row[judged] < min(earlier, default=math.inf):
            self.best = copy.deepcopy(self.network.state_dict())
        self.history.append(row)

    def configure_optimizers(self) -> Any:
        """AdamW; weight decay spares biases and normalisations, as is usual."""
        settings = self._settings
        decayed = [p for p in self.network.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.network.parameters() if p.requires_grad and p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": others, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        warm_up = max(1, round(WARM_UP * self._steps))

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (self._steps - warm_up + 1)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Progress(lightning.Callback):  # type: ignore[misc]
    """Advance our own progress, one item an epoch."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._advance(1)


def fit(
    network: Network,
    data: dict[str, LabelledImages],
    tree: Tree,
    settings: TrainSettings,
    device: str,
) -> list[dict[str, Any]]:
    """Train ``network`` in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    network : Network
    data : dict of str to LabelledImages
        ``train`` and ``val``; the latter may be empty.
    tree : Tree
    settings : TrainSettings
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    list of dict
        Per epoch: ``epoch``, ``train_nll``, ``val_nll`` (None without a validation split).
    """
    train = Batches(data["train"], settings.batch_size, settings.seed)
    val = Batches(data["val"], settings.batch_size, None) if len(data["val"]) else None
    # Convolutions are a quarter faster on CPUs, and more on GPUs, with the colours innermost.
    network.to(memory_format=torch.channels_last)
    learner = Learner(network, tree, settings, len(train) * settings.epochs)
    with (
        warnings.catch_warnings(),
        progress("train", settings.epochs, unit="epochs") as advance,
    ):
        warnings.filterwarnings("ignore", module="lightning")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        trainer = lightning.Trainer(
            max_epochs=settings.epochs,
            accelerator="gpu" if device == "cuda" else device,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=GRADIENT_CLIP,
            num_sanity_val_steps=0,
            deterministic="warn",
            callbacks=[_Progress(advance)],
        )
        trainer.fit(learner, train, val)
    network.load_state_dict(learner.best)
    best = min(learner.history, key=lambda row: row["val_nll"] or math.inf)
    logger.info("train: %d epochs, best validation %s", settings.epochs, best)
    return learner.history

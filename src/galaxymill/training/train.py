"""Stage ``train``: a network learns from votes."""

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galaxymill.images.pixels import ImageSource
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import MODEL_FILE, WEIGHTS_FILE, ModelCard, read_card
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin
from galaxymill.votes.table import Votes, read_votes

PIXELS_PER_THREAD = 100_000

logger = logging.getLogger("galaxymill")


def train(
    votes_path: Path,
    images: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    device: str = "auto",
    threads: int = 0,
) -> None:
    """Train a model on the galaxies of the ``train`` split.

    Parameters
    ----------
    votes_path : Path
        ``votes.parquet``.
    images : sequence of Path
        Images products that hold the labelled galaxies.
    out : Path
        ``model.yaml``; the weights and ``history.csv`` are written beside it.
    settings : TrainSettings
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads : int
        CPU threads; 0 leaves torch's default. The same number gives the same model, bit by bit.
    """
    votes, source = read_votes(votes_path), ImageSource.open(images)
    inputs = {"votes": votes.record.digest, "images": source.digest}
    origin = Origin("train", settings.model_dump(mode="json"), inputs, source.domain)
    with exclusive(out) as waited:
        if waited and _is_made(out, origin):
            logger.info("train: another process has just made %s", out)
            return
        with atomic_tree(out.parent, MODEL_FILE) as folder:
            _learn(folder, votes, source, settings, origin, device, threads)


def _is_made(out: Path, origin: Origin) -> bool:
    weights = out.parent / WEIGHTS_FILE
    if not (out.is_file() and weights.is_file()):
        return False
    card = read_card(out)
    return card.origin == origin.to_dict() and card.weights_sha256 == sha256_file(weights)


def _learn(
    folder: Path,
    votes: Votes,
    source: ImageSource,
    settings: TrainSettings,
    origin: Origin,
    device: str,
    threads: int,
) -> None:
    # Deterministic matrix products on CUDA need this before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from galaxymill.models.network import Network
    from galaxymill.models.store import write_model, write_weights
    from galaxymill.training.data import load_splits
    from galaxymill.training.loop import fit

    torch.set_num_threads(useful_threads(settings, threads or torch.get_num_threads()))
    torch.manual_seed(settings.seed)
    data = load_splits(votes, source, settings)
    counts = {split: len(images) for split, images in data.items()}
    counts["test"] = int((votes.splits == "test").sum())
    logger.info("train: %d galaxies, %d to choose the epoch", counts["train"], counts["val"])
    network = Network(settings, len(votes.tree.columns), settings.pretrained)
    history = fit(network, data, votes.tree, settings, device)
    weights = write_weights(folder, network)
    card = ModelCard(votes.tree, settings, weights, origin.to_dict(), counts)
    _write_history(folder / "history.csv", history)
    write_model(folder, card)


def useful_threads(settings: TrainSettings, threads: int) -> int:
    """Give the number of CPU threads that one step can feed.

    Small steps are over before the threads have met: 32 images of 64 pixels train faster on one
    thread than on two.

    Parameters
    ----------
    settings : TrainSettings
        ``batch_size`` and ``image_size``.
    threads : int
        Those there are.
    """
    pixels = settings.batch_size * settings.image_size**2
    return max(1, min(threads, pixels // PIXELS_PER_THREAD))


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)

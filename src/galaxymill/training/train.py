"""Stage ``train``: networks learn from labels."""

import csv
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxymill.images.pixels import ImageSource
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import MODEL_FILE, WEIGHTS_FILE, ModelCard, read_card
from galaxymill.settings import Settings
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import Origin, read_record
from galaxymill.votes.table import Votes, read_joint_votes

if TYPE_CHECKING:
    from galaxymill.models.network import Network
    from galaxymill.training.data import Split
    from galaxymill.training.loop import Machine

PIXELS_PER_THREAD = 100_000
CALIBRATION_SAMPLES = 5

logger = logging.getLogger("galaxymill")


class Resources(Settings):
    """What training runs on.

    Attributes
    ----------
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads : int
        CPU threads; 0 leaves torch's default. The same number gives the same model, bit by bit.
    tensorboard : Path or None
        Folder for TensorBoard's event files.
    """

    device: str = "auto"
    threads: int = 0
    tensorboard: Path | None = None


def train(
    votes_paths: Sequence[Path],
    images: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    resources: Resources = Resources(),  # noqa: B008
) -> None:
    """Train a model on the galaxies of the ``train`` split.

    Parameters
    ----------
    votes_paths : sequence of Path
        ``votes.parquet`` of one labelled set or of several, learned jointly.
    images : sequence of Path
        Where the labelled galaxies' images are; see `galaxymill.images.pixels.image_files`.
    out : Path
        ``model.yaml``; the weights and ``history.csv`` are written beside it. What a killed
        training has done is kept beside it too, until the model is there.
    settings : TrainSettings
    resources : Resources

    Raises
    ------
    UserError
        When there is nothing to learn from, or what to start from cannot be had.
    """
    votes, source = read_joint_votes(votes_paths), ImageSource.open(images)
    # Each set by itself, so that an evaluation knows any of them again.
    inputs = {f"votes_{n}": read_record(path).digest for n, path in enumerate(votes_paths, 1)}
    inputs["images"] = source.digest
    if settings.weights_file:
        inputs["weights"] = read_card(settings.weights_file).digest
    origin = Origin("train", settings.product_settings(), inputs, source.domain)
    if not _leads():
        # Further processes of a parallel training learn, but write nothing.
        _learn(votes, source, settings, origin, resources, out)
        return
    with exclusive(out) as waited:
        if waited and _is_made(out, origin):
            logger.info("train: another process has just made %s", out)
            return
        networks, card, history = _learn(votes, source, settings, origin, resources, out)
        with atomic_tree(out.parent, MODEL_FILE) as folder:
            _write(folder, networks, card, history)
        for path in out.parent.glob(".member-*.safetensors"):
            path.unlink()


def _leads() -> bool:
    """Tell whether this process is the first of a parallel training, or the only one."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return int(next((os.environ[name] for name in ranks if name in os.environ), "0")) == 0


def _is_made(out: Path, origin: Origin) -> bool:
    weights = out.parent / WEIGHTS_FILE
    if not (out.is_file() and weights.is_file()):
        return False
    card = read_card(out)
    return card.origin == origin.to_dict() and card.weights_sha256 == sha256_file(weights)


def _learn(
    votes: Votes,
    source: ImageSource,
    settings: TrainSettings,
    origin: Origin,
    resources: Resources,
    out: Path,
) -> "tuple[list[Network], ModelCard, list[dict[str, Any]]]":
    """Train every member and calibrate them together."""
    from galaxymill.training.data import load_splits, open_split

    machine = _machine(settings, resources)
    splits = load_splits(votes, source, settings)
    counts = {name: len(split) for name, split in splits.items()}
    counts["test"] = int((votes.splits == "test").sum())
    opened = {name: open_split(split, settings.cache_gb) for name, split in splits.items()}
    networks, history = [], []
    for member in range(settings.members):
        network = _start(votes, splits["train"], settings, member)
        history += _fit_member(network, opened, settings, member, machine, out, origin)
        networks.append(network)
    card = ModelCard(votes.task, settings, networks[0].card.to_dict(), "", origin.to_dict(), counts)
    if settings.calibrate and counts["val"]:
        _calibrate(networks, card, splits["val"], machine)
    return networks, card, history


def _machine(settings: TrainSettings, resources: Resources) -> "Machine":
    # Deterministic matrix products on CUDA need this before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from galaxymill.models.devices import choose_device, choose_precision
    from galaxymill.training.loop import Machine

    torch.set_num_threads(useful_threads(settings, resources.threads or torch.get_num_threads()))
    device = choose_device(resources.device)
    precision = choose_precision(settings.precision, device)
    logger.info("train: on %s in %s", device, str(precision).removeprefix("torch."))
    return Machine(device, precision, settings.devices, settings.nodes, resources.tensorboard)


def _start(votes: Votes, train: "Split", settings: TrainSettings, member: int) -> "Network":
    import torch

    from galaxymill.models.heads import GaussianHead
    from galaxymill.models.initial import initial_network

    torch.manual_seed(settings.seed + member)
    network = initial_network(settings, votes.task, member)
    if isinstance(network.head, GaussianHead):
        network.head.start_at(torch.stack(list(train.labels.values())))
    return network


def _fit_member(
    network: "Network",
    opened: Any,
    settings: TrainSettings,
    member: int,
    machine: "Machine",
    out: Path,
    origin: Origin,
) -> list[dict[str, Any]]:
    from galaxymill.training.loop import fit

    seed = settings.seed + member
    request = sha256_json([origin.to_dict(), seed, str(machine.precision)])
    board = machine.tensorboard / f"member-{member}" if machine.tensorboard else None
    machine = replace(machine, tensorboard=board)
    checkpoint = out.parent / f".member-{member}.safetensors"
    if settings.members > 1:
        logger.info("train: member %d of %d", member + 1, settings.members)
    rows = fit(network, opened, settings, seed, machine, checkpoint, request)
    return [{"member": member, **row} for row in rows]


def _calibrate(
    networks: "list[Network]", card: ModelCard, val: "Split", machine: "Machine"
) -> None:
    """Scale the strength of belief of all members alike, by the galaxies of ``val``."""
    import numpy as np
    import torch

    from galaxymill.inference.engine import Engine
    from galaxymill.inference.predictor import Predictor
    from galaxymill.inference.settings import PredictSettings
    from galaxymill.training.calibrate import fit_log_scale

    whole = [network.to(machine.device).eval() for network in networks]
    asked = PredictSettings(samples=CALIBRATION_SAMPLES)
    predictor = Predictor(whole, card, asked, Engine(machine.device))
    keys: list[str] = []
    samples = []
    for group in val.groups:
        ids, images = map(list, zip(*group.read(), strict=True))
        keys += ids
        samples.append(predictor.predict(ids, images)[0])
    labels = torch.stack([val.labels[key] for key in keys])
    head = networks[0].head
    log_scale = fit_log_scale(head, torch.from_numpy(np.concatenate(samples)), labels)
    for network in networks:
        network.to("cpu").head.log_scale.copy_(log_scale)
    logger.info("train: strength of belief scaled by %s", np.round(log_scale.exp().numpy(), 2))


def _write(
    folder: Path, networks: "list[Network]", card: ModelCard, history: list[dict[str, Any]]
) -> None:
    from galaxymill.models.store import write_model, write_weights

    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
    write_model(folder, replace(card, weights_sha256=write_weights(folder, networks)))


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

"""Stage ``train``: networks learn from labels."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxymill.errors import UserError
from galaxymill.images.pixels import ImageSource
from galaxymill.labels.table import Votes, read_joint_votes
from galaxymill.models.settings import TrainSettings, refused_views
from galaxymill.models.store import MODEL_FILE, WEIGHTS_FILE, ModelCard, read_card
from galaxymill.reporting.tables import write_csv
from galaxymill.settings import Settings
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import Origin, read_record
from galaxymill.training.processes import Processes

if TYPE_CHECKING:
    from torch import Tensor

    from galaxymill.models.network import Network
    from galaxymill.training.data import Cached, Split, Streamed
    from galaxymill.training.loop import Machine

PIXELS_PER_THREAD = 100_000
CALIBRATION_SAMPLES = 5

logger = logging.getLogger("galaxymill")


class Resources(Settings):
    """What training runs on.

    ``threads`` of the CPU are shared by the devices of a node unless srun has started each; 0:
    torch's default. The same number gives the same model, bit by bit. ``tensorboard`` is the folder
    for its event files.
    """

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

    Raises
    ------
    UserError
        When there is nothing to learn from, or what to start from cannot be had.
    """
    processes = Processes.here(settings.devices, settings.nodes)
    if not processes.leads:
        logger.setLevel(logging.ERROR)
    with processes.named():
        inputs = _digests(votes_paths, settings)
        votes, source = read_joint_votes(votes_paths), ImageSource.open(images)
        if refused := refused_views(settings.views, votes.task):
            raise UserError(f"train: {refused}")
        inputs["images"] = source.digest
        if settings.weights_file:
            inputs["weights"] = read_card(settings.weights_file).digest
        origin = Origin("train", settings.product_settings(), inputs, source.domain)
        work = _Work(votes, source, settings, origin, resources, processes, out)
        if processes.leads:
            _make(work)
        elif processes.agree(needed=True):
            _learn(work)


def _digests(paths: Sequence[Path], settings: TrainSettings) -> dict[str, str]:
    """Digests of the labels; of individuals also those of the votes, by which they are judged.

    Each set by itself, so that an evaluation knows any of them again.
    """
    digests: dict[str, str] = {}
    for number, path in enumerate(paths, 1):
        record = read_record(path)
        by_individuals = record.origin["stage"] == "volunteers"
        if by_individuals != (settings.counts == "individuals"):
            raise UserError(
                f"{path}: made by {record.origin['stage']}, but counts is {settings.counts}: give "
                f"{settings.labels_file}, or set counts to "
                f"{'individuals' if by_individuals else 'votes'}"
            )
        digests[f"votes_{number}"] = record.digest
        if by_individuals:
            digests[f"counted_{number}"] = record.origin["inputs"]["votes"]
    return digests


@dataclass(frozen=True)
class _Work:
    """The arguments of one call, and what follows from them."""

    votes: Votes
    source: ImageSource
    settings: TrainSettings
    origin: Origin
    resources: Resources
    processes: Processes
    out: Path


@dataclass(frozen=True)
class _Learned:
    """Trained networks, and what they learned from and on."""

    splits: "list[dict[str, Split]]"
    machine: "Machine"
    networks: "list[Network]"
    history: list[dict[str, Any]]


def _make(work: _Work) -> None:
    """Train and write, as the first of several processes or the only one."""
    out = work.out
    with exclusive(out) as waited:
        if not work.processes.agree(needed=not (waited and _is_made(out, work.origin))):
            logger.info("train: another process has just made %s", out)
            return
        learned = _learn(work)
        card = _card(work, learned)
        if work.settings.calibrate and len(learned.splits[0]["val"]):
            _calibrate(learned, card)
        with atomic_tree(out.parent, MODEL_FILE) as folder:
            _write(folder, learned, card)
        for path in out.parent.glob(".member-*.safetensors"):
            path.unlink()


def _is_made(out: Path, origin: Origin) -> bool:
    weights = out.parent / WEIGHTS_FILE
    if not (out.is_file() and weights.is_file()):
        return False
    card = read_card(out)
    return card.origin == origin.to_dict() and card.weights_sha256 == sha256_file(weights)


def _learn(work: _Work) -> _Learned:
    """Train every member; all processes do."""
    from galaxymill.training.data import load_splits, open_split

    settings = work.settings
    machine = _machine(work)
    splits = load_splits(work.votes, work.source, settings)
    opened: dict[str, Cached | Streamed] = {}
    networks: list[Network] = []
    history: list[dict[str, Any]] = []
    for member in range(settings.networks):
        if member < len(splits):
            own, opened = splits[member], {}  # the last fold's images are given up first
            opened = {name: open_split(split, settings.cache_gb) for name, split in own.items()}
        network = _start(work.votes, own["train"], settings, member)
        history += _fit_member(work, network, opened, member, machine)
        networks.append(network)
    return _Learned(splits, machine, networks, history)


def _card(work: _Work, learned: _Learned) -> ModelCard:
    """Describe a model whose weights are not written yet."""
    counts = {name: len(split) for name, split in learned.splits[0].items()}
    if work.settings.folds:
        counts = {"train": sum(counts.values()), "val": 0}
    counts["test"] = int((work.votes.splits == "test").sum())
    encoder = learned.networks[0].card.to_dict()
    return ModelCard(work.votes.task, work.settings, encoder, "", work.origin.to_dict(), counts)


def _machine(work: _Work) -> "Machine":
    # Deterministic matrix products on CUDA need this before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from galaxymill.models.devices import check_count, choose_device, choose_precision
    from galaxymill.training.loop import Machine

    settings, processes = work.settings, work.processes
    device = choose_device(settings.device)
    check_count(device, processes.devices)
    threads = work.resources.threads or torch.get_num_threads()
    if not processes.by_srun:
        threads = max(1, threads // processes.devices)
    threads = useful_threads(settings, threads)
    torch.set_num_threads(threads)
    # Lightning would set another number.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    precision = choose_precision(settings.precision, device)
    kind = str(precision).removeprefix("torch.")
    logger.info("train: on %s in %s, %d processes", device, kind, processes.count)
    return Machine(device, precision, processes, work.resources.tensorboard)


def _start(votes: Votes, train: "Split", settings: TrainSettings, member: int) -> "Network":
    import torch

    from galaxymill.models.initial import initial_network

    torch.manual_seed(settings.seed + member)
    network = initial_network(settings, votes.task, member)
    network.head.start_at(torch.stack(list(train.labels.values())))
    return network


def _fit_member(
    work: _Work, network: "Network", opened: Any, member: int, machine: "Machine"
) -> list[dict[str, Any]]:
    from galaxymill.training.loop import fit

    settings = work.settings
    seed = settings.seed + member
    request = sha256_json([work.origin.to_dict(), seed, str(machine.precision)])
    board = machine.tensorboard / f"member-{member}" if machine.tensorboard else None
    machine = replace(machine, tensorboard=board)
    checkpoint = work.out.parent / f".member-{member}.safetensors"
    if settings.networks > 1:
        logger.info("train: member %d of %d", member + 1, settings.networks)
    rows = fit(network, opened, settings, seed, machine, checkpoint, request)
    return [{"member": member, **row} for row in rows]


def _calibrate(learned: _Learned, card: ModelCard) -> None:
    """Scale the strength of belief by galaxies that were not learned from.

    All members of an ensemble alike, by the galaxies of ``val``. With folds each by those of the
    other folds, as their own members predict them: no galaxy calibrates its own prediction.
    """
    import numpy as np
    import torch

    from galaxymill.tasks.calibrate import fit_log_scale

    networks = learned.networks
    parts = [[network] for network in networks] if card.settings.folds else [networks]
    predicted = [
        _predict(part, card, splits["val"], learned.machine)
        for part, splits in zip(parts, learned.splits, strict=True)
    ]
    for place, part in enumerate(parts):
        others = predicted[:place] + predicted[place + 1 :] or predicted
        samples, labels = map(torch.cat, zip(*others, strict=True))
        log_scale = fit_log_scale(part[0].head, samples, labels)
        for network in part:
            network.head.log_scale.copy_(log_scale)
        logger.info("train: strength of belief scaled by %s", np.round(log_scale.exp().numpy(), 2))


def _predict(
    networks: "list[Network]", card: ModelCard, val: "Split", machine: "Machine"
) -> "tuple[Tensor, Tensor]":
    """Predict galaxies before calibration; give the samples and the labels."""
    import numpy as np
    import torch

    from galaxymill.inference.engine import Engine
    from galaxymill.inference.predictor import Predictor
    from galaxymill.inference.settings import PredictSettings

    moved = [network.to(machine.device).eval() for network in networks]
    settings = PredictSettings(samples=CALIBRATION_SAMPLES)
    predictor = Predictor(moved, card, settings, Engine(machine.device))
    keys: list[str] = []
    samples = []
    for group in val.groups:
        ids, images = map(list, zip(*group.read(), strict=True))
        keys += ids
        samples.append(predictor.predict(ids, images)[0])
    for network in networks:
        network.to("cpu")
    labels = torch.stack([val.labels[key] for key in keys])
    return torch.from_numpy(np.concatenate(samples)), labels


def _write(folder: Path, learned: _Learned, card: ModelCard) -> None:
    from galaxymill.models.store import write_model, write_weights

    write_csv(folder / "history.csv", learned.history)
    write_model(folder, replace(card, weights_sha256=write_weights(folder, learned.networks)))


def useful_threads(settings: TrainSettings, threads: int) -> int:
    """Number of CPU threads, of those there are for each process, that one step can feed.

    Small steps end before the threads have met: 32 images of 64 pixels train faster on one than on
    two.
    """
    pixels = settings.batch_size * settings.image_size**2 // settings.processes
    return max(1, min(threads, pixels // PIXELS_PER_THREAD))

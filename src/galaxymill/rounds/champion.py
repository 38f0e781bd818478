"""The champion, whose predictions say what is asked: read with them, and put where they find it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from galaxymill.catalog.names import part_names
from galaxymill.errors import UserError, unknown_name
from galaxymill.models.store import MODEL_FILE, WEIGHTS_FILE
from galaxymill.probes.store import read_any_card
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import read_record
from galaxymill.tasks.votes.task import VoteTask


@dataclass(frozen=True)
class Champion:
    """A model and what it predicts for a survey.

    ``files`` are the predictions, by partition; ``inputs`` the digests for an origin.
    """

    task: VoteTask
    files: tuple[Path, ...]
    inputs: dict[str, str]


def read_champion(model: Path, partitions: Path, predictions: Path, featured: str) -> Champion:
    """Read whose predictions these are.

    Parameters
    ----------
    model, partitions : Path
        ``model.yaml``, and ``partitions.csv`` of the survey.
    predictions : Path
        Folder with ``{part}.parquet``.
    featured : str
        An answer that it must predict, unless empty.

    Raises
    ------
    UserError
        When predictions are of another model, or the model has no such answer, or none at all.
    """
    card = read_any_card(model)
    if not isinstance(card.task, VoteTask):
        raise UserError(f"{model}: predicts {card.task.kind}; rounds ask the questions of a tree")
    if featured and featured not in card.task.columns:
        raise unknown_name(f"{model}: featured", featured, card.task.columns, "answer")
    files = [predictions / f"{part}.parquet" for part in part_names(partitions)]
    digests = []
    for path in files:
        record = read_record(path)
        if record.origin["inputs"].get("model") != card.digest:
            raise UserError(f"{path}: of another model than {model}; run predict again")
        digests.append(record.digest)
    inputs = {"model": card.digest, "predictions": sha256_json(digests)}
    return Champion(card.task, tuple(files), inputs)


def take_champion(model: Path, out: Path) -> None:
    """Put a model where predictions find the champion; ``out`` is its ``model.yaml``."""
    if not model.is_file():
        raise UserError(f"{model}: no such file; judge the round first")
    with exclusive(out), atomic_tree(out.parent, MODEL_FILE) as folder:
        take_model(model, folder)


def take_model(model: Path, folder: Path) -> None:
    """Put a model into another folder: its weights are the same file where that can be."""
    shutil.copyfile(model, folder / MODEL_FILE)
    weights, own = model.parent / WEIGHTS_FILE, folder / WEIGHTS_FILE
    try:
        os.link(weights, own)
    except OSError:
        shutil.copyfile(weights, own)

"""The galaxies to evaluate, and those that the baselines learn from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError
from galaxymill.labels.table import Votes, read_joint_votes
from galaxymill.splits import LEARNED_FROM, assign_folds, near_training, uniform
from galaxymill.storage.origin import read_record
from galaxymill.tasks.task import Task

Values = npt.NDArray[np.float64]
SPLITS = ("test", "val", "all", "folds")

NEAR_ARCSEC = 30.0
MAX_FITTED = 10_000
"""Training galaxies that the linear baselines are fitted to, at most; drawn by a hash."""


@dataclass(frozen=True)
class Sample:
    """Labelled galaxies to evaluate, and to fit baselines to.

    Attributes
    ----------
    train, test : dict of str to ndarray, shape (n_columns,)
        Labels by ``object_id``, sorted, in the order of the model's label columns. Training
        galaxies serve the baselines; there may be none.
    near : int
        Galaxies left out, as they lie within ``NEAR_ARCSEC`` of a training one or are one.
    folds : dict of str to int
        For a cross-validated model: the member that has not learned from a galaxy to test.
    known_votes : bool
        Whether the model learned from these very labels, so that their split is the model's.
    digests : dict of str to str
        Of the label products.
    """

    train: dict[str, Values]
    test: dict[str, Values]
    near: int
    known_votes: bool
    digests: dict[str, str]
    folds: dict[str, int] = field(default_factory=dict)

    @property
    def fitted(self) -> list[str]:
        """Training galaxies that the linear baselines may use: ``MAX_FITTED`` drawn; sorted."""
        drawn = sorted(self.train, key=lambda key: uniform(f"baselines:{key}"))
        return sorted(drawn[:MAX_FITTED])


@dataclass(frozen=True)
class _Galaxies:
    """Labelled galaxies with their sides: train, test or other."""

    ids: list[str]
    values: Values
    sides: npt.NDArray[np.str_]
    positions: Values

    def on(self, chosen: npt.NDArray[np.bool_]) -> dict[str, Values]:
        """Labels of some of them, sorted by ``object_id``."""
        rows = np.flatnonzero(chosen).tolist()
        return {self.ids[row]: self.values[row] for row in sorted(rows, key=self.ids.__getitem__)}


def choose(
    votes: Sequence[Path],
    train: Sequence[Path],
    split: str,
    task: Task,
    learned: Mapping[str, Any],
    folds: int = 0,
) -> Sample:
    """Choose the galaxies to evaluate.

    Parameters
    ----------
    votes : sequence of Path
        Label products.
    train : sequence of Path
        Label products of the training galaxies, for ``all``; else those of ``votes``.
    split : str
        ``test`` or ``val``: that split of ``votes``. ``all``: every galaxy of them. ``folds``:
        those that a cross-validated model has learned from.
    task : Task
        What the model predicts.
    learned : mapping
        Inputs of the model, by role, as its origin names them.
    folds : int
        Of the model; 0 when it is not cross-validated.

    Raises
    ------
    UserError
        When no galaxy is left, the labels answer other questions than the model does, or
        ``all`` is asked for of labels that the model learned from.
    """
    _check_split(split, bool(train), folds)
    labels, inputs = read_joint_votes(votes), json.dumps(learned)
    digests = {f"votes_{n}": read_record(path).digest for n, path in enumerate(votes, 1)}
    same = any(digest in inputs for digest in (labels.record.digest, *digests.values()))
    place = ", ".join(map(str, votes))
    if split == "all" and same:
        raise UserError(
            f"{place}: the model learned from these labels; --split all is for labels kept apart, "
            "whose every galaxy is unknown to it; use --split test"
        )
    sets = [labels]
    if train:
        sets.append(read_joint_votes(train))
        digests["train"] = sets[1].record.digest
    for labelled, paths in zip(sets, (votes, train), strict=False):
        _check_task(labelled, task, paths)
    galaxies = _galaxies(sets, split, task, folds)
    tested, trained = galaxies.sides == "test", galaxies.on(galaxies.sides == "train")
    home = assign_folds(galaxies.ids, galaxies.positions, folds)
    if split == "folds":
        near = _near_other_folds(galaxies, home, folds)
    else:
        near = near_training(galaxies.positions, galaxies.sides, NEAR_ARCSEC)
    near |= tested & np.array([key in trained for key in galaxies.ids], dtype=bool)
    test = galaxies.on(tested & ~near)
    if not test:
        raise UserError(
            f"{place}: no galaxy to evaluate on in --split {split} ({int(near.sum())} are too near "
            "a training one): too few galaxies or test: 0; give test a larger share, or the model "
            "folds, which need none"
        )
    members = dict(zip(galaxies.ids, home.tolist(), strict=True)) if split == "folds" else {}
    return Sample(trained, test, int(near.sum()), same, digests, members)


def _check_split(split: str, with_train: bool, folds: int) -> None:
    if split not in SPLITS:
        raise UserError(f"--split {split!r}: unknown; allowed: {', '.join(SPLITS)}")
    if with_train and split != "all":
        raise UserError("--train goes with --split all; the others have a train split")
    if (split == "folds" and not folds) or (split == "val" and folds):
        reason = f"was cross-validated in {folds} folds" if folds else "has no folds"
        raise UserError(
            f"--split {split}: the model {reason}; use --split {'folds' if folds else 'test'}"
        )


def _near_other_folds(
    galaxies: _Galaxies, home: npt.NDArray[np.intp], folds: int
) -> npt.NDArray[np.bool_]:
    """Find the galaxies near a training galaxy of the member that predicts them."""
    near = np.zeros(len(home), dtype=bool)
    for fold in range(folds):
        sides = np.where(home == fold, "test", "train")
        sides[galaxies.sides != "test"] = "other"
        near |= near_training(galaxies.positions, sides, NEAR_ARCSEC)
    return near


def _galaxies(sets: Sequence[Votes], split: str, task: Task, folds: int) -> _Galaxies:
    """Give every labelled galaxy its side; a second set has those to train on beside ``all``."""
    learned = LEARNED_FROM if folds and split != "all" else ["train"]
    sides = [np.where(np.isin(labels.splits, learned), "train", "other") for labels in sets]
    if split == "all":
        sides[0][:] = "test"
    else:
        sides[0][np.isin(sets[0].splits, learned if split == "folds" else [split])] = "test"
    galaxies = _Galaxies(
        [object_id for labels in sets for object_id in labels.object_ids],
        np.concatenate([labels.values_of(task) for labels in sets]),
        np.concatenate(sides),
        np.concatenate([labels.positions for labels in sets]),
    )
    galaxies.sides[~task.has_label(galaxies.values)] = "other"
    return galaxies


def _check_task(labels: Votes, task: Task, paths: Sequence[Path]) -> None:
    """Refuse labels that are not in the model's columns; a joint model has those of several."""
    lost = [column for column in labels.task.columns if column not in task.columns]
    if labels.task.kind != task.kind or lost:
        place = ", ".join(map(str, paths))
        predicted = ", ".join(task.columns[:6]) + (", …" if len(task.columns) > 6 else "")
        what = f"{lost[0]!r}" if lost else f"of kind {labels.task.kind}"
        raise UserError(
            f"{place}: labels {what}, but the model predicts {task.kind}: {predicted}; evaluate it "
            "on labels of the kind it learned from"
        )

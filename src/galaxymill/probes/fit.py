"""Stage ``probe``: a small model learns from the features of labelled galaxies."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galaxymill.errors import UserError
from galaxymill.labels.table import Votes, read_joint_votes
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.store import MODEL_FILE
from galaxymill.probes.features import Features, find_features
from galaxymill.probes.network import Probe, choose_penalties, feature_scale, fit_probe, make_probe
from galaxymill.probes.store import ProbeCard, write_probe
from galaxymill.reporting.tables import write_csv
from galaxymill.spaces.space import read_space
from galaxymill.splits import LEARNED_FROM, SPLITS, assign_folds
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin, read_record
from galaxymill.tasks.calibrate import fit_log_scale
from galaxymill.tasks.task import Task

FEWEST = 3
MOST_LEARNED = 20_000
"""Galaxies that a probe learns from, at most: its few hundred weights are then as exact as with
all of a million, and it takes seconds."""
MOST_COMPARED = 1000
"""Of them, those that the penalty is chosen by; with more of them it hardly matters."""

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Labelled:
    """Galaxies to learn from: features (n, f), labels (n, …), and the fold of each, shape (n,)."""

    features: Tensor
    labels: Tensor
    folds: Tensor

    def but(self, fold: int) -> "Labelled":
        """All but one fold; all where that would leave fewer than two."""
        chosen = self.folds != fold
        return self if int(chosen.sum()) < 2 else self.on(chosen)

    def on(self, chosen: Tensor) -> "Labelled":
        """Some of them, by a mask or by rows."""
        return Labelled(self.features[chosen], self.labels[chosen], self.folds[chosen])


def fit(
    votes_paths: Sequence[Path], features: Path, space: Path, out: Path, settings: ProbeSettings
) -> None:
    """Fit the members of a probe, each to all folds but one, and calibrate them.

    Parameters
    ----------
    votes_paths : sequence of Path
        ``votes.parquet`` of one labelled set or of several, learned jointly.
    features : Path
        ``features.csv``, the list of the partitions, beside their features.
    space : Path
        ``space.yaml`` that the features are of.
    out : Path
        ``model.yaml``; the weights and ``history.csv`` are written beside it.

    Raises
    ------
    UserError
        When fewer than three labelled galaxies have features, or these are of another space.
    """
    votes = read_joint_votes(votes_paths)
    fitted, digest = read_space(space)
    with exclusive(out), atomic_tree(out.parent, MODEL_FILE) as folder:
        found = find_features(features, digest, votes.object_ids)
        inputs = {f"votes_{n}": read_record(path).digest for n, path in enumerate(votes_paths, 1)}
        labelled, counts = gather(votes, votes.task, found, settings.folds)
        learned = hashlib.sha256(labelled.features.numpy().tobytes()).hexdigest()
        inputs |= {"space": digest, "features": learned}
        origin = Origin("probe", settings.product_settings(), inputs, found.domain)
        if len(labelled.labels) < FEWEST:
            raise UserError(
                f"{', '.join(map(str, votes_paths))}: {len(labelled.labels)} labelled galaxies of "
                f"the splits train and val have features, of {len(votes.object_ids)}; a probe "
                f"needs at least {FEWEST}: give more, or test: 0"
            )
        probes, penalties = fit_members(
            labelled, votes.task, settings, feature_scale(fitted.deviations)
        )
        components = len(fitted.deviations)
        card = ProbeCard(
            *(votes.task, settings, digest, components, penalties, "", origin.to_dict(), counts)
        )
        write_csv(folder / "history.csv", _history(labelled, probes, penalties))
        write_probe(folder, card, probes)


def gather(
    votes: Votes, task: Task, found: Features, folds: int
) -> tuple[Labelled, dict[str, int]]:
    """Take the galaxies to learn from: with a label, features, and of the splits train and val.

    Gives their numbers by split too.
    """
    from pandas.util import hash_array

    values = votes.values_of(task)
    there = np.array([name in found.rows for name in votes.object_ids], bool)
    good = there & task.has_label(values)
    if not there.all():
        logger.info(
            "probe: %d of %d labelled galaxies have no features and are left out",
            *(int((~there).sum()), len(there)),
        )
    counts = {split: int((good & (votes.splits == split)).sum()) for split in SPLITS}
    rows = np.flatnonzero(good & np.isin(votes.splits, LEARNED_FROM))
    # Whatever their order in the file, the sums are the same.
    ids = np.array(votes.object_ids, object)
    rows = rows[np.argsort(hash_array(ids[rows], categorize=False))[:MOST_LEARNED]]
    names = ids[rows].tolist()
    home = assign_folds(names, votes.positions[rows], folds)
    features = found.of(names).astype(np.float64)
    tensors = map(torch.from_numpy, (features, values[rows], home.astype(np.int64)))
    return Labelled(*tensors), counts


def fit_members(
    labelled: Labelled, task: Task, settings: ProbeSettings, scale: Tensor
) -> tuple[list[Probe], list[float]]:
    """Fit a member to all folds but one, for each fold; give their penalties too.

    Each member is calibrated by the galaxies of the other folds, as their own members predict
    them: no galaxy calibrates its own prediction.
    """
    compared = labelled.on(torch.arange(min(MOST_COMPARED, len(labelled.labels))))
    start = partial(make_probe, task, settings, scale)
    penalties = choose_penalties(
        start, compared.features, compared.labels, compared.folds, settings.folds
    )
    probes = []
    for fold, penalty in enumerate(penalties):
        learned = labelled.but(fold)
        probe = start(learned.labels, member=fold)
        fit_probe(probe, learned.features, learned.labels, penalty)
        probes.append(probe)
    predicted = []
    for fold, probe in enumerate(probes):
        judged = labelled.on(labelled.folds == fold)
        with torch.no_grad():
            predicted.append((probe(judged.features)[:, None], judged.labels))
    for fold, probe in enumerate(probes):
        others = predicted[:fold] + predicted[fold + 1 :]
        samples, labels = map(torch.cat, zip(*others, strict=True))
        log_scale = fit_log_scale(probe.head, samples, labels)
        probe.head.log_scale.copy_(log_scale)
        logger.info(
            "probe: member %d: penalty %.3g, strength of belief scaled by %s",
            *(fold + 1, penalties[fold], np.round(log_scale.exp().numpy(), 2)),
        )
    return [probe.float().eval() for probe in probes], penalties


def _history(
    labelled: Labelled, probes: Sequence[Probe], penalties: Sequence[float]
) -> list[dict[str, float]]:
    """Rows of ``history.csv``: how well each member predicts what it has not learned from."""
    rows = []
    for fold, probe in enumerate(probes):
        judged = labelled.on(labelled.folds == fold)
        with torch.no_grad():
            loss = probe.head.loss(probe(judged.features.float()), judged.labels.float())
        each: npt.NDArray[np.float32] = loss.sum(1).numpy()
        rows.append(
            {
                "member": fold,
                "penalty": penalties[fold],
                "learned": len(labelled.but(fold).labels),
                "judged": len(each),
                "loss": float(each.mean()) if len(each) else float("nan"),
            }
        )
    return rows

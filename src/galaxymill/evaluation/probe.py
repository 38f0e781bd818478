"""A probe in an evaluation: its predictions from features, and its learning curve."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from galaxymill.errors import UserError
from galaxymill.evaluation.sample import Sample
from galaxymill.labels.table import read_joint_votes
from galaxymill.probes.features import Features, find_features
from galaxymill.probes.fit import Labelled, gather
from galaxymill.probes.network import Probe, fit_probe, make_probe, predict_all
from galaxymill.probes.store import ProbeCard, load_probes
from galaxymill.reporting.plots import COLOURS, INK, plain_axes
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.tasks.report import ReportContent

SIZES = (25, 50, 100, 200, 400)
DRAWS = 10
FEWEST_JUDGED = 5

Floats = npt.NDArray[np.float32]


def load_probe(model: Path, listed: Path | None) -> "ProbePredictor":
    """Load a probe; ``listed`` is the list of features, without which it cannot predict."""
    if listed is None:
        raise UserError(f"{model}: is a probe, which takes features: name them by --features")
    return ProbePredictor(*load_probes(model), listed)


class ProbePredictor:
    """A probe in the place of a `galaxymill.inference.predictor.Predictor`."""

    def __init__(self, probes: list[Probe], card: ProbeCard, listed: Path) -> None:
        self.probes, self.card, self._listed = probes, card, listed
        self._found: Features | None = None
        self._learned: Labelled | None = None

    @property
    def members(self) -> int:
        """Number of members, each with one sample."""
        return len(self.probes)

    def find(self, sample: Sample, votes: Sequence[Path]) -> Sample:
        """Look up the features of labelled galaxies; those without leave the sample."""
        labels = read_joint_votes(votes)
        wanted = {*sample.test, *sample.train, *labels.object_ids}
        found = self._found = find_features(self._listed, self.card.space, wanted)
        self._learned, _ = gather(labels, self.card.task, found, self.card.settings.folds)
        train, test = (
            {key: value for key, value in side.items() if key in found.rows}
            for side in (sample.train, sample.test)
        )
        if not test:
            raise UserError(f"{self._listed}: none of the galaxies to evaluate on has features")
        return replace(sample, train=train, test=test)

    def predict(self, object_ids: Sequence[str], images: Sequence[bytes]) -> tuple[Floats, Floats]:
        """Predict galaxies by their features; ``images`` are not looked at."""
        assert self._found is not None, "find comes first"
        features = self._found.of(object_ids)
        return predict_all(self.probes, features).numpy(), features.astype(np.float32)

    def with_curve(self, content: ReportContent) -> ReportContent:
        """Add the learning curve to a report."""
        assert self._learned is not None, "find comes first"
        rows = learning_curve(self._learned, self.card, self.probes[0])
        if not rows:
            return content
        shown = [name for name in list(rows[0])[2:] if not name.endswith("_scatter")]
        columns = {"labels": "{labels}", "draws": "{draws}"}
        columns |= {name: f"{{{name}:.3f}} ± {{{name}_scatter:.3f}}" for name in shown}
        table = Table("learning_curve", "Mean and scatter over draws of the labels.", rows, columns)
        text = (
            "How well a probe predicts galaxies that it has not learned from, by the number of "
            f"labels. Each draw keeps one fold of {self.card.settings.folds} to judge by, learns "
            "from some of the others, and is not calibrated. Where the curve still climbs, or the "
            "loss still falls, more labels will help."
        )
        caption = "Mean of the draws; bars are their standard deviation."
        plot = Plot("learning_curve", caption, draw_curve(rows, shown))
        section = Section("Learning curve", [text], [table], [plot])
        metrics = {**content.metrics, "learning_curve": rows}
        return replace(content, metrics=metrics, sections=[*content.sections, section])


def learning_curve(learned: Labelled, card: ProbeCard, probe: Probe) -> list[dict[str, Any]]:
    """Fit probes to draws of the labels, and judge each by the fold that is left out.

    They have the scale of ``probe``, a member, and the median penalty of all members. Gives a row
    for each of ``SIZES`` that the labels allow, and one for all of them: labels, draws, and of each
    score its mean and ``_scatter``, the standard deviation.
    """
    start = partial(make_probe, card.task, card.settings, probe.scale)
    penalty = float(np.median(card.penalties))
    folds = np.unique(learned.folds.numpy()).tolist()
    parts = {fold: learned.on(learned.folds != fold) for fold in folds}
    most = min(len(part.labels) for part in parts.values())
    rows = []
    for size in [*(size for size in SIZES if size < most), most]:
        scores: list[dict[str, float]] = []
        for draw in range(DRAWS):
            fold = folds[draw % len(folds)]
            judged = learned.on(learned.folds == fold)
            chosen = np.random.default_rng([size, draw]).permutation(len(parts[fold].labels))[:size]
            part = parts[fold].on(torch.from_numpy(chosen))
            if len(judged.labels) >= FEWEST_JUDGED and len(part.labels) > 1:
                fitted = start(part.labels)
                fit_probe(fitted, part.features, part.labels, penalty)
                scores.append(_scores(fitted, judged, card))
        if scores:
            row: dict[str, Any] = {"labels": size, "draws": len(scores)}
            for name in scores[0]:
                values = [one[name] for one in scores]
                row |= {name: float(np.mean(values)), f"{name}_scatter": float(np.std(values))}
            rows.append(row)
    return rows


@torch.no_grad()
def _scores(probe: Probe, judged: Labelled, card: ProbeCard) -> dict[str, float]:
    outputs: Tensor = probe(judged.features)
    loss = float(probe.head.loss(outputs, judged.labels).sum(1).mean())
    scores = card.task.scores(outputs[:, None].numpy(), judged.labels.numpy())
    return {**scores, "log loss": loss}


def draw_curve(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Figure:
    """Draw each score against the number of labels."""
    figure = Figure(figsize=(4.3 * len(names), 3.2), layout="constrained")
    sizes = [row["labels"] for row in rows]
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), place)
        means, bars = ([row[key] for row in rows] for key in (name, f"{name}_scatter"))
        axes.errorbar(sizes, means, bars, fmt="o-", color=COLOURS["model"], capsize=3, ms=4)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="labels learned from", ylabel=name)
        axes.grid(axis="y", color=INK, alpha=0.12)
        plain_axes(axes)
    return figure

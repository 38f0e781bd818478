"""Plots of errors against magnitude, size, redshift, votes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galaxymill.reporting.plots import COLOURS, INK, clip, plain_axes

MAX_QUESTIONS, MAX_COVARIATES = 4, 6

Rows = Sequence[Mapping[str, Any]]


def draw_errors_by(rows: Rows, names: Mapping[str, str], label: str) -> Figure:
    """Plot binned errors: a row of panels a question, a column a covariate.

    Rows are from `galaxymill.statistics.covariates.errors_by`; ``names`` are short ones of the
    questions. Shows the ``MAX_QUESTIONS`` with most galaxies and the first ``MAX_COVARIATES``.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["question"], row["covariate"]), []).append(row)
    counts: dict[str, int] = {}
    for (question, _), bins in grouped.items():
        counts[question] = max(counts.get(question, 0), sum(row["n"] for row in bins))
    order = list(counts)
    kept = sorted(counts, key=lambda name: -counts[name])[:MAX_QUESTIONS]
    questions = sorted(kept, key=order.index)
    covariates = list(dict.fromkeys(name for _, name in grouped))[:MAX_COVARIATES]
    shape = max(len(questions), 1), max(len(covariates), 1)
    size = (max(2.05 * shape[1] + 0.6, 4.5), 1.75 * shape[0] + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(*shape, squeeze=False, sharey="row")
    for axes, question in zip(grid, questions, strict=False):
        for panel, covariate in zip(axes, covariates, strict=False):
            _draw_panel(panel, grouped.get((question, covariate), []))
            plain_axes(panel)
        if len(questions) > 1:
            axes[0].set_ylabel(clip(names[question], 20), fontsize=8)
        own = [row for row in rows if row["question"] == question]
        tallest = max(max(row["error"] + row["uncertainty"], row["constant"]) for row in own)
        axes[0].set_ylim(0, 1.08 * tallest or 1)
    for panel, covariate in zip(grid[-1], covariates, strict=False):
        panel.set_xlabel(clip(covariate), fontsize=8)
    if not grouped:
        grid[0][0].text(0.5, 0.5, "too few galaxies to bin", ha="center", color=INK)
        grid[0][0].set_axis_off()
        return figure
    drawn = (panel.get_legend_handles_labels() for panel in grid.flat)
    handles, labels = next(legend for legend in drawn if legend[0])
    figure.legend(handles, labels, fontsize=8, frameon=False, ncols=4, loc="outside upper center")
    figure.supylabel(label, fontsize=9)
    return figure


def _draw_panel(axes: Axes, bins: Rows) -> None:
    if not bins:
        axes.set_axis_off()
        return
    x, y, errors, constant = (
        np.array([row[key] for row in bins], dtype=np.float64)
        for key in ("median", "error", "uncertainty", "constant")
    )
    axes.plot(x, constant, color="#b4b9c1", lw=1.5, label="constant")
    axes.errorbar(x, y, errors, fmt="o-", color=COLOURS["model"], ms=3, lw=1.5, label="model ± 1σ")
    if bins[0]["noise_floor"] is not None:
        floor = [row["noise_floor"] for row in bins]
        axes.plot(x, floor, color="#b03030", lw=1.2, ls="--", label="vote noise")
    axes.locator_params(axis="x", nbins=4)

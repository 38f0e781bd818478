"""Plots that several reports share; the same numbers give the same files, byte for byte."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galaxymill.reporting.tables import spell
from galaxymill.statistics.baselines import NAMES
from galaxymill.statistics.bootstrap import Values
from galaxymill.statistics.calibration import PIT_BINS

COLOURS = {
    "model": "#1f77b4",
    "ridge_encoder": "#d8702c",
    "ridge": "#f2b45e",
    "dirichlet": "#9aa1ab",
    "constant": "#d3d6db",
}
LABELS = {"model": "model", **NAMES}
INK, FAINT = "#222222", "#8a8f98"
MAX_LABEL = 22

# Names are the users': a dollar sign in one is no formula. Nor are their styles ours.
_STYLE = {"text.parse_math": False, "svg.hashsalt": "galaxymill", "axes.unicode_minus": True}


def own_style() -> Any:
    """Context in which plots are to be drawn and written."""
    return style.context(["default", _STYLE])


def short_names(names: Collection[str]) -> dict[str, str]:
    """Shorten questions' names by the ending they share, such as ``-dr5``."""
    endings = {name.rsplit("-", 1)[-1] for name in names}
    shared = f"-{endings.pop()}" if len(endings) == 1 < len(names) else ""
    return {name: name.removesuffix(shared) for name in names}


def clip(label: str, length: int = MAX_LABEL) -> str:
    """Cut a label that is too long for its place."""
    return label if len(label) <= length else f"{label[: length - 1]}…"


def plain_axes(axes: Axes) -> None:
    """Give axes two thin lines and small labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8, length=3)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9, color=INK)


def panels(n: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of n panels in rows of ``columns``; sizes of a panel in inches."""
    columns = min(columns, max(n, 1))
    rows = max(-(-n // columns), 1)
    size = (max(width * columns, 4.5), height * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(n)]


def draw_bars(
    values: Mapping[str, Sequence[float]],
    ticks: Sequence[str],
    label: str,
    errors: Sequence[Sequence[float] | None] = (),
    floors: Sequence[float] = (),
    spec: str = ".3f",
) -> Figure:
    """Draw horizontal bars, one group a question: the model's and the baselines'.

    Parameters
    ----------
    values : mapping of str to sequence, length n
        By ``model`` and the names of baselines.
    ticks : sequence of str, length n
    label : str
        Of the axis.
    errors : sequence of (low, high), length n, optional
        Intervals of the model's.
    floors : sequence of float, length n, optional
        What noise alone would leave.
    spec : str
        Format specification of the numbers.
    """
    n, kinds = len(ticks), len(values)
    height = 0.84 / max(kinds, 1)
    figure = Figure(figsize=(8.6, 0.2 * kinds * max(n, 1) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(n)
    handles: list[Any] = []
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8}
    text: dict[str, Any] = {"fontsize": 6.5, "color": INK, "bbox": box, "zorder": 4}
    text |= {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    for index, (kind, lengths) in enumerate(values.items()):
        where = places + height * (index - (kinds - 1) / 2)
        colour = COLOURS[kind]
        handles.append(
            axes.barh(where, lengths, height * 0.92, color=colour, label=LABELS[kind], zorder=2)
        )
        bounds = errors if kind == "model" and errors else [None] * n
        for place, length, each in zip(where, lengths, bounds, strict=True):
            if each:
                axes.plot(list(each), [place, place], color=INK, lw=1.1, zorder=5)
            end = max(length, each[1]) if each else length
            axes.annotate(f"{length:{spec}}", (end, place), **text)
    if len(floors):
        low, high = places - 0.45, places + 0.45
        handles.append(axes.vlines(floors, low, high, "#b03030", lw=1.6, label="vote noise"))
        handles[-1].set_zorder(6)
    axes.set_yticks(places, ticks)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    figure.legend(handles=handles, fontsize=8, frameon=False, ncols=3, loc="outside upper center")
    axes.margins(x=0.1, y=0.02)
    plain_axes(axes)
    return figure


def draw_calibration(
    pooled: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], what: str
) -> Figure:
    """Plot PIT histograms and the coverage of predictive intervals, pooled and by question.

    Scores are from `galaxymill.statistics.calibration.calibration`; ``what`` lies in the intervals.
    """
    extra = list(parts.items()) if len(parts) > 1 else []
    rows = -(-len(extra) // 5)
    figure = Figure(figsize=(9.2, 3.7 + 1.55 * rows), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=[3.7, max(1.55 * rows, 0.01)])
    top, bottom = (figure.add_subfigure(halves[place]) for place in range(2))
    left, right = top.subplots(1, 2)
    _draw_pit(left, pooled["pit_histogram"])
    left.set(xlabel=f"PIT of {what}", ylabel="density")
    left.set_title("flat: calibrated · U: over-confident · hump: too wide", fontsize=8.5)
    right.plot([0, 1], [0, 1], color=INK, lw=1.2, ls="--", label="ideal")
    for index, (_, scores) in enumerate(extra):
        levels, covered, _, _ = coverage_curve(scores)
        label = "one question" if index == 0 else None
        right.plot(levels, covered, color="#a8cbe8", lw=0.9, label=label)
    levels, covered, low, high = coverage_curve(pooled)
    right.fill_between(levels, low, high, color=COLOURS["model"], alpha=0.25, lw=0)
    right.plot(levels, covered, "o-", color=COLOURS["model"], ms=3, lw=1.8, label="all")
    if pooled["coverage_90"] is not None:
        note = f"90 % intervals hold {100 * pooled['coverage_90']:.1f} %"
        right.text(0.97, 0.04, note, ha="right", fontsize=8.5, color=INK)
    right.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    right.set(xlabel="nominal probability of the interval", ylabel=f"share of {what} inside")
    right.legend(fontsize=8, frameon=False, loc="upper left")
    for axes in (left, right):
        plain_axes(axes)
    for index, (name, scores) in enumerate(extra):
        axes = bottom.add_subplot(rows, 5, index + 1)
        _draw_pit(axes, scores["pit_histogram"])
        share = spell("n = {n}, 90 %: {coverage_90:.0%}", scores)
        axes.set_title(f"{clip(name)}\n{share}", fontsize=7)
        plain_axes(axes)
        axes.tick_params(labelsize=6)
    return figure


def _draw_pit(axes: Axes, shares: Sequence[float]) -> None:
    edges = np.linspace(0, 1, PIT_BINS + 1)
    axes.stairs(np.array(shares) * PIT_BINS, edges, fill=True, color="#a8cbe8")
    axes.axhline(1, color=INK, lw=1, ls="--")
    axes.set(xlim=(0, 1), ylim=(0, None))


def coverage_curve(scores: Mapping[str, Any]) -> tuple[Values, Values, Values, Values]:
    """Levels, coverage and the ends of its interval, of those levels that could be tested."""
    points = [
        (float(level) / 100, each["value"], *each["interval"])
        for level, each in scores["coverage"].items()
        if each["value"] is not None and each["interval"] is not None
    ]
    levels, covered, low, high = np.array(points, dtype=np.float64).reshape(-1, 4).T
    return levels, covered, low, high


def draw_confusion(matrices: Mapping[str, tuple[Sequence[str], Any]], truth: str) -> Figure:
    """Draw confusion matrices: galaxies by true (down) and predicted (across) answer.

    ``matrices`` are answers and numbers by title; ``truth`` is what the true answers are called.
    """
    largest = max((len(answers) for answers, _ in matrices.values()), default=2)
    side = float(np.clip(1.5 + 0.3 * largest, 2.4, 7))
    figure, axes_list = panels(len(matrices), 4 if largest <= 7 else 2, side, side)
    for axes, (name, (answers, counts)) in zip(axes_list, matrices.items(), strict=True):
        counts = np.array(counts)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(answers) <= 12:
            for (row, column), n in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.55 else INK
                axes.text(column, row, f"{n}", color=colour, fontsize=7, ha="center", va="center")
        labels = [clip(answer, 16) for answer in answers]
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(labelsize=6.5, length=0)
        axes.set_title(name, fontsize=8, color=INK)
    figure.supxlabel("model's most likely answer", fontsize=9)
    figure.supylabel(truth, fontsize=9)
    return figure

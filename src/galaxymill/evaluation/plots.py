"""The evaluation in pictures: PNG files that are the same, byte for byte, for the same numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from galaxymill.evaluation.metrics import Comparison, coverage
from galaxymill.images.decode import read_raster
from galaxymill.votes.splits import uniform
from galaxymill.votes.tree import Question, Tree

COLOURS = {"model": "#1f77b4", "ridge": "#f2a541", "constant": "#c9ccd1"}
LABELS = {"model": "model", "ridge": "ridge on hand features", "constant": "constant"}
_INK, _FAINT = "#222222", "#8a8f98"

GALLERY_COLUMNS, GALLERY_ROWS = 6, 4
MAX_PANELS = 12
"""Answers shown in the scatter plots."""

MAX_LABEL = 30
"""Characters that fit beside the numbers under a picture."""

Summary = Mapping[str, Any]


def draw_all(
    folder: Path, comparison: Comparison, summary: Summary, pictures: Mapping[str, bytes]
) -> None:
    """Write every plot.

    Parameters
    ----------
    folder : Path
        Gets ``gallery.png``, ``predicted_vs_observed.png``, ``rmse.png`` and
        ``calibration.png``.
    comparison : Comparison
    summary : mapping
        From `galaxymill.evaluation.metrics.summarise`.
    pictures : mapping of str to bytes
        JPEG or PNG files of some of the galaxies, by ``object_id``.
    """
    # Names are the users': a dollar sign in one is no formula. Nor are their styles ours.
    with style.context(["default", {"text.parse_math": False}]):
        _save(folder / "gallery.png", draw_gallery(comparison, pictures))
        _save(folder / "predicted_vs_observed.png", draw_scatter(comparison, summary))
        _save(folder / "rmse.png", draw_rmse(comparison.tree, summary))
        _save(folder / "calibration.png", draw_calibration(comparison))


def _save(path: Path, figure: Figure) -> None:
    # Without the library's name and version, so that the file depends on the plot alone.
    figure.savefig(path, dpi=130, facecolor="white", metadata={"Software": None})


def short_names(tree: Tree) -> dict[str, str]:
    """Shorten questions' names by the ending they share, such as ``-dr5``."""
    names = [question.name for question in tree.questions]
    last_words = {name.rsplit("-", 1)[-1] for name in names}
    ending, *others = last_words
    if len(names) == 1 or others:
        return {name: name for name in names}
    return {name: name.removesuffix(f"-{ending}") for name in names}


def _plain_axes(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=8, length=3)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=9, color=_INK)


def draw_gallery(comparison: Comparison, pictures: Mapping[str, bytes]) -> Figure:
    """Show galaxies drawn at random, ordered by the first answer's predicted fraction.

    Under each: the first question and two that follow, each with the volunteers' leading
    answer: the model's fraction as a bar, theirs as a tick.

    Parameters
    ----------
    comparison : Comparison
    pictures : mapping of str to bytes

    Returns
    -------
    matplotlib.figure.Figure
    """
    places = {key: row for row, key in enumerate(comparison.object_ids)}
    cells = GALLERY_COLUMNS * GALLERY_ROWS
    shown = sorted((key for key in pictures if key in places), key=gallery_order)[:cells]
    shown.sort(key=lambda key: -comparison.predicted["model"][places[key], 0])
    rows = max(-(-len(shown) // GALLERY_COLUMNS), 1)
    tight = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.05, wspace=0, hspace=0)
    figure = Figure(figsize=(2.0 * GALLERY_COLUMNS, 2.75 * rows + 0.5), layout=tight)
    first = short_names(comparison.tree)[comparison.tree.questions[0].name]
    legend = f"first line: {first} · bar: model's vote fraction · tick: volunteers'"
    figure.suptitle(f"{legend} · numbers: model | volunteers", fontsize=9, color=_INK)
    grid = figure.add_gridspec(2 * rows, GALLERY_COLUMNS, height_ratios=[2.0, 0.8] * rows)
    for index, key in enumerate(shown):
        row, column = divmod(index, GALLERY_COLUMNS)
        picture = figure.add_subplot(grid[2 * row, column])
        picture.imshow(read_raster(pictures[key]))
        picture.set_axis_off()
        picture.set_title(key, fontsize=6, color=_FAINT, pad=2)
        _draw_answers(figure.add_subplot(grid[2 * row + 1, column]), comparison, places[key])
    return figure


def gallery_order(object_id: str) -> float:
    """Rank galaxies at random, but always in the same way."""
    return uniform(f"gallery:{object_id}")


def _relevant(comparison: Comparison, row: int) -> list[Question]:
    """The first question, then the two follow-ups that say most about this galaxy.

    They are those with the most votes for each way that leads there: a question that follows
    nearly every answer tells galaxies apart the least.
    """
    votes = comparison.votes[row]
    first, *others = comparison.tree.questions
    others.sort(key=lambda q: -votes[q.slice].sum() / (len(q.asked_after) or np.inf))
    return [first, *others[:2]]


def _draw_answers(axes: Axes, comparison: Comparison, row: int) -> None:
    names = short_names(comparison.tree)
    questions = _relevant(comparison, row)
    for place, question in enumerate(questions):
        votes = comparison.votes[row, question.slice]
        answer = int(np.argmax(votes))
        model = comparison.predicted["model"][row, question.start + answer]
        name = f"{names[question.name]}: " if place else ""
        text, numbers = f"{name}{question.answers[answer]}", f"{model:.2f} | –"
        axes.barh(place + 0.2, 1, 0.26, color="#eef0f3")
        axes.barh(place + 0.2, model, 0.26, color=COLOURS["model"], alpha=0.55)
        if votes.sum() > 0:
            seen = votes[answer] / votes.sum()
            axes.plot([seen, seen], [place + 0.03, place + 0.37], color="#c0392b", lw=1.8)
            numbers = f"{model:.2f} | {seen:.2f}"
        text = text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
        axes.text(0, place - 0.12, text, fontsize=6, color=_INK, va="center")
        axes.text(1, place - 0.12, numbers, fontsize=6, color=_INK, va="center", ha="right")
    axes.set(xlim=(-0.01, 1.01), ylim=(len(questions) - 0.3, -0.4))
    axes.set_axis_off()


def draw_scatter(comparison: Comparison, summary: Summary) -> Figure:
    """Plot predicted against observed vote fractions, for the first answers of the tree.

    Of two answers one is shown, as the other is its mirror image.

    Parameters
    ----------
    comparison : Comparison
    summary : mapping

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = short_names(comparison.tree)
    panels = [
        (question, answer, column)
        for question in comparison.tree.questions
        for column, answer in enumerate(question.answers, start=question.start)
        if summary["questions"][question.name]["n"] > 0
        and (len(question.answers) > 2 or column == question.start)
    ][:MAX_PANELS]
    columns, rows = 4, max(-(-len(panels) // 4), 1)
    figure = Figure(figsize=(2.6 * columns, 2.75 * rows + 0.3), layout="constrained")
    for index, (question, answer, column) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        scores = summary["questions"][question.name]["answers"][answer]
        predicted, seen = comparison.predicted["model"][:, column], comparison.observed[:, column]
        alpha = float(np.clip(60 / scores["n"], 0.05, 0.6))
        axes.plot([0, 1], [0, 1], color=_FAINT, lw=1)
        axes.scatter(predicted, seen, 12, COLOURS["model"], alpha=alpha, linewidths=0)
        axes.set_title(f"{names[question.name]}: {answer}", fontsize=8.5, color=_INK)
        note = f"RMSE {scores['rmse']:.3f}\nfloor {scores['noise_floor_rmse']:.3f}"
        axes.text(0.04, 0.96, note, fontsize=7, color=_INK, va="top")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        _plain_axes(axes)
    figure.supxlabel("predicted vote fraction", fontsize=9.5)
    figure.supylabel("observed vote fraction", fontsize=9.5)
    return figure


def draw_rmse(tree: Tree, summary: Summary) -> Figure:
    """Plot each question's RMSE beside the baselines' and the floor that vote noise sets.

    Parameters
    ----------
    tree : Tree
    summary : mapping

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = short_names(tree)
    asked = {name: scores for name, scores in summary["questions"].items() if scores["n"] > 0}
    figure = Figure(figsize=(8.2, 0.62 * max(len(asked), 2) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    values: dict[str, Callable[[Summary], float]] = {
        "model": lambda scores: scores["rmse"],
        "ridge": lambda scores: scores["baselines"]["ridge"]["rmse"],
        "constant": lambda scores: scores["baselines"]["constant"]["rmse"],
    }
    places = np.arange(len(asked))
    floors = [scores["noise_floor_rmse"] for scores in asked.values()]
    handles: list[Any] = []
    for index, (kind, value) in enumerate(values.items()):
        lengths = [value(scores) for scores in asked.values()]
        bars = axes.barh(
            places + 0.26 * (index - 1), lengths, 0.24, color=COLOURS[kind], label=LABELS[kind]
        )
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
        axes.bar_label(bars, fmt="%.3f", fontsize=6.5, padding=3, color=_INK, bbox=box, zorder=4)
        handles.append(bars)
    line = axes.vlines(floors, places - 0.42, places + 0.42, _INK, lw=1.6, label="vote noise")
    handles.append(line)
    ticks = [f"{names[name]}  (n = {scores['n']})" for name, scores in asked.items()]
    axes.set_yticks(places, ticks)
    axes.invert_yaxis()
    axes.set_xlabel("RMSE of vote fractions (smaller is better)")
    axes.legend(
        handles=handles, fontsize=8, frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1)
    )
    axes.margins(x=0.08, y=0.01)
    _plain_axes(axes)
    return figure


def draw_calibration(comparison: Comparison) -> Figure:
    """Plot the PIT histogram and the coverage of predictive intervals, all answers pooled.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure
    """
    pit = comparison.pit[np.isfinite(comparison.pit)]
    figure = Figure(figsize=(8.2, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.hist(pit, np.linspace(0, 1, 21), density=pit.size > 0, color="#a8cbe8", ec="white")
    left.axhline(1, color=_INK, lw=1.2, ls="--")
    left.set(xlim=(0, 1), xlabel="PIT of observed votes", ylabel="density")
    left.set_title("flat: calibrated · U: overconfident · hump: too wide", fontsize=8.5)
    levels = np.linspace(0, 1, 41)
    covered = [coverage(pit, float(level)) for level in levels]
    right.plot([0, 1], [0, 1], color=_INK, lw=1.2, ls="--", label="ideal")
    if pit.size:
        right.plot(levels, np.array(covered), color=COLOURS["model"], lw=2, label="model")
        right.plot(0.9, coverage(pit, 0.9), "o", color=COLOURS["model"])
        note = f"90 % intervals hold {100 * (coverage(pit, 0.9) or 0):.1f} %"
        right.text(0.97, 0.04, note, ha="right", fontsize=8.5, color=_INK)
    right.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    right.set(xlabel="nominal probability of the interval", ylabel="share of votes inside")
    right.legend(fontsize=8, frameon=False, loc="upper left")
    for axes in (left, right):
        _plain_axes(axes)
    return figure

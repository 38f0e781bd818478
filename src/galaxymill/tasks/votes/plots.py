"""Plots of vote fractions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill.reporting.gallery import Line
from galaxymill.reporting.plots import COLOURS, FAINT, INK, clip, panels, plain_axes
from galaxymill.statistics.calibration import reliability
from galaxymill.tasks.votes.scores import Comparison
from galaxymill.trees.tree import Question

Metrics = Mapping[str, Any]


def draw_scatter(comparison: Comparison, metrics: Metrics, names: Mapping[str, str]) -> Figure:
    """Plot predicted against observed vote fractions, a panel an answer.

    Of two answers one is shown, as the other is its mirror image. ``metrics`` are from
    `galaxymill.tasks.votes.scores.summarise`; ``names`` are short ones of the questions.
    """
    drawn = [
        (question, answer, column)
        for question in comparison.tree.questions
        for column, answer in enumerate(question.answers, start=question.start)
        if metrics["questions"][question.name]["n"] > 0
        and (len(question.answers) > 2 or column == question.start)
    ]
    figure, axes_list = panels(len(drawn), 5, 2.15, 2.3)
    for axes, (question, answer, column) in zip(axes_list, drawn, strict=True):
        scores = metrics["questions"][question.name]["answers"][answer]
        rows = comparison.rows(question)
        predicted = comparison.predicted["model"][rows, column]
        seen = comparison.observed[rows, column]
        alpha = float(np.clip(60 / scores["n"], 0.05, 0.6))
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1)
        colour = COLOURS["model"]
        axes.scatter(predicted, seen, 9, colour, alpha=alpha, linewidths=0, rasterized=True)
        x, y, errors = reliability(predicted, seen)
        axes.errorbar(x, y, errors, fmt="o-", color="#d8702c", ms=2.5, lw=1.3)
        axes.set_title(f"{clip(names[question.name])}\n{clip(answer)}", fontsize=8, color=INK)
        note = f"RMSE {scores['rmse']:.3f}\nfloor {scores['noise_floor_rmse']:.3f}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
        axes.text(0.03, 0.97, note, fontsize=6.5, color=INK, va="top", bbox=box)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        plain_axes(axes)
    figure.supxlabel("predicted vote fraction", fontsize=9.5)
    figure.supylabel("observed vote fraction", fontsize=9.5)
    return figure


def gallery_lines(comparison: Comparison, names: Mapping[str, str], row: int) -> list[Line | str]:
    """Give the volunteers' leading answers of a galaxy, on the questions that tell it apart."""
    lines: list[Line | str] = []
    for place, question in enumerate(_relevant(comparison, row)):
        votes = comparison.votes[row, question.slice]
        answer = int(np.argmax(votes))
        name = f"{names[question.name]}: " if place else ""
        model = float(comparison.predicted["model"][row, question.start + answer])
        seen = float(votes[answer] / votes.sum()) if votes.sum() else None
        lines.append((f"{name}{question.answers[answer]}", model, seen))
    return lines


def _relevant(comparison: Comparison, row: int) -> list[Question]:
    """The first question with votes, then the two follow-ups that tell this galaxy apart.

    They are those with the most votes for each way that leads there: a question that follows
    nearly every answer tells galaxies apart the least.
    """
    votes = comparison.votes[row]
    questions = comparison.tree.questions
    # Of a joint model's trees a galaxy has votes on one.
    first = next((q for q in questions if votes[q.slice].sum()), questions[0])
    others = [q for q in questions if q is not first and q.asked_after]
    others.sort(key=lambda q: -votes[q.slice].sum() / len(q.asked_after))
    return [first, *others[:2]]

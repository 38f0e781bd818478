"""One figure a question: each answer of A against that of B, and the bias along A."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from galaxymill.comparison.panel import Panel
from galaxymill.comparison.statistics import Edges
from galaxymill.reporting.plots import COLOURS, FAINT, INK, clip, plain_axes

MAX_PANELS = 24
_ACROSS = 4


def draw_question(
    title: str, answers: Sequence[str], panels: Sequence[tuple[Panel, Edges]]
) -> Figure:
    """Draw a two-dimensional histogram an answer, and below it A − B against A.

    Of the answers, which are the titles of the panels, the first ``MAX_PANELS`` are drawn.
    """
    n = min(len(answers), MAX_PANELS)
    across, blocks = min(n, _ACROSS), -(-n // _ACROSS)
    # Compressed: axes of equal scales take less than their share, which would leave gaps.
    figure = Figure(figsize=(2.4 * across + 1.2, 3.7 * blocks + 0.4), layout="compressed")
    grid = figure.add_gridspec(2 * blocks, across, height_ratios=[1, 0.5] * blocks)
    norm = LogNorm(1, max([10, *(panel.counts.max() for panel, _ in panels[:n])]))
    tops, bottoms = [], []
    for place, (panel, edges) in enumerate(panels[:n]):
        row, column = 2 * (place // across), place % across
        top, bottom = (figure.add_subplot(grid[row + below, column]) for below in (0, 1))
        mesh = _draw_against(top, panel.counts, edges, norm)
        _draw_bias(bottom, panel, edges)
        top.set_title(clip(answers[place], 28), fontsize=9, color=INK)
        bottom.set_xlabel("A")
        if column == 0:
            top.set_ylabel("B")
            bottom.set_ylabel("A − B")
        for axes in (top, bottom):
            plain_axes(axes)
        tops.append(top)
        bottoms.append(bottom)
    # Answers are drawn at one scale; other columns, of other ranges, at their own.
    reach: dict[Any, float] = {}
    for axes in bottoms:
        ends = axes.get_xlim()
        reach[ends] = max(reach.get(ends, 0), *map(abs, axes.get_ylim()))
    for axes in bottoms:
        axes.set_ylim(-reach[axes.get_xlim()], reach[axes.get_xlim()])
    bar = figure.colorbar(mesh, ax=tops, aspect=30, format="{x:,.0f}")
    bar.set_label("galaxies", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _draw_against(axes: Axes, counts: Any, edges: Any, norm: LogNorm) -> Any:
    """Draw the histogram and the line on which both are equal."""
    shown = np.ma.masked_equal(counts.T, 0)
    mesh = axes.pcolormesh(edges, edges, shown, cmap="viridis_r", norm=norm, rasterized=True)
    ends = edges[[0, -1]]
    axes.plot(ends, ends, color="#b03030", lw=0.9, ls="--")
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.locator_params(nbins=5)
    return mesh


def _draw_bias(axes: Axes, panel: Panel, edges: Edges) -> None:
    """Draw the mean of A − B in bins of A, and the range of its middle 68 %."""
    middles, means, low, high = panel.bias(edges)
    axes.axhline(0, color=FAINT, lw=0.9, ls="--")
    if len(middles):
        axes.fill_between(middles, low, high, color=COLOURS["model"], alpha=0.2, lw=0)
        axes.plot(middles, means, "o-", color=COLOURS["model"], ms=3, lw=1.3)
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(nbins=5)
    axes.set_box_aspect(0.5)

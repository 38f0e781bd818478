"""One figure a question: each answer of A against that of B, and the bias along A."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from galaxymill.comparison.catalogue import Values
from galaxymill.reporting.plots import COLOURS, FAINT, INK, clip, plain_axes

MAX_PANELS = 24
_ACROSS = 4
_BINS = 50
_BIAS_BINS = 10
_MIN_GALAXIES = 5


def draw_question(
    title: str, answers: Sequence[str], a: Sequence[Values], b: Sequence[Values]
) -> Figure:
    """Draw a two-dimensional histogram an answer, and below it A − B against A.

    Parameters
    ----------
    title : str
    answers : sequence of str, length n
        Titles of the panels; the first ``MAX_PANELS`` are drawn.
    a, b : sequence of ndarray, shape (galaxies,), length n
        NaN where there is none.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = min(len(answers), MAX_PANELS)
    across, blocks = min(n, _ACROSS), -(-n // _ACROSS)
    # Compressed: axes of equal scales take less than their share, which would leave gaps.
    figure = Figure(figsize=(2.4 * across + 1.2, 3.7 * blocks + 0.4), layout="compressed")
    grid = figure.add_gridspec(2 * blocks, across, height_ratios=[1, 0.5] * blocks)
    drawn = [_clean(a[place], b[place]) for place in range(n)]
    norm = LogNorm(1, max([10, *(counts.max() for _, _, counts, _ in drawn)]))
    tops, bottoms = [], []
    for place, (x, y, counts, edges) in enumerate(drawn):
        row, column = 2 * (place // across), place % across
        top, bottom = (figure.add_subplot(grid[row + below, column]) for below in (0, 1))
        mesh = _draw_against(top, counts, edges, norm)
        _draw_bias(bottom, x, y, edges)
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


def _clean(a: Values, b: Values) -> tuple[Values, Values, Any, Any]:
    """Galaxies with both values, and their histogram: 0 to 1 for fractions."""
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    low, high = 0.0, 1.0
    if len(a) and (min(a.min(), b.min()) < 0 or max(a.max(), b.max()) > 1):
        low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
        high = max(high, low + abs(low) / 1000)  # a constant has a width too
    edges = np.linspace(low, high, _BINS + 1)
    return a, b, np.histogram2d(a, b, bins=[edges, edges])[0], edges


def _draw_against(axes: Axes, counts: Any, edges: Any, norm: LogNorm) -> Any:
    """Draw the histogram and the line on which both are equal."""
    shown = np.ma.masked_equal(counts.T, 0)
    mesh = axes.pcolormesh(edges, edges, shown, cmap="viridis_r", norm=norm, rasterized=True)
    ends = edges[[0, -1]]
    axes.plot(ends, ends, color="#b03030", lw=0.9, ls="--")
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.locator_params(nbins=5)
    return mesh


def _draw_bias(axes: Axes, a: Values, b: Values, edges: Any) -> None:
    """Draw the mean of A − B in bins of A, and the range of its middle 68 %."""
    ends = edges[[0, -1]]
    wide = np.linspace(edges[0], edges[-1], _BIAS_BINS + 1)
    place = np.clip(np.digitize(a, wide) - 1, 0, _BIAS_BINS - 1)
    difference = a.astype(np.float64) - b
    points: list[tuple[float, ...]] = []
    for number in range(_BIAS_BINS):
        inside = difference[place == number]
        if len(inside) >= _MIN_GALAXIES:
            middle = (wide[number] + wide[number + 1]) / 2
            points.append((middle, inside.mean(), *np.quantile(inside, [0.16, 0.84])))
    axes.axhline(0, color=FAINT, lw=0.9, ls="--")
    if points:
        middles, means, low, high = np.array(points).T
        axes.fill_between(middles, low, high, color=COLOURS["model"], alpha=0.2, lw=0)
        axes.plot(middles, means, "o-", color=COLOURS["model"], ms=3, lw=1.3)
    axes.set_xlim(ends)
    axes.locator_params(nbins=5)
    axes.set_box_aspect(0.5)

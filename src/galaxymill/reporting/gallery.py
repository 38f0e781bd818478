"""Galleries: galaxies drawn at random, the best and worst predicted, the most uncertain."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galaxymill.decoding.decode import read_raster
from galaxymill.reporting.plots import COLOURS, FAINT, INK, clip
from galaxymill.splits import uniform
from galaxymill.statistics.bootstrap import Values

COLUMNS, ROWS = 6, 4
MAX_TEXT = 28
"""Characters that fit beside the numbers under a picture."""

_CELL, _SIDE, _MARGIN, _LINE = 1.45, 0.94, 0.03, 0.11
"""Height of a cell, side of a picture, space beside it, height of a line; widths of a cell."""

Line = tuple[str, float, float | None]
"""An answer, the model's fraction (or probability) and the volunteers', if there is one."""


def choose_galleries(
    object_ids: Sequence[str], errors: Values, uncertainties: Values
) -> dict[str, list[str]]:
    """Choose the galaxies of each gallery.

    Parameters
    ----------
    object_ids : sequence of str, length n
    errors, uncertainties : ndarray, shape (n,)
        NaN for galaxies that cannot be judged.

    Returns
    -------
    dict of str to list of str
        Of ``gallery`` (at random, but always the same), ``gallery_best``, ``gallery_worst`` and
        ``gallery_uncertain``, each in the order to show.
    """
    size = COLUMNS * ROWS

    def ranked(values: Values) -> list[str]:
        rows = np.flatnonzero(np.isfinite(values))
        rows = rows[np.argsort(values[rows], kind="stable")]
        return [object_ids[row] for row in rows[:size]]

    drawn = sorted(object_ids, key=lambda key: uniform(f"gallery:{key}"))[:size]
    return {
        "gallery": drawn,
        "gallery_best": ranked(errors),
        "gallery_worst": ranked(-errors),
        "gallery_uncertain": ranked(-uncertainties),
    }


def draw_gallery(
    shown: Sequence[str],
    pictures: Mapping[str, bytes],
    lines: Callable[[str], Sequence[Line | str]],
    legend: str,
) -> Figure:
    """Show pictures, each with some lines on what the model and the volunteers say.

    Parameters
    ----------
    shown : sequence of str
        ``object_id`` in order.
    pictures : mapping of str to bytes
        JPEG, PNG or WebP files.
    lines : callable
        What stands under a galaxy: a bar and a tick, or plain text; at most three lines.
    legend : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = max(-(-len(shown) // COLUMNS), 1)
    figure = Figure(figsize=(2.0 * COLUMNS, 2.0 * _CELL * rows + 0.4))
    figure.suptitle(legend, fontsize=9, color=INK, y=1 - 0.1 / figure.get_figheight(), va="top")
    # All in one plane, a cell 1 wide: axes of their own for each picture take ten times as long.
    axes = figure.add_axes((0, 0, 1, 1 - 0.4 / figure.get_figheight()))
    for index, key in enumerate(shown):
        row, column = divmod(index, COLUMNS)
        left, top = column + _MARGIN, row * _CELL
        axes.text(left + _SIDE / 2, top + 0.05, clip(key, 34), ha="center", fontsize=6, color=FAINT)
        box = (left, left + _SIDE, top + _SIDE + 0.07, top + 0.07)
        axes.imshow(read_raster(pictures[key]), extent=box)
        for place, line in enumerate(lines(key)):
            _draw_line(axes, left, top + _SIDE + 0.15 + place * _LINE, line)
    axes.set(xlim=(0, COLUMNS), ylim=(rows * _CELL, 0), aspect="auto")
    axes.set_axis_off()
    return figure


def _draw_line(axes: Axes, left: float, middle: float, line: Line | str) -> None:
    """Write one line under a picture; ``middle`` is the height of its text."""
    style: dict[str, Any] = {"fontsize": 6, "color": INK, "va": "center"}
    if isinstance(line, str):
        axes.text(left, middle, clip(line, 40), **style)
        return
    text, model, seen = line
    bar, thickness = middle + 0.055, 0.03
    axes.barh(bar, _SIDE, thickness, left=left, color="#eef0f3")
    axes.barh(bar, model * _SIDE, thickness, left=left, color=COLOURS["model"], alpha=0.55)
    numbers = f"{model:.2f}"
    if seen is not None:
        tick = left + seen * _SIDE
        axes.plot([tick, tick], [bar - 0.02, bar + 0.02], color="#c0392b", lw=1.8)
        numbers = f"{model:.2f} | {seen:.2f}"
    axes.text(left, middle, clip(text, MAX_TEXT), **style)
    axes.text(left + _SIDE, middle, numbers, ha="right", **style)

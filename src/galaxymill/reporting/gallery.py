"""Galleries of galaxies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galaxymill.decoding.decode import read_raster
from galaxymill.reporting.plots import COLOURS, FAINT, INK, clip
from galaxymill.reporting.report import Plot
from galaxymill.splits import uniform
from galaxymill.statistics.bootstrap import Values

COLUMNS, ROWS = 6, 4
MAX_TEXT = 28
"""Characters that fit beside the numbers under a picture."""

_CELL, _SIDE, _MARGIN, _LINE = 1.45, 0.94, 0.03, 0.11
"""Height of a cell, side of a picture, space beside it, height of a line; widths of a cell."""

Line = tuple[str, float, float | None]
"""An answer, the model's fraction (or probability) and the volunteers', if there is one."""

_CAPTIONS = {
    "gallery": "Test galaxies drawn at random.",
    "gallery_best": "The test galaxies predicted best.",
    "gallery_worst": "The test galaxies predicted worst: look here for wrong images, odd labels, "
    "and what the model cannot see.",
    "gallery_uncertain": "The test galaxies that the model itself is least sure of.",
}


def draw_galleries(
    object_ids: Sequence[str],
    errors: Values,
    uncertainties: Values,
    read: Callable[[Iterable[str]], Mapping[str, bytes]],
    lines: Callable[[int], Sequence[Line | str]],
    legend: str,
) -> list[Plot]:
    """Draw galleries: at random (but always the same), best, worst, and most uncertain.

    Parameters
    ----------
    object_ids : sequence of str, length n
    errors, uncertainties : ndarray, shape (n,)
        NaN for galaxies that cannot be judged.
    read : callable
        Reads the pictures of a few galaxies: JPEG, PNG or WebP files.
    lines : callable
        What stands under the galaxy of a row: a bar and a tick, or plain text; three at most.
    legend : str
        Of each figure.
    """

    def ranked(values: Values) -> list[int]:
        order: list[int] = np.argsort(values, kind="stable").tolist()
        return [row for row in order if np.isfinite(values[row])]

    drawn = sorted(range(len(object_ids)), key=lambda row: uniform(f"gallery:{object_ids[row]}"))
    orders = (drawn, ranked(errors), ranked(-errors), ranked(-uncertainties))
    chosen = [[object_ids[row] for row in rows[: COLUMNS * ROWS]] for rows in orders]
    pictures = read(key for keys in chosen for key in keys)
    return [
        Plot(
            name,
            caption,
            draw_gallery(
                [(key, pictures[key], lines(row)) for row, key in zip(rows, keys, strict=False)],
                legend,
            ),
            vector=False,
        )
        for (name, caption), rows, keys in zip(_CAPTIONS.items(), orders, chosen, strict=True)
    ]


def draw_gallery(
    galaxies: Sequence[tuple[str, bytes | None, Sequence[Line | str]]],
    legend: str,
    columns: int = COLUMNS,
) -> Figure:
    """Draw names, pictures (grey where there is none), and under each lines such as answers."""
    rows, side = max(-(-len(galaxies) // columns), 1), 2.0 * COLUMNS / columns
    figure = Figure(figsize=(2.0 * COLUMNS, side * _CELL * rows + 0.4))
    figure.suptitle(legend, fontsize=9, color=INK, y=1 - 0.1 / figure.get_figheight(), va="top")
    # All in one plane, a cell 1 wide: axes of their own for each picture take ten times as long.
    axes = figure.add_axes((0, 0, 1, 1 - 0.4 / figure.get_figheight()))
    for index, (key, picture, lines) in enumerate(galaxies):
        row, column = divmod(index, columns)
        left, top = column + _MARGIN, row * _CELL
        title = clip(key, int(17 * side))
        axes.text(left + _SIDE / 2, top + 0.05, title, ha="center", fontsize=6, color=FAINT)
        box = (left, left + _SIDE, top + _SIDE + 0.07, top + 0.07)
        axes.imshow([[[0.3] * 3]] if picture is None else read_raster(picture), extent=box)
        for place, line in enumerate(lines):
            _draw_line(axes, left, top + _SIDE + 0.15 + place * _LINE, line)
    axes.set(xlim=(0, columns), ylim=(rows * _CELL, 0), aspect="auto")
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

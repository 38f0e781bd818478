"""Pictures of maps: how many galaxies stand where, in many colours, and what they look like."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galaxymill.decoding.decode import read_raster
from galaxymill.reporting.plots import INK, clip, panels

THUMBNAILS = 20
"""Squares of the grid of thumbnails, across and up."""
_FEWEST_CELLS, _MOST_CELLS, _PER_CELL = 16, 96, 6
_DARK = "#0b0f1a"

Values = npt.NDArray[np.float64]


def draw_density(counts: npt.NDArray[np.int64]) -> Figure:
    """Draw how many galaxies are in each cell, shape (across, up), by brightness."""
    # Few galaxies in many cells are dust: cells are joined until they hold some.
    while len(counts) > 32 and counts.sum() < 4 * (counts > 0).sum():
        across, up = (side // 2 for side in counts.shape)
        counts = counts.reshape(across, 2, up, 2).sum(axis=(1, 3))
    figure, axes = _one()
    shown = np.log1p(counts.T.astype(float))
    image = axes.imshow(shown, origin="lower", extent=(0, 1, 0, 1), cmap="magma")
    ticks = [0, *(10**power for power in range(8) if 10**power <= max(counts.max(), 1))]
    bar = figure.colorbar(image, shrink=0.7, ticks=np.log1p(ticks), label="galaxies in a cell")
    bar.ax.set_yticklabels([f"{tick:,}" for tick in ticks], fontsize=8)
    return figure


def draw_colours(places: Values, values: Mapping[str, Values]) -> Figure:
    """Draw the mean of several values in each cell: a panel each.

    Parameters
    ----------
    places : ndarray, shape (n, 2)
    values : mapping of str to ndarray, shape (n,)
        NaN where not known.
    """
    figure, axes_list = panels(len(values), 4, 3.0, 2.75)
    for axes, (name, value) in zip(axes_list, values.items(), strict=True):
        known = np.isfinite(value)
        side = int(np.clip(np.sqrt(known.sum() / _PER_CELL), _FEWEST_CELLS, _MOST_CELLS))
        cell = np.clip((places[known] * side).astype(int), 0, side - 1) @ (side, 1)
        counts = np.bincount(cell, minlength=side * side).reshape(side, side)
        sums = np.bincount(cell, value[known], side * side).reshape(side, side)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        # A few galaxies far off would leave one colour for all others.
        low, high = np.nanpercentile(means, [2, 98]) if known.any() else (0, 1)
        image = axes.imshow(
            means.T, origin="lower", extent=(0, 1, 0, 1), cmap="viridis", vmin=low, vmax=high
        )
        figure.colorbar(image, ax=axes, shrink=0.75).ax.tick_params(labelsize=6)
        axes.set_title(clip(name.replace("_", " "), 54), fontsize=7, color=INK)
        _no_ticks(axes, "white")
    return figure


def nearest_to_grid(places: Values) -> dict[tuple[int, int], int]:
    """Find the galaxy nearest to the middle of each square: its row by (across, up)."""
    squares = np.clip((places * THUMBNAILS).astype(int), 0, THUMBNAILS - 1)
    far = np.square(places * THUMBNAILS - squares - 0.5).sum(axis=1)
    order = np.argsort(-far, kind="stable")
    # The last that is written to a square is the nearest.
    return {(int(x), int(y)): int(row) for row, (x, y) in zip(order, squares[order], strict=True)}


def draw_thumbnails(pictures: Mapping[tuple[int, int], bytes]) -> Figure:
    """Draw pictures, each in its square of the grid."""
    figure, axes = _one(9.0)
    for (across, up), picture in pictures.items():
        box = (across, across + 1, up, up + 1)
        axes.imshow(read_raster(picture), extent=box, interpolation="antialiased")
    axes.set(xlim=(0, THUMBNAILS), ylim=(0, THUMBNAILS))
    return figure


def _one(side: float = 6.5) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    _no_ticks(axes, _DARK)
    return figure, axes


def _no_ticks(axes: Axes, colour: str) -> None:
    axes.set(xticks=[], yticks=[], facecolor=colour, aspect="equal")
    axes.spines[:].set_visible(False)

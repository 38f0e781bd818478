"""A batch of galaxies that are unlike each other: one drawn from each cell of a space."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EACH = 4
"""Galaxies that a rule proposes for each that is drawn."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """The galaxies drawn, and the chances of all that were proposed, and of others.

    Attributes
    ----------
    rows : list of int
        In order.
    chances : ndarray, shape (n,)
        One over the number of galaxies in the cell of each.
    others : ndarray, shape (m,)
        The same for galaxies that were not proposed, as if they had been.
    """

    rows: list[int]
    chances: Floats
    others: Floats


def spread(features: Floats, others: Floats, draws: Floats, count: int) -> Spread:
    """Draw one galaxy from each of ``count`` cells.

    The cell whose galaxies differ most is cut in two at their mean, along the axis on which they
    do, until there are enough (the divisive clustering of Boley 1998, with axes instead of
    principal components). Crowded corners of a space so have few cells, and each galaxy there a
    small chance.

    Parameters
    ----------
    features : ndarray, shape (n, components)
        n is at least ``count``.
    others : ndarray, shape (m, components)
        Of galaxies that are not to be drawn.
    draws : ndarray, shape (n,)
        In [0, 1): the smallest of a cell is drawn.
    count : int
        Galaxies to draw.
    """
    cells = [_cell(features, np.arange(len(features)), np.arange(len(others)))]
    while len(cells) < count:
        _, _, axis, rows, more = heapq.heappop(cells)
        values, beside = features[rows, axis], others[more, axis]
        middle = values.mean()
        if np.ptp(values) == 0:
            # All alike: any cut is as good.
            heapq.heappush(cells, _cell(features, rows[:1], more[:0]))
            heapq.heappush(cells, _cell(features, rows[1:], more))
            continue
        low, near = values <= middle, beside <= middle
        if low.all():
            low[np.argmax(values)] = False
        heapq.heappush(cells, _cell(features, rows[low], more[near]))
        heapq.heappush(cells, _cell(features, rows[~low], more[~near]))
    chances, theirs, drawn = np.empty(len(features)), np.empty(len(others)), []
    for _, _, _, rows, more in cells:
        chances[rows], theirs[more] = 1 / len(rows), 1 / (len(rows) + 1)
        drawn.append(int(rows[np.argmin(draws[rows])]))
    return Spread(sorted(drawn), chances, theirs)


def _cell(features: Floats, rows: Any, more: Any) -> tuple[Any, ...]:
    """Order of a cell, the most different first; the axis; its galaxies. Equal ones by a row."""
    squares = features[rows].var(axis=0) * len(rows)
    axis = int(np.argmax(squares))
    return (-squares[axis], (-len(rows), int(rows[0])), axis, rows, more)

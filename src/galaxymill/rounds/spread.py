"""A batch of galaxies that are unlike each other: one drawn from each cell of a space."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

EACH = 4
"""Galaxies of a cell, of which one is drawn."""

Rows = npt.NDArray[np.intp]


def spread(
    features: npt.NDArray[np.float32], draws: npt.NDArray[np.float64], count: int
) -> list[int]:
    """Draw one galaxy from each of ``count`` cells; all have the same probability, count / n.

    The cells are those of a k-d tree (Bentley 1975): the galaxies are halved where they differ
    most, and the halves again, until each holds as many.

    Parameters
    ----------
    features : ndarray, shape (n, components)
        n is a multiple of ``count``.
    draws : ndarray, shape (n,)
        In [0, 1): the smallest of a cell is drawn.
    count : int
        Galaxies to draw.

    Returns
    -------
    list of int
        Their rows, in order.
    """
    drawn = (rows[np.argmin(draws[rows])] for rows in _cells(features, count))
    return sorted(int(row) for row in drawn)


def _cells(features: npt.NDArray[np.float32], count: int) -> Iterator[Rows]:
    waiting: list[tuple[Rows, int]] = [(np.arange(len(features)), count)]
    while waiting:
        rows, cells = waiting.pop()
        if cells == 1:
            yield rows
        elif cells > 1:
            axis = np.argmax(features[rows].var(axis=0))
            order = rows[np.argsort(features[rows, axis], kind="stable")]
            half = cells // 2
            cut = len(rows) * half // cells
            waiting += [(order[:cut], half), (order[cut:], cells - half)]

"""Histograms of two columns for a figure, which can be added part by part."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from galaxymill.comparison.catalogue import Values
from galaxymill.comparison.statistics import Edges, with_both

_BIAS_BINS = 10
_STEPS = 2048
"""Bins of A − B, of which quantiles are read: a thousandth of the range each."""
_MIN_GALAXIES = 5
_MIDDLE = (0.16, 0.84)

Counts = npt.NDArray[np.int64]


class Panel(NamedTuple):
    """B against A, and A − B along A.

    Attributes
    ----------
    counts
        Galaxies by A and B, shape (50, 50).
    totals
        Sum of A − B in bins of A, shape (10,).
    differences
        Galaxies by A and A − B, shape (10, 2048).
    """

    counts: Counts
    totals: npt.NDArray[np.float64]
    differences: Counts

    @classmethod
    def of(cls, a: Values, b: Values, edges: Edges) -> "Panel":
        """Count the galaxies of a part; ``edges`` from `ColumnSums`."""
        a, b = with_both(a, b)
        bins = len(edges) - 1
        x, y = (np.clip(np.digitize(side, edges) - 1, 0, bins - 1) for side in (a, b))
        place = x * _BIAS_BINS // bins
        difference = a.astype(np.float64) - b
        reach = edges[-1] - edges[0]
        step = ((difference / reach + 1) / 2 * _STEPS).astype(np.int64)
        both = place * _STEPS + np.clip(step, 0, _STEPS - 1)
        return cls(
            np.bincount(x * bins + y, minlength=bins**2).reshape(bins, bins),
            np.bincount(place, difference, _BIAS_BINS).astype(np.float64),
            np.bincount(both, minlength=_BIAS_BINS * _STEPS).reshape(_BIAS_BINS, _STEPS),
        )

    def plus(self, other: "Panel") -> "Panel":
        """Add the galaxies of another part."""
        return Panel(
            self.counts + other.counts,
            self.totals + other.totals,
            self.differences + other.differences,
        )

    def bias(self, edges: Edges) -> npt.NDArray[np.float64]:
        """Middles of bins of A, and there the mean of A − B and the ends of its middle 68 %.

        Shape (4, bins with at least 5 galaxies).
        """
        wide = np.linspace(edges[0], edges[-1], _BIAS_BINS + 1)
        reach = edges[-1] - edges[0]
        points = []
        for place, counts in enumerate(self.differences):
            below = np.concatenate([[0], np.cumsum(counts)])
            if below[-1] >= _MIN_GALAXIES:
                wanted = np.array(_MIDDLE) * below[-1]
                ends = (np.interp(wanted, below, np.arange(_STEPS + 1)) / _STEPS * 2 - 1) * reach
                middle = (wide[place] + wide[place + 1]) / 2
                points.append((middle, self.totals[place] / below[-1], *ends))
        return np.array(points).reshape(-1, 4).T

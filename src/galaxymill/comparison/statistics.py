"""How well two catalogues agree: column by column, and in the answer to each question.

All is kept as sums, so that catalogues can be read part by part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from galaxymill.comparison.catalogue import Values

MOST_KEYS = 2**15
"""Numbers that `Counts` tells apart at most. Two million different fractions then count as equal
when they are within 2⁻¹¹ of each other, relatively, and rank correlations stay true to 1e-6."""

Integers = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.float64]
Edges = npt.NDArray[np.float64]

_BINS = 50


@dataclass(frozen=True)
class Counts:
    """How often each number occurs; its last bits are left out when there are too many numbers.

    Keys are the bits of float32 in the order of the numbers, ascending, without the last
    ``shift``: how many depends on all numbers, not on the order in which they were added.
    """

    keys: npt.NDArray[np.uint32]
    counts: Integers
    shift: int = 0

    @classmethod
    def of(cls, values: Values) -> "Counts":
        """Count numbers, of which none is NaN."""
        return cls(*np.unique(_in_order(values), return_counts=True))._coarser(0)

    def __add__(self, other: "Counts") -> "Counts":
        shift = max(self.shift, other.shift)
        one, two = self._coarser(shift), other._coarser(shift)
        keys = np.concatenate([one.keys, two.keys])
        order = np.argsort(keys, kind="stable")  # which merges what is sorted
        counts = np.concatenate([one.counts, two.counts])[order]
        return Counts(keys[order], counts, shift)._joined()._coarser(shift)

    def _coarser(self, shift: int) -> "Counts":
        """Leave out bits: up to ``shift``, and as many as bring the keys below their number."""
        found = self
        while found.shift < shift or len(found.keys) > MOST_KEYS:
            found = Counts(found.keys >> np.uint32(1), found.counts, found.shift + 1)._joined()
        return found

    def _joined(self) -> "Counts":
        """Add up the counts of equal keys."""
        starts = np.flatnonzero(np.diff(self.keys, prepend=~self.keys[:1]))
        return Counts(self.keys[starts], np.add.reduceat(self.counts, starts), self.shift)

    @property
    def ranks(self) -> Ranks:
        """Mean rank of each key, minus the mean of all ranks."""
        ranks: Ranks = np.cumsum(self.counts) - self.counts / 2 - self.counts.sum() / 2
        return ranks

    def ranks_of(self, values: Values) -> Ranks:
        """Mean rank of each number, all of which were counted, minus the mean of all."""
        return self.ranks[np.searchsorted(self.keys, _in_order(values) >> np.uint32(self.shift))]


def _in_order(values: Values) -> npt.NDArray[np.uint32]:
    """Bits of numbers, as whole numbers in the same order."""
    bits = (values + np.float32(0)).view(np.uint32)  # there is one zero
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


class ColumnSums(NamedTuple):
    """Sums over two columns of the same galaxies, NaN where there is none.

    Attributes
    ----------
    total, squares
        Sums of A − B and of its squares.
    largest
        Largest absolute value of A − B.
    low, high
        Ends of the range of both.
    counts_a, counts_b
        Of galaxies with both values.
    """

    null_only_a: int
    null_only_b: int
    total: float
    squares: float
    largest: float
    low: float
    high: float
    counts_a: Counts
    counts_b: Counts

    @classmethod
    def of(cls, a: Values, b: Values) -> "ColumnSums":
        """Add up the galaxies of a part."""
        null_a, null_b = np.isnan(a), np.isnan(b)
        a, b = with_both(a, b)
        difference = a.astype(np.float64) - b
        return cls(
            int((null_a & ~null_b).sum()),
            int((null_b & ~null_a).sum()),
            float(difference.sum()),
            float(np.square(difference).sum()),
            float(np.abs(difference).max(initial=0)),
            float(min(a.min(initial=np.inf), b.min(initial=np.inf))),
            float(max(a.max(initial=-np.inf), b.max(initial=-np.inf))),
            Counts.of(a),
            Counts.of(b),
        )

    def plus(self, other: "ColumnSums") -> "ColumnSums":
        """Add the galaxies of another part."""
        return ColumnSums(
            self.null_only_a + other.null_only_a,
            self.null_only_b + other.null_only_b,
            self.total + other.total,
            self.squares + other.squares,
            max(self.largest, other.largest),
            min(self.low, other.low),
            max(self.high, other.high),
            self.counts_a + other.counts_a,
            self.counts_b + other.counts_b,
        )

    @property
    def edges(self) -> Edges:
        """Edges of bins to draw: 0 to 1 for fractions, else the range of both."""
        low, high = 0.0, 1.0
        if self.low < low or high < self.high < np.inf:
            low, high = self.low, self.high
            high = max(high, low + abs(low) / 1000)  # a constant has a width too
        return np.linspace(low, high, _BINS + 1)

    def rank_product(self, a: Values, b: Values) -> float:
        """Sum of the products of ranks, over galaxies of a part."""
        a, b = with_both(a, b)
        return float(self.counts_a.ranks_of(a) @ self.counts_b.ranks_of(b))

    def scores(self, rank_product: float) -> dict[str, Any]:
        """Compare the columns; ``rank_product`` is that of all galaxies.

        Returns
        -------
        dict
            ``n``, galaxies with both; ``null_only_a`` and ``null_only_b``, galaxies with one of
            them alone; of A − B the mean ``bias``, the root mean square ``rmse`` and the largest
            absolute value ``max_difference``; ``spearman``, the rank correlation: Pearson's of
            mean ranks. None where no galaxy, or for ranks where a column is constant.
        """
        n = int(self.counts_a.counts.sum())
        scores: dict[str, Any] = {
            "n": n,
            "null_only_a": self.null_only_a,
            "null_only_b": self.null_only_b,
            **dict.fromkeys(("bias", "rmse", "max_difference", "spearman")),
        }
        if n:
            scores["bias"] = self.total / n
            scores["rmse"] = float(np.sqrt(self.squares / n))
            scores["max_difference"] = self.largest
            spread = [side.counts @ side.ranks**2 for side in (self.counts_a, self.counts_b)]
            if min(spread) > 0:
                scores["spearman"] = float(rank_product / np.sqrt(spread[0] * spread[1]))
        return scores


def with_both(a: Values, b: Values) -> tuple[Values, Values]:
    """Select the values of galaxies that have both."""
    both = ~(np.isnan(a) | np.isnan(b))
    return a[both], b[both]


def count_answers(a: Sequence[Values], b: Sequence[Values]) -> Integers:
    """Count the most likely answers to one question: in A (row) and in B (column).

    Parameters
    ----------
    a, b : sequence of ndarray, shape (n,)
        Fractions of each answer, in the same order; NaN where there is none.

    Returns
    -------
    ndarray, shape (answers, answers)
        Of galaxies that have every answer in both, not 0 throughout, as where nobody was asked;
        the most likely answer is the first of the largest fraction.
    """
    # The maximum is NaN where any of them is.
    both = np.logical_and(*(np.max(side, axis=0) > 0 for side in (a, b)))
    top_a, top_b = (np.stack([values[both] for values in side]).argmax(axis=0) for side in (a, b))
    count = len(a)
    return np.bincount(top_a * count + top_b, minlength=count**2).reshape(count, count)


def question_scores(counts: Integers) -> dict[str, Any]:
    """Compare the most likely answers to one question, from `count_answers`.

    Returns
    -------
    dict
        ``n``, galaxies; ``agreement``, the share of them whose answer is the same; ``kappa``,
        Cohen's (1960), which takes off what chance would agree on. None where no galaxy, fewer
        than two answers, or for kappa where both have the same answer throughout.
    """
    n = int(counts.sum())
    scores: dict[str, Any] = {"n": n, "agreement": None, "kappa": None}
    if len(counts) < 2 or not n:
        return scores
    agreement = float(np.trace(counts) / n)
    chance = float(counts.sum(axis=0) @ counts.sum(axis=1) / n**2)
    scores["agreement"] = agreement
    if chance < 1:
        scores["kappa"] = (agreement - chance) / (1 - chance)
    return scores

"""Sums over all pairs of galaxies for one question, part by part, in two rounds.

The first finds what the second needs: the rank of each value among all, and the ranges.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from galaxymill.comparison.catalogue import Catalogue, Values
from galaxymill.comparison.match import Match, Pairs
from galaxymill.comparison.pairs import Question
from galaxymill.comparison.panel import Panel
from galaxymill.comparison.statistics import ColumnSums, Integers, count_answers
from galaxymill.comparison.workers import Workers
from galaxymill.progress import Advance

if TYPE_CHECKING:
    from dask.delayed import Delayed

Sides = tuple[list[Values], list[Values]]


class QuestionSums(NamedTuple):
    """Sums and panels of each pair of columns (no panels when nothing is drawn), and answers."""

    columns: list[ColumnSums]
    rank_products: npt.NDArray[np.float64]
    panels: list[Panel]
    answers: Integers


def sum_question(
    a: Catalogue,
    b: Catalogue,
    match: Match,
    question: Question,
    workers: Workers,
    draw: bool,
    advance: Advance,
) -> QuestionSums:
    """Add up the parts of a question; ``advance`` is called twice a part.

    Raises
    ------
    UserError
        When a column does not serve, see `galaxymill.comparison.catalogue.Catalogue.numbers`.
    """
    from dask import delayed

    def add_up(tasks: "Sequence[Delayed]") -> tuple[list[Any], Any]:
        def each() -> Iterator[tuple[list[Any], Any]]:
            for _, part in workers.results(tasks):
                yield part
                advance()

        return reduce(_plus, each())

    sides = workers.keep(_pair_values(a, b, match, question))
    columns, answers = add_up([delayed(_first)(side) for side in sides])
    (totals,) = workers.keep([delayed(columns, traverse=False)])
    panels, products = add_up([delayed(_second)(side, totals, draw) for side in sides])
    return QuestionSums(columns, products, panels, answers)


def _plus(one: tuple[list[Any], Any], other: tuple[list[Any], Any]) -> tuple[list[Any], Any]:
    return [x.plus(y) for x, y in zip(one[0], other[0], strict=True)], one[1] + other[1]


def _pair_values(a: Catalogue, b: Catalogue, match: Match, question: Question) -> "list[Delayed]":
    """Read the columns of a question, for each part of B that has pairs."""
    from dask import delayed

    names = [[getattr(pair, side) for pair in question.pairs] for side in "ab"]
    # Columns that are about no question may hold any numbers.
    all_a, all_b = (
        catalogue.numbers(own, fractions=bool(question.name))
        for catalogue, own in zip((a, b), names, strict=True)
    )
    return [
        delayed(_take)({part: all_a[part] for part in others}, all_b[own], pairs, *names)
        for own, others, pairs in match.pairs
    ]


def _take(
    values_a: Mapping[int, Mapping[str, Values]],
    values_b: Mapping[str, Values],
    pairs: Pairs,
    names_a: Sequence[str],
    names_b: Sequence[str],
) -> Sides:
    rows_a = [(values_a[part], own) for part, (own, _) in pairs.rows.items()]
    rows_b = np.concatenate([own for _, own in pairs.rows.values()])
    return (
        [np.concatenate([values[name][own] for values, own in rows_a]) for name in names_a],
        [values_b[name][rows_b] for name in names_b],
    )


def _first(sides: Sides) -> tuple[list[ColumnSums], Integers]:
    return [ColumnSums.of(*pair) for pair in zip(*sides, strict=True)], count_answers(*sides)


def _second(
    sides: Sides, totals: Sequence[ColumnSums], draw: bool
) -> tuple[list[Panel], npt.NDArray[np.float64]]:
    each = list(zip(totals, *sides, strict=True))
    panels = [Panel.of(one, two, sums.edges) for sums, one, two in each] if draw else []
    return panels, np.array([sums.rank_product(one, two) for sums, one, two in each])

"""Format ``fractions``: fractions of votes, with the number of votes on each question."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from galaxymill.labels.counts import renamed
from galaxymill.labels.rows import (
    MAX_VOTES,
    Floats,
    FormatSettings,
    Rows,
    read_galaxies,
    refuse_numbers,
)
from galaxymill.settings import Pairs
from galaxymill.tables import as_numbers
from galaxymill.tasks.checks import Dropped
from galaxymill.trees.tree import Tree

SUM_TOLERANCE = 0.02
ROUNDING = 0.005


class FractionSettings(FormatSettings):
    """Columns {question}_{answer}_fraction, and {question}_total-votes."""

    columns: Pairs = Field(
        {}, description="the table's column of an answer or of a question's total, where others"
    )


def read_fraction_tables(
    paths: Sequence[Path], settings: FractionSettings, tree: Tree
) -> list[Rows]:
    """Read fractions and totals, and give the counts that they came from."""
    plain = {column: f"{column}_fraction" for column in tree.columns}
    plain |= {question.name: f"{question.name}_total-votes" for question in tree.questions}
    names = renamed(plain, settings.columns, tree)
    return [_read(path, settings, tree, names) for path in paths]


def to_counts(fractions: Floats, totals: Floats) -> Floats:
    """Find the whole numbers of votes of fractions (n, n_answers), by largest remainders.

    They add up to the question's totals (n,) where the fractions add up to 1 but for ``ROUNDING``,
    else to the rounded sum of ``fractions × totals``. Those with the largest remainders are rounded
    up, the first ones where these are equal (Hamilton's method).
    """
    share = fractions.sum(axis=1)
    exact = fractions * (totals / np.maximum(share, 1))[:, None]
    # A fraction such as 0.29 × 100 = 28.999999999999996 is a whole number.
    whole = np.floor(exact + 1e-9 * (1 + exact))
    wanted = np.where(share > 1 - ROUNDING, totals, np.rint(exact.sum(axis=1)))
    missing = wanted - whole.sum(axis=1)
    order = np.argsort(-np.round(exact - whole, 9), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    counts: Floats = whole + (rank < missing[:, None])
    return counts


def _read(path: Path, settings: FractionSettings, tree: Tree, names: dict[str, str]) -> Rows:
    table, keys, positions = read_galaxies(path, settings, names.values())
    ids: list[str] = keys.to_pylist()
    values = np.zeros((table.num_rows, len(tree.columns)))
    dropped: list[Dropped] = []
    for question in tree.questions:
        totals = _totals(path, table, names[question.name])
        columns = [names[column] for column in question.columns]
        fractions = np.column_stack([_numbers(path, table, column, 1) for column in columns])
        bad = _unfit(fractions, totals)
        dropped += [
            Dropped(ids[row], question.name, float(totals[row]), None, None, str(bad[row]))
            for row in np.flatnonzero(bad != "").tolist()
        ]
        fit = np.where((bad != "")[:, None] | (totals == 0)[:, None], 0.0, fractions)
        values[:, question.slice] = to_counts(fit, totals)
    return Rows(str(path), ids, values, positions, tuple(dropped))


def _unfit(fractions: Floats, totals: Floats) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Reason why the fractions of each galaxy cannot be; empty where they can."""
    asked = totals > 0
    absent = asked & np.isnan(fractions).any(axis=1)
    beyond = asked & (np.nansum(fractions, axis=1) > 1 + SUM_TOLERANCE)
    reasons = np.full(len(totals), "", dtype="U40")
    reasons[beyond] = "its fractions add up to more than 1"
    reasons[absent] = "a fraction is absent"
    return reasons


def _totals(path: Path, table: pa.Table, column: str) -> Floats:
    """Votes on a question; those who were not asked have none, or nothing in the column."""
    totals = _numbers(path, table, column, MAX_VOTES)
    totals[np.isnan(totals)] = 0
    fractional = totals != np.floor(totals)
    refuse_numbers(path, column, totals, fractional, "a number of votes is whole")
    return totals


def _numbers(path: Path, table: pa.Table, column: str, most: float) -> Floats:
    numbers: Floats = np.array(as_numbers(path, table[column], column).to_numpy(), dtype=np.float64)
    bad = (numbers < 0) | (numbers > most)
    refuse_numbers(path, column, numbers, bad, f"allowed: 0 to {most:g}")
    return numbers

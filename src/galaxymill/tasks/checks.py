"""Checks of labels: a question with more votes than its parent answers is left out and reported."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.settings import Settings
from galaxymill.storage.atomic import atomic_file
from galaxymill.trees.tree import Tree

Floats = npt.NDArray[np.float64]

TOO_MANY = "more votes than the answers that lead to it"
NOT_RETIRED = "not retired"
NO_LABEL = "no label"

_WAYS_OUT = {
    TOO_MANY: "is it the tree that was asked? checks: {parents: false} keeps them",
    NOT_RETIRED: "retired: false keeps them",
    NO_LABEL: "fill the column, or take these galaxies out",
}


class CheckSettings(Settings):
    """How many votes more than the answers that lead to it a question may have."""

    parents: bool = Field(
        True,
        description="whether a question's votes are compared with those of the answers that lead "
        "to it; never done for a tree that says simplified",
    )
    absolute: float = Field(2.0, ge=0, description="extra votes that are always tolerated, or")
    relative: float = Field(
        0.05, ge=0, description="this share of the parents' votes, if that is more"
    )
    lost: float = Field(
        0.5, ge=0, le=1, description="share of all votes that may be left out; more is an error"
    )


@dataclass(frozen=True)
class Dropped:
    """Votes that were left out; an empty ``question``: the whole galaxy.

    ``parents_votes`` are those on the answers that lead to the question; up to ``allowed`` votes
    would have been kept.
    """

    object_id: str
    question: str
    votes: float
    parents_votes: float | None
    allowed: float | None
    reason: str


def void_excess(
    object_ids: Sequence[str], counts: Floats, tree: Tree, settings: CheckSettings
) -> tuple[Floats, list[Dropped]]:
    """Set to 0 the questions that have more votes than their parents allow.

    A question that always is asked passes. Each question is compared with its parents' counts
    as given, so that one that is voided voids no other.

    Parameters
    ----------
    object_ids : sequence of str, length n
    counts : ndarray, shape (n, n_answers)
    tree : Tree
    settings : CheckSettings
        The tolerance, ``max(absolute, relative × parents' votes)``.

    Returns
    -------
    kept : ndarray, shape (n, n_answers)
    dropped : list of Dropped
        Question by question, in the order of the galaxies.
    """
    kept = counts.copy()
    dropped: list[Dropped] = []
    if tree.simplified or not settings.parents:
        return kept, dropped
    for question in tree.questions:
        if not question.asked_after:
            continue
        votes = counts[:, question.slice].sum(axis=1)
        parents = counts[:, list(tree.parents(question))].sum(axis=1)
        allowed = parents + np.maximum(settings.absolute, settings.relative * parents)
        for row in np.flatnonzero(votes > allowed).tolist():
            kept[row, question.slice] = 0
            numbers = (float(votes[row]), float(parents[row]), float(allowed[row]))
            dropped.append(Dropped(object_ids[row], question.name, *numbers, TOO_MANY))
    return kept, dropped


def write_dropped(path: Path, dropped: Sequence[Dropped]) -> None:
    """Write the report as CSV, sorted by galaxy; only its header when nothing was dropped."""
    rows = sorted(dropped, key=lambda row: (row.object_id, row.question, row.reason))
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Dropped)])
        for row in rows:
            writer.writerow(["" if value is None else _spell(value) for value in astuple(row)])


def check_loss(
    dropped: Sequence[Dropped], kept: float, settings: CheckSettings, place: str, counted: str
) -> None:
    """Refuse labels of which too many were left out, with the commonest reason and its way out.

    ``place`` are the files; ``counted`` is what ``dropped`` and ``kept`` count: votes, or galaxies.
    """
    lost: Counter[str] = Counter()
    for row in dropped:
        lost[row.reason] += int(row.votes)
    every = kept + lost.total()
    if lost.total() > settings.lost * every:
        reason, most = lost.most_common(1)[0]
        raise UserError(
            f"{place}: {lost.total()} of {every:.0f} {counted} are left out, {most} "
            f"of them for: {reason}; {_WAYS_OUT.get(reason, 'look at these')}; or allow a larger "
            f"share than {settings.lost:g} by checks: {{lost: …}}"
        )


def reasons(dropped: Sequence[Dropped]) -> dict[str, int]:
    """Count what was dropped by reason."""
    return dict(sorted(Counter(row.reason for row in dropped).items()))


def _spell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"

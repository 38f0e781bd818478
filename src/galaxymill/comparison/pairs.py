"""Pair the columns of two catalogues, and the pairs by question."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxymill.comparison.catalogue import Catalogue
from galaxymill.comparison.layouts import Label
from galaxymill.errors import UserError, unknown_name
from galaxymill.yaml_file import read_yaml


@dataclass(frozen=True)
class Pair:
    """A column of A and one of B, and which answer both are about (None: about none)."""

    a: str
    b: str
    label: Label | None

    def to_row(self) -> dict[str, Any]:
        """Plain form, for tables."""
        label = self.label._asdict() if self.label else {"question": None, "answer": None}
        return {"column_a": self.a, "column_b": self.b, **label}


@dataclass(frozen=True)
class Question:
    """The pairs about one question, and its answers in A and in B that have no counterpart.

    The name is empty for columns that are about no question.
    """

    name: str
    pairs: tuple[Pair, ...]
    unpaired_a: tuple[str, ...] = ()
    unpaired_b: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name to show."""
        return self.name or "other columns"

    @property
    def slug(self) -> str:
        """Name that is fit for a file."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.title)[:80]

    def to_row(self) -> dict[str, Any]:
        """Plain form, for tables."""
        return {
            "question": self.name,
            "answers": len(self.pairs),
            "unpaired_a": " ".join(self.unpaired_a),
            "unpaired_b": " ".join(self.unpaired_b),
        }


def read_map(path: Path, a: Catalogue, b: Catalogue) -> dict[str, str]:
    """Read pairs of columns whose names differ: YAML, a line a pair, ``column of A: column of B``.

    Raises
    ------
    UserError
        When it is no such file, a column is not there, or one of B is given twice.
    """
    plain = read_yaml(path, "a map of columns (lines 'column of A: column of B')")
    for pair in plain.items():
        for side, catalogue, name in zip("AB", (a, b), pair, strict=True):
            if not isinstance(name, str):
                raise UserError(
                    f"{path}: a column of {side} is of type {type(name).__name__}; allowed: one "
                    "name a line, in quotes where it looks like a number or a word such as yes"
                )
            if name not in catalogue.columns:
                where = f"{path}: {catalogue.path}"
                raise unknown_name(where, name, catalogue.columns, f"column of {side}")
    twice = sorted({name for name in plain.values() if [*plain.values()].count(name) > 1})
    if twice:
        raise UserError(f"{path}: column of B given twice: {', '.join(twice)}; keep one of them")
    return plain


def pair_columns(a: Catalogue, b: Catalogue, mapped: Mapping[str, str]) -> list[Pair]:
    """Pair what is mapped, and else the vote fractions that both call the same, in A's order.

    Raises
    ------
    UserError
        When there is none.
    """
    taken = {*mapped, *mapped.values()}
    same = {
        name: name
        for name in a.columns
        if name in b.columns and _is_fraction(name, a, b) and name not in taken
    }
    partner = {**same, **mapped}
    pairs = [
        Pair(name, partner[name], a.layout.label(name) or b.layout.label(partner[name]))
        for name in a.columns
        if name in partner
    ]
    if not pairs:
        raise UserError(
            f"{a.path} and {b.path}: no vote fraction has the same name in both; A has "
            f"{_fractions(a)}; B has {_fractions(b)}; pair columns with --map columns.yaml"
        )
    return pairs


def _is_fraction(name: str, a: Catalogue, b: Catalogue) -> bool:
    return a.layout.is_fraction(name) or b.layout.is_fraction(name)


def _fractions(catalogue: Catalogue) -> str:
    names = [name for name in catalogue.columns if catalogue.layout.is_fraction(name)]
    more = ", …" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more if names else "none (…_fraction)"


def by_question(pairs: Sequence[Pair], a: Catalogue, b: Catalogue) -> list[Question]:
    """Put pairs together by question, in the order of their first."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.label.question if pair.label else "", []).append(pair)
    return [
        Question(
            name,
            tuple(group),
            _unpaired(a, [pair.a for pair in group]) if name else (),
            _unpaired(b, [pair.b for pair in group]) if name else (),
        )
        for name, group in groups.items()
    ]


def _unpaired(catalogue: Catalogue, paired: Sequence[str]) -> tuple[str, ...]:
    """Answers of the same questions as the paired columns, other than theirs."""
    own = {label for name in paired if (label := catalogue.layout.label(name))}
    questions, answers = {label.question for label in own}, {label.answer for label in own}
    every = (catalogue.layout.label(name) for name in catalogue.columns)
    others = [label.answer for label in every if label and label.question in questions]
    return tuple(dict.fromkeys(answer for answer in others if answer not in answers))

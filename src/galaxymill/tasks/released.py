"""What a release shows of a task: groups of columns, panels of pictures, texts of the README."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ColumnGroup:
    """Columns of one kind.

    Attributes
    ----------
    ucd : str
        What the values are, in the IVOA's words (UCD1+).
    range : tuple of float or None
        Lowest and highest value there can be; None for no bound.
    friendly : bool
        Whether the friendly table has them too.
    """

    name: str
    meaning: str
    ucd: str
    range: tuple[float | None, float | None] = (None, None)
    friendly: bool = False


@dataclass(frozen=True)
class Answer:
    """A column of values; the surest examples have the highest (``lowest``) ``certainty``."""

    column: str
    name: str
    certainty: str
    lowest: bool = False


@dataclass(frozen=True)
class Panel:
    """Values that are shown together.

    Where few volunteers would be ``asked`` (a column), the friendly table and the pictures leave
    the answers out; empty: everybody is asked. ``adds_up``: they are shares that add up to 1.
    """

    title: str
    answers: tuple[Answer, ...]
    asked: str = ""
    adds_up: bool = True


@dataclass(frozen=True)
class ReleaseText:
    """What the README of a release says of a task.

    Attributes
    ----------
    summary : str
        What is predicted, the end of a sentence.
    model : mapping of str to str
        Lines of the list that describes the model.
    limits : tuple of str
        What users must know: Markdown, a paragraph each.
    figures : callable
        Gives a paragraph and a table from ``metrics.json``; empty when they hold nothing.
    """

    summary: str
    model: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    figures: Callable[[Mapping[str, Any]], str] = lambda _: ""


UNCERTAINTY = ColumnGroup(
    "uncertainty",
    "entropy of one answer; mutual information of answers and model (BALD)",
    "stat.param",
)

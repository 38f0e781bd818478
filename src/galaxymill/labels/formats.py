"""Formats of labels by name. A new format is a settings class, a reader and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from galaxymill.labels import answer_table, counts, fractions, panoptes, simple
from galaxymill.labels.rows import FormatSettings, Rows
from galaxymill.tasks.task import Task

S = TypeVar("S", bound=FormatSettings)


@dataclass(frozen=True)
class Format(Generic[S]):
    """A registered format; of its readers one is None, as files are of votes on a tree or not.

    They take paths, settings and, of votes, the tree. Those of ``individuals``, whose files say
    who answered what, also take the `IndividualAnswers` to which they add each answer.
    """

    settings: type[S]
    votes: Callable[..., list[Rows]] | None = None
    labels: Callable[..., tuple[Task, list[Rows]]] | None = None
    individuals: bool = False


FORMATS: dict[str, Format[Any]] = {
    "answers": Format(
        answer_table.AnswerSettings, votes=answer_table.read_answers, individuals=True
    ),
    "class_answers": Format(
        answer_table.ClassAnswerSettings, labels=answer_table.read_class_answers, individuals=True
    ),
    "classes": Format(simple.ClassSettings, labels=simple.read_classes),
    "counts": Format(counts.CountSettings, votes=counts.read_count_tables),
    "fractions": Format(fractions.FractionSettings, votes=fractions.read_fraction_tables),
    "gz2": Format(counts.Gz2Settings, votes=counts.read_gz2),
    "gz_decals": Format(counts.GzDecalsSettings, votes=counts.read_gz_decals),
    "number": Format(simple.NumberSettings, labels=simple.read_numbers),
    "panoptes": Format(panoptes.PanoptesSettings, votes=panoptes.read_panoptes, individuals=True),
}

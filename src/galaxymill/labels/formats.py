"""Formats of labels by name. A new format is a settings class, a reader and one line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from galaxymill.labels import counts, fractions, panoptes, simple
from galaxymill.labels.rows import FormatSettings, Rows
from galaxymill.tasks import NumberTask
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import Tree

S = TypeVar("S", bound=FormatSettings)


@dataclass(frozen=True)
class Format(Generic[S]):
    """A registered format.

    Attributes
    ----------
    settings : type
        Its settings; a key of the config that it does not know is refused.
    votes : callable or None
        Reads files of votes on a tree: ``(paths, settings, tree) -> rows of each file``.
    labels : callable or None
        Reads files of simple labels: ``(paths, settings) -> task, rows of each file``.
    known_task : callable or None
        Gives the task of simple labels as far as settings tell it, else None.
    """

    settings: type[S]
    votes: Callable[[Sequence[Path], S, Tree], list[Rows]] | None = None
    labels: Callable[[Sequence[Path], S], tuple[Task, list[Rows]]] | None = None
    known_task: Callable[[S], Task | None] | None = None


FORMATS: dict[str, Format[Any]] = {
    "classes": Format(
        simple.ClassSettings, labels=simple.read_classes, known_task=simple.known_classes
    ),
    "counts": Format(counts.CountSettings, votes=counts.read_count_tables),
    "fractions": Format(fractions.FractionSettings, votes=fractions.read_fraction_tables),
    "gz2": Format(counts.Gz2Settings, votes=counts.read_gz2),
    "gz_decals": Format(counts.GzDecalsSettings, votes=counts.read_gz_decals),
    "number": Format(
        simple.NumberSettings,
        labels=simple.read_numbers,
        known_task=lambda settings: NumberTask(settings.column),
    ),
    "panoptes": Format(panoptes.PanoptesSettings, votes=panoptes.read_panoptes),
}

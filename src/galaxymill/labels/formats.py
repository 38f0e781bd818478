"""Formats of labels by name. A new format is a settings class, a reader and one line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from galaxymill.labels import counts, fractions, panoptes, simple
from galaxymill.labels.rows import FormatSettings, Rows
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import Tree

S = TypeVar("S", bound=FormatSettings)


@dataclass(frozen=True)
class Format(Generic[S]):
    """A registered format; of its readers one is None, as files are of votes on a tree or not."""

    settings: type[S]
    votes: Callable[[Sequence[Path], S, Tree], list[Rows]] | None = None
    labels: Callable[[Sequence[Path], S], tuple[Task, list[Rows]]] | None = None


FORMATS: dict[str, Format[Any]] = {
    "classes": Format(simple.ClassSettings, labels=simple.read_classes),
    "counts": Format(counts.CountSettings, votes=counts.read_count_tables),
    "fractions": Format(fractions.FractionSettings, votes=fractions.read_fraction_tables),
    "gz2": Format(counts.Gz2Settings, votes=counts.read_gz2),
    "gz_decals": Format(counts.GzDecalsSettings, votes=counts.read_gz_decals),
    "number": Format(simple.NumberSettings, labels=simple.read_numbers),
    "panoptes": Format(panoptes.PanoptesSettings, votes=panoptes.read_panoptes),
}

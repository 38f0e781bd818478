"""The parts of a report, for any task: sections of text, tables and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from galaxymill.reporting.tables import Row, spell

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows of numbers: all of them in a CSV file, some on the page.

    Attributes
    ----------
    name : str
        The file is ``{name}.csv``.
    caption : str
    rows : sequence of mapping
        Their keys are the columns of the file.
    columns : mapping of str to str
        Columns of the page: title, and what stands in a row's cell, see
        `galaxymill.reporting.tables.spell`.
    names : mapping of str to str
        What values that are texts are called on the page.
    bold : str
        First value of the row that stands out, such as the one that sums up the others.
    shown : str
        ``open``, ``folded`` (long ones), or ``file`` for those that stand in the file alone.
    """

    name: str
    caption: str
    rows: Sequence[Row]
    columns: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    bold: str = ""
    shown: str = "open"

    @property
    def cells(self) -> list[tuple[bool, list[str]]]:
        """Whether each row stands out, and its cells on the page."""
        return [
            (
                next(iter(row.values())) == self.bold,
                [spell(cell, row, self.names) for cell in self.columns.values()],
            )
            for row in self.rows
        ]


@dataclass(frozen=True)
class Plot:
    """A figure: ``{name}.png``, and ``{name}.svg`` unless it is made of pictures."""

    name: str
    caption: str
    figure: "Figure"
    vector: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, then tables, then plots."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class Report:
    """A whole evaluation.

    Attributes
    ----------
    title, headline : str
    sections : sequence of Section
    metrics : mapping
        What ``metrics.json`` holds: plain values.
    footer : str
    """

    title: str
    headline: str
    sections: Sequence[Section]
    metrics: Mapping[str, Any]
    footer: str

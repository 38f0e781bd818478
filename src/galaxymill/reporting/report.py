"""A report of sections, tables and plots, for any task; written as files and one web page."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxymill.reporting.tables import Row, spell, write_csv
from galaxymill.reporting.templates import read_templates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows of numbers: all of them in a CSV file, some on the page.

    Attributes
    ----------
    name : str
        The file is ``{name}.csv``.
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

    def save(self, folder: Path) -> None:
        """Write its files, which depend on the figure alone: no date, name or version."""
        png, svg = {"Software": None}, {"Date": None, "Creator": None}
        file = str(folder / self.name)
        # Pictures of galaxies compress badly, and the page holds them all.
        dpi = 130 if self.vector else 100
        self.figure.savefig(f"{file}.png", dpi=dpi, facecolor="white", metadata=png)
        if self.vector:
            # Where everything stands is known now; finding it out again takes as long as drawing.
            self.figure.set_layout_engine("none")
            self.figure.savefig(f"{file}.svg", dpi=200, facecolor="white", metadata=svg)


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, then tables, then plots."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class Report:
    """A whole evaluation; ``metrics`` are the plain values of ``metrics.json``."""

    title: str
    headline: str
    sections: Sequence[Section]
    metrics: Mapping[str, Any]
    footer: str

    def write(self, folder: Path, name: str) -> None:
        """Write the metrics under ``name``, the tables, the plots and ``report.html``."""
        text = json.dumps(self.metrics, indent=1, allow_nan=False, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
        for section in self.sections:
            for table in section.tables:
                write_csv(folder / f"{table.name}.csv", table.rows)
            for plot in section.plots:
                plot.save(folder)
        # Names are the users': whatever stands in them is text, no markup.
        pages = read_templates("galaxymill.reporting", autoescape=True)
        page = pages.get_template("page.html").render(
            report=self,
            image=lambda plot: b64encode((folder / f"{plot.name}.png").read_bytes()).decode(),
        )
        (folder / "report.html").write_text(page, encoding="utf-8")

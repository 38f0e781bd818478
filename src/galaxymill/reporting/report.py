"""What an evaluation consists of, whatever the model predicts: sections of text, tables, plots."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of numbers: all of them in a CSV file, some on the page.

    Attributes
    ----------
    name : str
        The file is ``{name}.csv``.
    caption : str
    rows : sequence of mapping
        Every row has the same keys: the columns of the file.
    columns : mapping of str to callable
        Columns of the page: title, and what stands in a row's cell.
    whole : callable
        Tells which rows sum up others.
    shown : str
        ``open``, ``folded`` (long ones), or ``file`` for those that stand in the file alone.
    """

    name: str
    caption: str
    rows: Sequence[Row]
    columns: Mapping[str, Callable[[Row], str]] = field(default_factory=dict)
    whole: Callable[[Row], bool] = lambda _: False
    shown: str = "open"


@dataclass(frozen=True)
class Plot:
    """A figure: ``{name}.png``, and ``{name}.svg`` unless it is made of pictures."""

    name: str
    caption: str
    figure: Figure
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


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows; None is an empty cell, and no row an empty file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def text(key: str) -> Callable[[Row], str]:
    """Show a value as it is."""
    return lambda row: "–" if row[key] is None else str(row[key])


def decimal(key: str, spec: str = ".3f") -> Callable[[Row], str]:
    """Show a number by a format specification."""
    return lambda row: show(row[key], spec)


def percent(key: str) -> Callable[[Row], str]:
    """Show a share in per cent."""
    return lambda row: show_percent(row[key])


def bounds(key: str, spec: str = ".3f") -> Callable[[Row], str]:
    """Show the interval whose ends stand under ``{key}_low`` and ``{key}_high``."""
    return lambda row: show_interval(
        None if row[f"{key}_low"] is None else [row[f"{key}_low"], row[f"{key}_high"]], spec
    )


def ends(key: str, interval: Sequence[float] | None) -> dict[str, float | None]:
    """Put an interval into two columns of a row."""
    low, high = interval if interval is not None else (None, None)
    return {f"{key}_low": low, f"{key}_high": high}


def show(value: float | None, spec: str = ".3f") -> str:
    """Spell a number; a dash for none."""
    return "–" if value is None else f"{value:{spec}}".replace("-", "−")


def show_percent(value: float | None) -> str:
    """Spell a share in per cent; a dash for none."""
    return "–" if value is None else f"{100 * value:.1f} %"


def show_interval(interval: Sequence[float] | None, spec: str = ".3f") -> str:
    """Spell an interval by its ends; a dash for none."""
    return "–" if interval is None else " to ".join(show(end, spec) for end in interval)


def relative(value: float, reference: float | None) -> str:
    """Say how far below or above a reference a value is."""
    if not reference:
        return "not comparable with"
    change = round(100 * (1 - value / reference))
    if change == 0:
        return "level with"
    return f"{abs(change)} % {'below' if change > 0 else 'above'}"

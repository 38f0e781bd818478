"""Tables as text, Markdown and CSV, and the formatting of their values."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

Row = Mapping[str, Any]

_NUMBER = set("0123456789,.+−–-e%() ")


class _Spelling(Formatter):
    """As `str.format`, but a dash for None, a true minus sign, and a space before per cent."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return "–"
        text = format(value, format_spec)
        return text.replace("-", "−").replace("%", " %") if format_spec else text


def spell(template: str, row: Row, names: Mapping[str, str] | None = None) -> str:
    """Put the values of a row into a text.

    Parameters
    ----------
    template : str
        As for `str.format`: ``"{rmse:.3f}"``, ``"{rmse_low:.3f} to {rmse_high:.3f}"``.
    row : mapping
        A value that is None, or that is not there, is a dash; so is an interval of two such.
    names : mapping of str to str, optional
        What texts are called instead.
    """
    keys = [key for _, key, _, _ in Formatter().parse(template) if key]
    values = {key: row.get(key) for key in keys}
    values = {key: (names or {}).get(str(value), value) for key, value in values.items()}
    return _Spelling().vformat(template, (), values).replace("– to –", "–")


def flatten(scores: Mapping[str, Any], *leave_out: str, prefix: str = "") -> dict[str, Any]:
    """Put nested scores into one row, but for some keys.

    ``{"coverage": {"90": {"value": …, "interval": …}}}`` becomes ``coverage_90``,
    ``coverage_90_low`` and ``coverage_90_high``; the word ``baselines`` is left out of names.
    Lists, such as histograms, have no place in a row.
    """
    row: dict[str, Any] = {}
    for key, value in scores.items():
        name = prefix + key
        if key in leave_out:
            continue
        if isinstance(value, Mapping):
            row |= flatten(value, prefix=prefix if key == "baselines" else f"{name}_")
        elif key.endswith("interval"):
            start = name.removesuffix("interval")
            row[f"{start}low"], row[f"{start}high"] = value or (None, None)
        elif not isinstance(value, list):
            row[prefix.removesuffix("_") if key == "value" else name] = value
    return row


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows; None is an empty cell, and no row an empty file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            columns = dict.fromkeys(key for row in rows for key in row)
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def text_table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a heading and rows in columns, two spaces apart; columns of numbers to the right."""
    columns = []
    for cells in zip(*lines, strict=True):
        width, numbers = max(map(len, cells)), set().union(*cells[1:]) <= _NUMBER
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out a heading and rows in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)

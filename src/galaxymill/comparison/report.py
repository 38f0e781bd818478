"""What a comparison found, as text and as files."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from galaxymill.reporting.report import Plot, Row, decimal, percent, text, write_csv
from galaxymill.storage.atomic import atomic_tree, exclusive

PRODUCT = "comparison.json"


def _count(key: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key]:,}"


_QUESTIONS = {
    "question": text("question"),
    "answers": text("answers"),
    "galaxies": _count("n"),
    "same answer": percent("agreement"),
    "kappa": decimal("kappa"),
}
_COLUMNS = {
    "galaxies": _count("n"),
    "null in A": _count("null_only_a"),
    "null in B": _count("null_only_b"),
    "mean A−B": decimal("bias", "+.4f"),
    "RMSE": decimal("rmse", ".4f"),
    "max |A−B|": decimal("max_difference", ".4f"),
    "rank corr.": decimal("spearman", ".4f"),
}


@dataclass
class Comparison:
    """Facts of the match, a row a pair of columns, a row a question, and the figures."""

    facts: Mapping[str, Any]
    columns: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)


def describe(found: Comparison) -> str:
    """Lay out what was found as plain text."""
    parts = [_head(found.facts)]
    if found.questions:
        parts.append(_table(_QUESTIONS, found.questions))
    parts.append(_table({"column": _names, **_COLUMNS}, found.columns))
    lost = [
        f"{row['question']} ({side.upper()} alone: {row[f'unpaired_{side}']})"
        for row in found.questions
        for side in "ab"
        if row[f"unpaired_{side}"]
    ]
    if lost:
        parts.append(f"Answers without a counterpart are left out: {'; '.join(lost)}.")
    return "\n\n".join(parts)


def write_comparison(folder: Path, found: Comparison) -> None:
    """Write ``comparison.json``, ``columns.csv``, ``questions.csv`` and ``plots/``."""
    from galaxymill.reporting.plots import save

    plain = {**found.facts, "questions": found.questions, "columns": found.columns}
    told = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    with exclusive(folder / PRODUCT), atomic_tree(folder, PRODUCT) as tree:
        (tree / PRODUCT).write_text(told + "\n", encoding="utf-8")
        write_csv(tree / "columns.csv", found.columns)
        write_csv(tree / "questions.csv", found.questions)
        (tree / "plots").mkdir()
        for plot in found.plots:
            save(tree / "plots", plot)


def _head(facts: Mapping[str, Any]) -> str:
    lines = [
        (side.upper(), f"{one['path']}: {one['galaxies']:,} galaxies, layout {one['layout']}")
        for side, one in (("a", facts["a"]), ("b", facts["b"]))
    ]
    matched = f"{facts['matched']:,} {facts['match']}"
    if facts["median_separation_arcsec"] is not None:
        matched += f", median separation {facts['median_separation_arcsec']:.3f} arcsec"
    lines.append(("matched", matched))
    if facts["doubles"]:
        what = f"{facts['doubles']:,} of A left out: another is nearer to their counterpart in B"
        lines.append(("doubles", what))
    return "\n".join(f"{name:<9}{value}" for name, value in lines)


def _names(row: Row) -> str:
    """Name a pair; what both names begin with is said once."""
    a, b = row["column_a"], row["column_b"]
    if a == b:
        return str(a)
    words_a, words_b = a.split("_"), b.split("_")
    same = takewhile(lambda words: words[0] == words[1], zip(words_a, words_b, strict=False))
    start = [word for word, _ in same]
    ends = ("_".join(words[len(start) :]) for words in (words_a, words_b))
    return "_".join([*start, f"{{{', '.join(ends)}}}"])


def _table(columns: Mapping[str, Callable[[Row], str]], rows: Sequence[Row]) -> str:
    return aligned([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Align the cells of some lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        right = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([f"{first:<{widths[0]}}", *right]))
    return "\n".join(lines)

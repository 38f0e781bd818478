"""The result of a comparison, as text and as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxymill.reporting.tables import Row, spell, text_table, write_csv
from galaxymill.storage.atomic import atomic_tree, exclusive

if TYPE_CHECKING:
    from galaxymill.reporting.report import Plot

PRODUCT = "comparison.json"

_QUESTIONS = {
    "question": "{question}",
    "answers": "{answers}",
    "galaxies": "{n:,}",
    "same answer": "{agreement:.1%}",
    "kappa": "{kappa:.3f}",
}
_COLUMNS = {
    "column": "{pair}",
    "galaxies": "{n:,}",
    "null in A": "{null_only_a:,}",
    "null in B": "{null_only_b:,}",
    "mean A−B": "{bias:+.4f}",
    "RMSE": "{rmse:.4f}",
    "max |A−B|": "{max_difference:.4f}",
    "rank corr.": "{spearman:.4f}",
}


@dataclass
class Comparison:
    """Facts of the match, a row a pair of columns, a row a question, and the plots."""

    facts: Mapping[str, Any]
    columns: list[Row] = field(default_factory=list)
    questions: list[Row] = field(default_factory=list)
    plots: "list[Plot]" = field(default_factory=list)


def describe(found: Comparison) -> str:
    """Lay out a comparison as plain text."""
    parts = [_head(found.facts)]
    if found.questions:
        parts.append(_table(_QUESTIONS, found.questions))
    parts.append(_table(_COLUMNS, [{"pair": _names(row), **row} for row in found.columns]))
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
    plain = {**found.facts, "questions": found.questions, "columns": found.columns}
    text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    with exclusive(folder / PRODUCT), atomic_tree(folder, PRODUCT) as tree:
        (tree / PRODUCT).write_text(text + "\n", encoding="utf-8")
        write_csv(tree / "columns.csv", found.columns)
        write_csv(tree / "questions.csv", found.questions)
        (tree / "plots").mkdir()
        for plot in found.plots:
            plot.save(tree / "plots")


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
    """Name a pair; what both names begin with is written once."""
    a, b = row["column_a"], row["column_b"]
    if a == b:
        return str(a)
    words_a, words_b = a.split("_"), b.split("_")
    same = takewhile(lambda words: words[0] == words[1], zip(words_a, words_b, strict=False))
    start = [word for word, _ in same]
    ends = ("_".join(words[len(start) :]) for words in (words_a, words_b))
    return "_".join([*start, f"{{{', '.join(ends)}}}"])


def _table(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    cells = [[spell(cell, row) for cell in columns.values()] for row in rows]
    return "\n".join(text_table([list(columns), *cells]))

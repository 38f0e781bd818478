"""Compare two morphology catalogues, ours or published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galaxymill.comparison.catalogue import Catalogue, Values
from galaxymill.comparison.match import (
    OBJECT_ID,
    Match,
    Rows,
    match_ids,
    match_positions,
    parse_radius,
)
from galaxymill.comparison.pairs import Question, by_question, pair_columns, read_map
from galaxymill.comparison.report import Comparison, describe, write_comparison
from galaxymill.comparison.statistics import column_scores, question_scores
from galaxymill.errors import UserError
from galaxymill.progress import progress
from galaxymill.reporting.report import Plot


def compare(
    path_a: Path,
    path_b: Path,
    on: str | None = None,
    sky: str | None = None,
    columns: Path | None = None,
    out: Path | None = None,
    layouts: tuple[str | None, str | None] = (None, None),
) -> str:
    """Match two catalogues and compare their columns.

    Memory holds identifiers or positions of both, then the columns of one question at a time:
    at most 4 GB with 10⁷ galaxies on each side.

    Parameters
    ----------
    path_a, path_b : Path
        See `galaxymill.comparison.catalogue.Catalogue.open`.
    on : str, optional
        Column of the identifiers; default: what each layout calls so.
    sky : str, optional
        Match by position instead, within this radius: ``1arcsec``.
    columns : Path, optional
        Pairs of columns whose names differ, see `galaxymill.comparison.pairs.read_map`.
    out : Path, optional
        Folder for ``comparison.json``, the tables as CSV and the plots.
    layouts : tuple of str or None
        Of A and of B, where the columns do not tell.

    Returns
    -------
    str
        The tables, for people.

    Raises
    ------
    UserError
        When a catalogue cannot be used, nothing matches, or no columns pair.
    """
    if on is not None and sky is not None:
        raise UserError(f"--on {on} and --sky {sky}: give one of them")
    radius_arcsec = None if sky is None else parse_radius(sky)
    a = Catalogue.open(path_a, layouts[0], "--layout-a")
    b = Catalogue.open(path_b, layouts[1], "--layout-b")
    mapped = read_map(columns, a, b) if columns is not None else {}
    questions = by_question(pair_columns(a, b, mapped), a, b)
    if radius_arcsec is None:
        match = match_ids(a, b, on or OBJECT_ID)
    else:
        match = match_positions(a, b, radius_arcsec)
    if out is None:
        return describe(_compare(a, b, match, questions, draw=False))
    # The text alone does not wait for matplotlib.
    from galaxymill.reporting.plots import own_style

    with own_style():
        found = _compare(a, b, match, questions, draw=True)
        write_comparison(out, found)
    return describe(found)


def _compare(
    a: Catalogue, b: Catalogue, match: Match, questions: Sequence[Question], draw: bool
) -> Comparison:
    found = Comparison(_facts(a, b, match))
    with progress("compare", len(questions), "questions") as advance:
        for question in questions:
            values_a = _take(a, question, [pair.a for pair in question.pairs], match.rows_a)
            values_b = _take(b, question, [pair.b for pair in question.pairs], match.rows_b)
            for pair, one, other in zip(question.pairs, values_a, values_b, strict=True):
                found.columns.append({**pair.to_row(), **column_scores(one, other)})
            if question.name:
                scores = question_scores(values_a, values_b)
                found.questions.append({**question.to_row(), **scores})
            if draw:
                found.plots.append(_plot(question, values_a, values_b, len(found.plots) + 1))
            advance()
    return found


def _take(
    catalogue: Catalogue, question: Question, names: Sequence[str], rows: Rows
) -> list[Values]:
    # Columns that are about no question may hold any numbers.
    values = catalogue.numbers(names, fractions=bool(question.name))
    return [values[name][rows] for name in names]


def _facts(a: Catalogue, b: Catalogue, match: Match) -> dict[str, Any]:
    facts: dict[str, Any] = {
        side: {"path": str(catalogue.path), "layout": catalogue.layout_name, "galaxies": galaxies}
        for side, catalogue, galaxies in (("a", a, match.galaxies_a), ("b", b, match.galaxies_b))
    }
    separation = match.separation_arcsec
    return facts | {
        "match": match.how,
        "matched": len(match.rows_a),
        "doubles": match.doubles,
        "median_separation_arcsec": None if separation is None else float(np.median(separation)),
    }


def _plot(question: Question, a: Sequence[Values], b: Sequence[Values], number: int) -> Plot:
    from galaxymill.comparison.plots import draw_question

    answers = [
        pair.label.answer if pair.label else f"{pair.a} / {pair.b}" for pair in question.pairs
    ]
    figure = draw_question(question.title, answers, a, b)
    return Plot(f"{number:02d}-{question.slug}", question.title, figure)

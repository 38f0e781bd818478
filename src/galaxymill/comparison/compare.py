"""Compare two morphology catalogues, ours or published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galaxymill.comparison.catalogue import Catalogue
from galaxymill.comparison.match import (
    OBJECT_ID,
    Match,
    match_ids,
    match_positions,
    parse_radius,
)
from galaxymill.comparison.pairs import Question, by_question, pair_columns, read_map
from galaxymill.comparison.panel import Panel
from galaxymill.comparison.report import Comparison, describe, write_comparison
from galaxymill.comparison.statistics import ColumnSums, question_scores
from galaxymill.comparison.sums import sum_question
from galaxymill.comparison.workers import Workers, open_workers
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
    scheduler: str | None = None,
) -> str:
    """Match two catalogues and compare their columns.

    HATS catalogues are read tile by tile on workers of dask, which need less than 2 GB each. Any
    other table is one tile: of both, memory holds identifiers or positions, then the columns of
    one question at a time, at most 4 GB with 10⁷ galaxies on each side.

    Parameters
    ----------
    path_a, path_b : Path
        See `galaxymill.comparison.catalogue.Catalogue.open`.
    on : str, optional
        Column of the identifiers; default: that of each layout.
    sky : str, optional
        Match by position instead, within this radius: ``1arcsec``.
    columns : Path, optional
        Pairs of columns whose names differ, see `galaxymill.comparison.pairs.read_map`.
    out : Path, optional
        Folder for ``comparison.json``, the tables as CSV and the plots.
    layouts : tuple of str or None
        Of A and of B; None: found by the columns.
    scheduler : str, optional
        Address of a scheduler of dask, whose workers see the same files.

    Returns
    -------
    str
        The tables as text.

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
    with open_workers(scheduler, max(a.tiled_rows, b.tiled_rows)) as workers:
        if radius_arcsec is None:
            match = match_ids(a, b, workers, on or OBJECT_ID)
        else:
            match = match_positions(a, b, workers, radius_arcsec)
        if out is None:
            return describe(_compare(a, b, match, questions, workers, draw=False))
        # The text alone does not wait for matplotlib.
        from galaxymill.reporting.plots import own_style

        with own_style():
            found = _compare(a, b, match, questions, workers, draw=True)
            write_comparison(out, found)
    return describe(found)


def _compare(
    a: Catalogue,
    b: Catalogue,
    match: Match,
    questions: Sequence[Question],
    workers: Workers,
    draw: bool,
) -> Comparison:
    found = Comparison(_facts(a, b, match))
    with progress("compare", 2 * len(questions) * len(match.pairs), "tiles") as advance:
        for question in questions:
            sums = sum_question(a, b, match, question, workers, draw, advance)
            for pair, column, product in zip(
                question.pairs, sums.columns, sums.rank_products, strict=True
            ):
                found.columns.append({**pair.to_row(), **column.scores(product)})
            if question.name:
                found.questions.append({**question.to_row(), **question_scores(sums.answers)})
            if draw:
                number = len(found.plots) + 1
                found.plots.append(_plot(question, sums.columns, sums.panels, number))
    return found


def _facts(a: Catalogue, b: Catalogue, match: Match) -> dict[str, Any]:
    facts: dict[str, Any] = {
        side: {"path": str(catalogue.path), "layout": catalogue.layout_name, "galaxies": galaxies}
        for side, catalogue, galaxies in zip("ab", (a, b), match.galaxies, strict=True)
    }
    return facts | {
        "match": match.how,
        "matched": match.matched,
        "doubles": match.doubles,
        "median_separation_arcsec": match.median_separation_arcsec,
    }


def _plot(
    question: Question, columns: Sequence[ColumnSums], panels: Sequence[Panel], number: int
) -> Plot:
    from galaxymill.comparison.plots import draw_question

    answers = [
        pair.label.answer if pair.label else f"{pair.a} / {pair.b}" for pair in question.pairs
    ]
    edges = [column.edges for column in columns]
    figure = draw_question(question.title, answers, list(zip(panels, edges, strict=True)))
    return Plot(f"{number:02d}-{question.slug}", question.title, figure)

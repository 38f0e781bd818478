"""A page for each volunteer who answers otherwise than others: on which questions, and examples."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import ImageSource, RowGroup
from galaxymill.reporting.gallery import draw_gallery
from galaxymill.reporting.plots import own_style
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.volunteers.read import Fitted, read_fitted

SIGMAS = 2.0
LEAST = 0.5
"""Bias, in log odds, below which nobody is told: it would hardly be seen."""
CARELESS = 0.2
"""Probability of carelessness above which nothing is said: it may be a habit, not a taste."""
EXAMPLES = 6
_COLUMNS = ("volunteer", "question", "answer", "n", "given", "bias", "bias_error")


def differing(people: pd.DataFrame) -> pd.DataFrame:
    """Choose the volunteers and answers whose bias is beyond ``SIGMAS`` and ``LEAST``.

    Of those who may answer whatever they see, nothing is said. The surest come first.
    """
    sigmas = people.bias / people.bias_error
    sure = (people.bias > LEAST) & (sigmas > SIGMAS) & ~(people.careless > CARELESS)
    return people[sure].assign(sigmas=sigmas[sure]).sort_values("sigmas", ascending=False)


def write_feedback(
    individual: Path, images: Sequence[Path], out: Path, volunteers: Sequence[str] = ()
) -> None:
    """Write a page for each volunteer, in a folder of that name beside their list.

    Parameters
    ----------
    individual : Path
        ``individual.parquet``, see `galaxymill.volunteers.report.report_volunteers`.
    images : sequence of Path
        Where the galaxies' images are, if they are to be shown.
    out : Path
        CSV table of what is said to whom.
    volunteers : sequence of str
        Pseudonyms; none: of all who differ.

    Raises
    ------
    UserError
        When a pseudonym is unknown.
    """
    fitted = read_fitted(individual)
    if unknown := sorted(set(volunteers) - set(fitted.people.volunteer)):
        raise UserError(f"--volunteer {unknown[0]}: no such volunteer in {individual.parent}")
    said = differing(fitted.people)
    if volunteers:
        said = said[said.volunteer.isin(volunteers)]
    told = list(dict.fromkeys([*volunteers, *said.volunteer]))
    shown = {name: _examples(fitted, name, said[said.volunteer == name]) for name in told}
    wanted = [key for parts in shown.values() for rows in parts for key in rows["object_id"]]
    groups = ImageSource.open(images).find(wanted, flags.unfit_bits(())) if images else []
    with exclusive(out), own_style(), atomic_tree(out.parent, out.name) as folder:
        for name in told:
            place = folder / name
            place.mkdir()
            rows = said[said.volunteer == name]
            _page(name, rows, shown[name], groups).write(place, "metrics.json")
        said[list(_COLUMNS)].to_csv(folder / out.name, index=False)
    logging.getLogger("galaxymill").info("volunteers: pages for %d volunteers", len(told))


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _examples(fitted: Fitted, name: str, said: pd.DataFrame) -> list[pd.DataFrame]:
    """Galaxies on which somebody gave an answer that others would give least, by what is said."""
    given, columns = fitted.given, list(fitted.tree.columns)
    mine = given.volunteer == given.volunteers.index(name)
    found = []
    for row in _rows(said):
        column = f"{row['question']}_{row['answer']}"
        here = given.galaxy[mine & (given.column == columns.index(column))]
        table = fitted.galaxies.iloc[here]
        table = table.assign(others=table[f"{column}_fraction"]).nsmallest(EXAMPLES, "others")
        found.append(table[["object_id", "others"]])
    return found


def _page(
    name: str, said: pd.DataFrame, examples: Sequence[pd.DataFrame], groups: Sequence[RowGroup]
) -> Report:
    pictures = _pictures(groups, [key for rows in examples for key in rows.object_id])
    sections = []
    for number, (row, rows) in enumerate(zip(_rows(said), examples, strict=True), 1):
        text = (
            f"You answered “{row['answer']}” {row['given']} of {row['n']} times. On the same "
            f"galaxies the odds that others would are {np.exp(row['bias']):.1f} times lower. Below "
            "are galaxies on which you answered so and fewest others would, with the share of "
            "careful volunteers who would. Both may be right: it is what you see."
        )
        columns = {"galaxy": "{object_id}", "others": "{others:.0%}"}
        table = Table(f"galaxies_{number}", "Others who would agree.", _rows(rows), columns)
        plots = _plots(number, row["answer"], rows, pictures)
        sections.append(Section(row["question"], [text], [table], plots))
    if not sections:
        text = "Your answers differ from those of others by no more than chance explains."
        sections = [Section("Your answers", [text])]
    headline = f"Where the answers of volunteer {name} differ from those of others"
    metrics = {"volunteer": name, "told": _rows(said[list(_COLUMNS)])}
    return Report("Your answers beside others'", headline, sections, metrics, "")


def _plots(
    number: int, answer: str, rows: pd.DataFrame, pictures: Mapping[str, bytes]
) -> list[Plot]:
    shown = [
        (key, pictures[key], [(answer, float(others), None)])
        for key, others in zip(rows.object_id, rows.others, strict=True)
        if key in pictures
    ]
    if not shown:
        return []
    figure = draw_gallery(shown, "Share of careful volunteers who would give your answer")
    return [Plot(f"examples_{number}", "Six of them.", figure, vector=False)]


def _pictures(groups: Sequence[RowGroup], wanted: Sequence[str]) -> dict[str, bytes]:
    keys = set(wanted)
    near = [group for group in groups if not keys.isdisjoint(group.ids)]
    return {key: image for group in near for key, image in group.read() if key in keys}

"""Tables with one row per answer: who said what of which galaxy, on a tree or as a class."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.labels import panoptes_cells as cells
from galaxymill.labels.individual import IndividualAnswers, SeenKeys
from galaxymill.labels.rows import NO_VALUE, Floats, FormatSettings, Rows, without_blanks
from galaxymill.labels.simple import MAX_CLASSES, ClassSettings, class_name
from galaxymill.settings import Pairs
from galaxymill.tables import as_text, check_ids, column_names, read_blocks
from galaxymill.tasks import ClassTask
from galaxymill.tasks.checks import Dropped
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import Question, Tree

logger = logging.getLogger("galaxymill")

UNKNOWN = "an answer that is not known"
_LONGEST = 200

Found = tuple[int, tuple[str, str]]
"""Place of an answer among the columns, and the names of question and answer."""

Find = Callable[[str, str], Found | None]


class RowSettings(FormatSettings):
    """What every table with one row per answer has."""

    volunteer: str = Field("volunteer", description="column that tells volunteers apart")
    answer: str = Field("answer", description="column of the answer")
    when: str = Field("created_at", description="column of the time, if there")


class AnswerSettings(RowSettings):
    """A table with one row per answer of a volunteer to a question of the tree."""

    question: str = Field(
        "question", description="column of the question; a tree of one question needs none"
    )
    answers: Pairs = Field({}, description="the tree's name of an answer, where written otherwise")


class ClassAnswerSettings(RowSettings, ClassSettings):
    """A table with one row per volunteer and galaxy: the class that it is of, for them."""

    column: str = Field("class", description="name of the question, in predictions too")


class _Table:
    """Votes of one file by galaxy and column, in the order in which they come."""

    def __init__(self) -> None:
        self.votes: dict[str, Counter[int]] = {}
        self.positions: dict[str, tuple[float, float]] = {}
        self.left_out: Counter[str] = Counter()

    def rows(self, path: Path, settings: RowSettings, values: Floats) -> Rows:
        """Give the file's galaxies with their labels."""
        ids = list(self.votes)
        check_ids(path, pa.chunked_array([pa.array(ids, pa.string())]), settings.object_id)
        places = np.array([self.positions[key] for key in ids]).reshape(len(ids), 2)
        unknown = self.left_out[UNKNOWN]
        dropped = [Dropped("", "", float(unknown), None, None, UNKNOWN)] if unknown else []
        return Rows(str(path), ids, values, places, tuple(dropped))


def read_answers(
    paths: Sequence[Path], settings: AnswerSettings, tree: Tree, individual: IndividualAnswers
) -> list[Rows]:
    """Count the answers of tables with one row each.

    Somebody who answers a question twice on a galaxy counts once, by the first row. A UserError
    says when a column is absent or no answer counts.
    """
    names = [(q.name, answer) for q in tree.questions for answer in q.answers]
    known = {name: place for place, name in enumerate(names)}
    lost = sorted(set(settings.answers.values()) - {answer for _, answer in names})
    if lost:
        raise UserError(f"answers: {', '.join(lost)}: no answer of tree {tree.name}")

    def column(question: str, answer: str) -> Found | None:
        name = (question or tree.questions[0].name, settings.answers.get(answer, answer))
        place = known.get(name)
        return None if place is None else (place, name)

    asked = settings.question
    if len(tree.questions) == 1 and any(asked not in column_names(path) for path in paths):
        asked = ""
    tables = _read(paths, settings, individual, column, asked)
    files = []
    for path, table in zip(paths, tables, strict=True):
        values = np.zeros((len(table.votes), len(names)))
        for row, votes in enumerate(table.votes.values()):
            values[row, list(votes)] = list(votes.values())
        files.append(table.rows(path, settings, values))
    return files


def read_class_answers(
    paths: Sequence[Path], settings: ClassAnswerSettings, individual: IndividualAnswers
) -> tuple[Task, list[Rows]]:
    """Read classes by volunteer: a galaxy's label is the class that most of them name.

    Of several that are named as often, the one that was named first.
    """
    found: dict[str, int] = {name: place for place, name in enumerate(settings.classes)}

    def column(_: str, answer: str) -> Found | None:
        name = class_name(answer)
        if name not in found:
            if settings.classes or len(found) >= MAX_CLASSES:
                return None
            found[name] = len(found)
        return found[name], (settings.column, name)

    tables = _read(paths, settings, individual, column)
    order = {name: place for place, name in enumerate(settings.classes or sorted(found))}
    if len(order) < 2:
        raise UserError(f"{paths[0]}: {settings.answer} names {len(order)} class; allowed: from 2")
    places = np.array([order[name] for name in found])
    # The classes of all files together: a galaxy may be in several.
    total: dict[str, Counter[int]] = {}
    for table in tables:
        for key, votes in table.votes.items():
            total.setdefault(key, Counter()).update(votes)
    files = []
    for path, table in zip(paths, tables, strict=True):
        most = [places[total[key].most_common(1)[0][0]] for key in table.votes]
        files.append(table.rows(path, settings, np.eye(len(order))[most]))
    question = Question(settings.column, tuple(order), (), 0)
    return ClassTask(Tree(settings.column, (question,))), files


def _read(
    paths: Sequence[Path],
    settings: RowSettings,
    individual: IndividualAnswers,
    column: Find,
    question: str = "",
) -> list[_Table]:
    """Read every row of the files; ``column`` finds the place and names of an answer."""
    seen, unknown, tables = SeenKeys(), Counter[str](), []
    for path in paths:
        table = _Table()
        tables.append(table)
        for number, row in enumerate(_rows_of(path, settings, question)):
            who, text = without_blanks(row["volunteer"]), without_blanks(row["answer"])
            # Somebody who left no trace comes once.
            volunteer = f"row {path} {number}" if who.casefold() in NO_VALUE else f"name {who}"
            if text.casefold() in NO_VALUE:
                table.left_out["without an answer"] += 1
                continue
            found = column(without_blanks(row["question"]), text)
            if found is None:
                spelled = f"{row['question']} {text}".strip()[:_LONGEST]
                if spelled in unknown or len(unknown) < 1000:
                    unknown[spelled] += 1
                table.left_out[UNKNOWN] += 1
                continue
            key, (place, name) = row["object_id"], found
            if not seen.add(key, volunteer, name[0]):
                table.left_out["repeated by the same volunteer"] += 1
                continue
            table.votes.setdefault(key, Counter())[place] += 1
            table.positions.setdefault(key, cells.position(row, ("ra", "dec")))
            individual.add(key, volunteer, [name], row["when"])
        left_out = ", ".join(f"{n} {why}" for why, n in table.left_out.items())
        logger.info("labels: %s: answers left out: %s", path, left_out or "none")
    others = ", ".join(f"{text!r} ({n})" for text, n in unknown.most_common(10))
    if unknown:
        logger.warning("labels: answers that are not known: %s", others)
    if not any(table.votes for table in tables):
        names = ", ".join(map(str, paths))
        raise UserError(f"{names}: no answer counts; not known are: {others or 'none'}")
    return tables


def _rows_of(path: Path, settings: RowSettings, question: str) -> Iterator[dict[str, str]]:
    """Read a table block by block, under the names that it has here."""
    there = column_names(path)
    names = {"object_id": settings.object_id, "volunteer": settings.volunteer}
    names |= {"answer": settings.answer} | ({"question": question} if question else {})
    more = {"when": settings.when, "ra": settings.ra, "dec": settings.dec}
    names |= {name: column for name, column in more.items() if column in there}
    for batch in read_blocks(path, list(names.values())):
        columns = [
            as_text(path, pa.chunked_array([column]), name).to_pylist()
            for name, column in zip(names.values(), batch.columns, strict=True)
        ]
        for values in zip(*columns, strict=True):
            row = {"question": "", "when": ""}
            row |= {k: v or "" for k, v in zip(names, values, strict=True)}
            yield row

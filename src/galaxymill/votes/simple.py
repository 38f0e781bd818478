"""Simple labels, as for fine-tuning: formats ``classes`` and ``number``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.settings import Names
from galaxymill.tables import check_ids, check_range, read_table
from galaxymill.tasks import ClassTask, NumberTask
from galaxymill.tasks.task import Task
from galaxymill.votes.rows import FormatSettings, Rows, position_columns, read_positions
from galaxymill.votes.tree import Question, Tree

MAX_CLASSES = 100
_LARGEST = float(np.finfo(np.float64).max)


class ClassSettings(FormatSettings):
    """A column that names each galaxy's class."""

    column: str = Field(description="column of the class; it names the question, too")
    classes: Names = Field((), description="those there are; default: those found, sorted")


class NumberSettings(FormatSettings):
    """A column of numbers, such as a redshift."""

    column: str = Field(description="column of the number")


def read_classes(paths: Sequence[Path], settings: ClassSettings) -> tuple[Task, list[Rows]]:
    """Read tables with a class column: one vote a galaxy on one question.

    Raises
    ------
    UserError
        When a class is absent or not among those allowed, or there are fewer than two, or so
        many that it is no class.
    """
    tables = [_table(path, settings, settings.column) for path in paths]
    found: set[str] = set()
    for path, (table, _) in zip(paths, tables, strict=True):
        found |= _classes(path, table[settings.column], settings)
    classes = settings.classes or tuple(sorted(found))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise UserError(
            f"{paths[0]}: {settings.column} has {len(classes)} classes ({', '.join(classes[:5])}…)"
            f"; allowed: 2 to {MAX_CLASSES}"
        )
    tree = Tree(settings.column, (Question(settings.column, classes, (), 0),))
    files = []
    for path, (table, places) in zip(paths, tables, strict=True):
        index = [classes.index(name) for name in table[settings.column].to_pylist()]
        values = np.eye(len(classes))[np.array(index, dtype=np.int64)]
        ids = table[settings.object_id].to_pylist()
        files.append(Rows(str(path), ids, values, read_positions(path, table, places)))
    return ClassTask(tree), files


def read_numbers(paths: Sequence[Path], settings: NumberSettings) -> tuple[Task, list[Rows]]:
    """Read tables with a column of finite numbers.

    Raises
    ------
    UserError
        When one is absent, NaN or infinite.
    """
    files = []
    for path in paths:
        table, places = _table(path, settings)
        values = check_range(path, table[settings.column], settings.column, -_LARGEST, _LARGEST)
        ids = table[settings.object_id].to_pylist()
        positions = read_positions(path, table, places)
        files.append(Rows(str(path), ids, values.to_numpy()[:, None], positions))
    return NumberTask(settings.column), files


def _table(
    path: Path, settings: ClassSettings | NumberSettings, *texts: str
) -> tuple[pa.Table, list[str]]:
    """Read identifiers, positions and labels; give the names of the positions' columns, too."""
    if settings.column in ("object_id", "ra", "dec", "split"):
        raise UserError(f"column: {settings.column} has its meaning in every product; rename it")
    places = position_columns(path, settings)
    wanted = dict.fromkeys([settings.object_id, *places, settings.column])
    table = read_table(path, list(wanted), [settings.object_id, *texts])
    check_ids(path, table[settings.object_id], settings.object_id)
    return table, places


def _classes(path: Path, values: pa.ChunkedArray, settings: ClassSettings) -> set[str]:
    names = values.to_pylist()
    for row, name in enumerate(names, start=1):
        if not name or (settings.classes and name not in settings.classes):
            allowed = ", ".join(settings.classes) or "any name that is not empty"
            raise UserError(f"{path}: row {row}: {settings.column} is {name!r}; allowed: {allowed}")
    return set(names)

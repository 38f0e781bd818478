"""Simple labels, as for fine-tuning: formats ``classes`` and ``number``."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from galaxymill.errors import UserError
from galaxymill.labels.rows import (
    NO_VALUE,
    Floats,
    FormatSettings,
    Rows,
    read_galaxies,
    refuse_numbers,
    whole_number,
    without_blanks,
)
from galaxymill.settings import Names
from galaxymill.tables import as_numbers
from galaxymill.tasks import ClassTask, NumberTask
from galaxymill.tasks.checks import NO_LABEL, Dropped
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import Question, Tree

logger = logging.getLogger("galaxymill")

MAX_CLASSES = 100
MAX_CLASS_LENGTH = 100
LARGEST = float(np.finfo(np.float32).max)
"""Networks compute in float32."""

Galaxies = tuple[pa.Table, pa.ChunkedArray, Floats]
"""What `read_galaxies` gives."""

_WHOLE = re.compile(r"([+-]?\d+)\.0*")


class ClassSettings(FormatSettings):
    """A column that names each galaxy's class."""

    column: str = Field(description="column of the class; it names the question, too")
    classes: Names = Field((), description="those there are; default: those found, sorted")

    @field_validator("classes")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(map(class_name, names))
        if twice := sorted({name for name in plain if plain.count(name) > 1}):
            raise ValueError(f"given twice: {', '.join(twice)}")
        return plain

    def task(self) -> Task | None:
        """Give the task, where the settings name the classes."""
        return _task(self.column, self.classes) if self.classes else None


class NumberSettings(FormatSettings):
    """A column of numbers, such as a redshift."""

    column: str = Field(description="column of the number")

    def task(self) -> Task:
        """Give the task of this number."""
        return NumberTask(self.column)


def read_classes(paths: Sequence[Path], settings: ClassSettings) -> tuple[Task, list[Rows]]:
    """Read tables with a class column: one vote a galaxy on one question.

    Names lose the blanks at their ends, and whole numbers their decimals: ``1.0`` is ``1``, as in
    a table whose column is a number. A galaxy without a name is left out. A UserError names a class
    that is not allowed, or says that there are fewer than 2 or more than ``MAX_CLASSES``.
    """
    tables = [_table(path, settings, settings.column) for path in paths]
    named = [
        _classes(path, table[settings.column], settings)
        for path, (table, *_) in zip(paths, tables, strict=True)
    ]
    counts = Counter(name for names in named for name in names if name)
    classes = settings.classes or tuple(sorted(counts))
    if not counts:
        raise UserError(f"{', '.join(map(str, paths))}: no galaxy has a class in {settings.column}")
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise UserError(
            f"{paths[0]}: {settings.column} has {len(classes)} classes ({', '.join(classes[:5])}…)"
            f"; allowed: 2 to {MAX_CLASSES}"
        )
    _warn_of_alike(settings.column, {name: counts[name] for name in classes})
    place = {name: index for index, name in enumerate(classes)}
    files = []
    for path, table, names in zip(paths, tables, named, strict=True):
        index = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        values = np.eye(len(classes))[np.maximum(index, 0)]
        files.append(_rows(path, table, values, index >= 0))
    return _task(settings.column, classes), files


def _task(column: str, classes: tuple[str, ...]) -> Task:
    return ClassTask(Tree(column, (Question(column, classes, (), 0),)))


def read_numbers(paths: Sequence[Path], settings: NumberSettings) -> tuple[Task, list[Rows]]:
    """Read tables with a column of numbers; a galaxy without one is left out.

    A UserError names a number that is infinite, or beyond what networks compute with.
    """
    files = []
    for path in paths:
        table = _table(path, settings)
        column = settings.column
        values = np.asarray(as_numbers(path, table[0][column], column).to_numpy(), dtype=np.float64)
        allowed = (
            f"allowed: at most {LARGEST:.2g} (float32): take the logarithm, or divide by a unit "
            "such as 1e40"
        )
        refuse_numbers(path, column, values, np.abs(values) > LARGEST, allowed)
        labelled = ~np.isnan(values)
        _warn_of_sentinels(path, column, values[labelled])
        files.append(_rows(path, table, values[:, None], labelled))
    return settings.task(), files


def class_name(text: str) -> str:
    """Name of a class without blanks at its ends, and of a whole number without decimals."""
    plain = without_blanks(text)
    match = _WHOLE.fullmatch(plain)
    return match[1] if match else plain


def _has_unseen(name: str) -> bool:
    """Tell whether a name holds line breaks, or letters that nobody sees: it is another class."""
    return any(unicodedata.category(letter) in ("Cc", "Cf") for letter in name)


def _table(path: Path, settings: ClassSettings | NumberSettings, *raw: str) -> Galaxies:
    if settings.column in ("object_id", "ra", "dec", "split"):
        raise UserError(f"column: {settings.column} has its meaning in every product; rename it")
    return read_galaxies(path, settings, [settings.column], raw)


def _classes(path: Path, values: pa.ChunkedArray, settings: ClassSettings) -> list[str]:
    """Name of each galaxy's class; empty for none."""
    try:
        texts = [text or "" for text in pc.cast(values, pa.string()).to_pylist()]
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: column {settings.column} is of type {values.type}; allowed: text or numbers"
        ) from error
    names = [class_name(text) for text in texts]
    mended = [text for text, name in zip(texts, names, strict=True) if text != name]
    if mended:
        logger.warning(
            "labels: %s: %d times %s has blanks at its ends or decimals (%.60r): read without",
            *(path, len(mended), settings.column, mended[0]),
        )
    for row, name in enumerate(names):
        if settings.classes and name in settings.classes:
            continue
        if name.casefold() in NO_VALUE:
            names[row] = ""
        elif settings.classes or len(name) > MAX_CLASS_LENGTH or _has_unseen(name):
            allowed = ", ".join(settings.classes) or (
                f"names of {MAX_CLASS_LENGTH} characters, none of them a line break or invisible"
            )
            raise UserError(
                f"{path}: row {row + 1}: {settings.column} is {name[:MAX_CLASS_LENGTH]!r}; "
                f"allowed: {allowed}"
            )
    return names


def _rows(path: Path, table: Galaxies, values: Floats, labelled: npt.NDArray[np.bool_]) -> Rows:
    """Keep the galaxies that have a label."""
    _, ids, positions = table
    without = ids.filter(pa.array(~labelled)).to_pylist()
    dropped = tuple(Dropped(key, "", 1.0, None, None, NO_LABEL) for key in without)
    kept = ids.filter(pa.array(labelled)).to_pylist()
    return Rows(str(path), kept, values[labelled], positions[labelled], dropped)


def _warn_of_alike(column: str, counts: Mapping[str, int]) -> None:
    """Warn of names that a reader would take for the same class."""
    groups: dict[str, list[str]] = {}
    for name in counts:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        key = {"true": "1", "false": "0"}.get(key, whole_number(key) or key)
        with suppress(ValueError):
            # 0.5 and 0.50, 1 and +1.
            key = repr(float(key))
        groups.setdefault(key, []).append(name)
    for names in groups.values():
        if len(names) > 1:
            alike = " and ".join(f"{name!r} ({counts[name]} galaxies)" for name in names)
            logger.warning(
                "labels: classes of %s that differ only by case, blanks or how a number is "
                "written: %s; if they are one class, write them alike",
                *(column, alike),
            )


def _warn_of_sentinels(path: Path, column: str, values: Floats) -> None:
    """Warn of a number such as -99 that stands far from all others, several times."""
    numbers, times = np.unique(values, return_counts=True)
    for end in (0, -1) if len(numbers) > 2 else ():
        others = np.delete(numbers, end)
        far = np.abs(others - numbers[end]).min() > 3 * np.ptp(others)
        only_negative = end == 0 and numbers[0] < 0 <= others[0]
        if times[end] > 1 and (far or only_negative):
            logger.warning(
                "labels: %s: %s is %g %d times, far from all others: if it means that there is no "
                "number, leave these cells empty",
                *(path, column, numbers[end], times[end]),
            )

"""Labels as one file has them, and the sum of several files."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.settings import Settings
from galaxymill.tables import check_ids, check_range, column_names, positions, read_table
from galaxymill.tasks.checks import Dropped
from galaxymill.tasks.task import Task

Floats = npt.NDArray[np.float64]

MAX_VOTES = 2**31 - 1
A_COPY = 100
"""So many equal votes are no chance: the file is another one, saved by another program."""

NO_VALUE = frozenset({"", "nan", "null", "<na>", "n/a", "#n/a"})
"""What programs write for nothing, in small letters."""

_AROUND = " \t\r\n\v\f\xa0\u200b\u2007\u202f\u3000\ufeff"
_NUMBER = re.compile(r"[+-]?(\d{1,30}|\d{1,3}(,\d{3}){1,9})(\.\d{0,30})?(e[+-]?\d{1,2})?", re.ASCII)


def without_blanks(text: str) -> str:
    """Take blanks from the ends, also those that nobody sees (no-break, zero width, a BOM)."""
    return text.strip(_AROUND)


def whole_number(text: str) -> str:
    """Spell a whole number plainly, whatever a spreadsheet or pandas made of it.

    The cells ``7``, ``7.0``, ``7.0e0``, ``"7"`` and ``="7"`` all give ``7``; a cell without a value
    (``nan``), and a number whose last digits are lost, as in ``1E+05`` or ``5.2346E+08``, give
    nothing; anything else stays as it is.
    """
    if text.isdecimal() and text.isascii() and text[0] != "0":
        return text
    text = without_blanks(text.strip(_AROUND + "=\"'"))
    if text.casefold() in {*NO_VALUE, "none", "na"}:
        return ""
    if not _NUMBER.fullmatch(text.casefold()):
        return text
    number = Decimal(text.replace(",", ""))
    if int(number.as_tuple().exponent) > 0:
        return ""
    return str(int(number)) if number == number.to_integral_value() else text


class FormatSettings(Settings):
    """Settings that every format of labels has."""

    object_id: str = Field("object_id", description="column of the unique identifier")
    ra: str = Field("ra", description="column of the right ascension, ICRS degrees, if there")
    dec: str = Field("dec", description="column of the declination, ICRS degrees, if there")

    def input_files(self) -> dict[str, Path]:
        """Files, besides the votes, that the labels depend on, by setting."""
        return {}

    def task(self) -> Task | None:
        """Task of labels without a tree; None where it depends on their files."""
        return None


@dataclass(frozen=True)
class Rows:
    """Labelled galaxies.

    Attributes
    ----------
    file : str
        As the user named it.
    object_ids : list of str, length n
        Each once.
    values : ndarray, shape (n, n_columns)
        In the order of the task's columns.
    positions : ndarray, shape (n, 2)
        Right ascension and declination, degrees; NaN where unknown.
    dropped : tuple of Dropped
        What the file has and cannot be used.
    """

    file: str
    object_ids: list[str]
    values: Floats
    positions: Floats
    dropped: tuple[Dropped, ...] = ()


def read_galaxies(
    path: Path,
    settings: FormatSettings,
    columns: Iterable[str],
    raw: Sequence[str] = (),
    repeated: bool = False,
) -> tuple[pa.Table, pa.ChunkedArray, Floats]:
    """Read some columns of a table, its identifiers, and its positions.

    The types of columns ``raw`` are not guessed; ``repeated`` allows a galaxy several rows.
    Positions (n, 2) are in degrees, NaN in a table without columns of them. A UserError names an
    identifier that is unfit or given twice, or a position off the sky.
    """
    radec = [settings.ra, settings.dec]
    places = radec if set(radec) <= set(column_names(path)) else []
    wanted = dict.fromkeys([settings.object_id, *places, *columns])
    table = read_table(path, list(wanted), [settings.object_id], raw)
    ids = table[settings.object_id]
    check_ids(path, pa.chunked_array([ids.unique()]) if repeated else ids, settings.object_id)
    if not places:
        return table, ids, np.full((table.num_rows, 2), np.nan)
    found = positions(path, table, *places)
    return table, ids, np.column_stack([place.to_numpy() for place in found])


def refuse_numbers(
    path: Path, column: str, numbers: Floats, bad: npt.NDArray[np.bool_], allowed: str
) -> None:
    """Raise a UserError with row and value of the first bad number, if there is any."""
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{path}: row {row + 1}: {column} is {numbers[row]:g}; {allowed}")


def read_counts(path: Path, table: pa.Table, columns: Sequence[str]) -> Floats:
    """Read columns of votes, shape (n, n_columns): whole numbers from 0, or a UserError."""
    counts = np.empty((table.num_rows, len(columns)))
    for index, column in enumerate(columns):
        numbers = check_range(path, table[column], column, 0, MAX_VOTES).to_numpy()
        allowed = "votes are whole numbers: give counts, or choose format: fractions"
        refuse_numbers(path, column, numbers, numbers != np.floor(numbers), allowed)
        counts[:, index] = numbers
    return counts


def add_up(task: Task, files: Sequence[Rows]) -> Rows:
    """Put the labels of several files together, sorted by ``object_id``.

    Counts of votes add up. A class or a number must be the same wherever it is given. A galaxy's
    place is that of the first file that has the galaxy, so that a file more moves nobody.

    Raises
    ------
    UserError
        When two files disagree on a class or a number or are copies, or votes are too many.
    """
    ids = sorted({object_id for rows in files for object_id in rows.object_ids})
    place = {object_id: index for index, object_id in enumerate(ids)}
    values = np.zeros((len(ids), len(task.columns)))
    positions = np.full((len(ids), 2), np.nan)
    first = np.full(len(ids), -1)
    before: dict[bytes, str] = {}
    for number, rows in enumerate(files):
        where = np.array([place[object_id] for object_id in rows.object_ids], dtype=np.int64)
        new = first[where] < 0
        if task.adds_up:
            order = np.argsort(where)
            votes = where[order].tobytes() + rows.values[order].tobytes()
            if votes in before and rows.values.sum() >= A_COPY:
                raise UserError(
                    f"{rows.file}: has the same votes on the same galaxies as {before[votes]}; "
                    "they would count twice: give one of the two"
                )
            before[votes] = rows.file
            values[where] += rows.values
        else:
            differ = where[~new][(values[where[~new]] != rows.values[~new]).any(axis=1)]
            if len(differ):
                other = files[first[differ[0]]].file
                raise UserError(
                    f"{rows.file}: {ids[differ[0]]} is labelled otherwise in {other}; correct one "
                    "of the two"
                )
            values[where[new]] = rows.values[new]
        positions[where[new]] = rows.positions[new]
        first[where[new]] = number
    if task.adds_up and (values > MAX_VOTES).any():
        row, column = np.argwhere(values > MAX_VOTES)[0]
        raise UserError(
            f"{ids[row]} has {values[row, column]:.0f} votes on {task.columns[column]} in all "
            f"files together; allowed: 0 to {MAX_VOTES}"
        )
    dropped = tuple(row for rows in files for row in rows.dropped)
    return Rows("", ids, values, positions, dropped)

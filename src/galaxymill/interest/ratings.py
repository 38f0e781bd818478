"""Ratings: which galaxies people find interesting, as a table to which everybody adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.errors import UserError
from galaxymill.tables import as_numbers, check_ids, column_names, read_table

LOWEST, HIGHEST = 0, 5
COLUMNS = ("object_id", "rating", "rater", "rated_at", "note")
_NEEDED = COLUMNS[:2]


@dataclass(frozen=True)
class Ratings:
    """What each rater said of each galaxy, at last: of a galaxy rated twice, the later row counts.

    Attributes
    ----------
    by_rater : dict of str to dict of str to float
        Rating of each galaxy that one rated.
    """

    by_rater: Mapping[str, Mapping[str, float]]

    def mean(self) -> tuple[list[str], npt.NDArray[np.float64]]:
        """All rated galaxies in the order of their names, and the mean of their raters."""
        names = sorted({name for own in self.by_rater.values() for name in own})
        given: dict[str, list[float]] = {name: [] for name in names}
        for own in self.by_rater.values():
            for name, rating in own.items():
                given[name].append(rating)
        return names, np.array([np.mean(given[name]) for name in names])


def read_ratings(paths: Sequence[Path]) -> Ratings:
    """Read tables of ratings: object_id and rating; maybe rater, rated_at and note.

    Rows are in the order in which they were given.

    Raises
    ------
    UserError
        With the file, row and value of a rating that is absent or not in 0 to 5.
    """
    found: dict[str, dict[str, float]] = {}
    for path in paths:
        there = [name for name in COLUMNS if name in column_names(path)]
        table = read_table(path, [*_NEEDED, *(c for c in there if c == "rater")], ["object_id"])
        # The same galaxy may be in several rows.
        known = pa.chunked_array([table["object_id"].unique()])
        check_ids(path, known, "object_id", names_files=False)
        ratings = _ratings(path, table["rating"])
        raters = _raters(table)
        for name, rating, rater in zip(
            table["object_id"].to_pylist(), ratings, raters, strict=True
        ):
            found.setdefault(rater, {})[name] = rating
    return Ratings(found)


def _ratings(path: Path, column: pa.ChunkedArray) -> list[float]:
    values = as_numbers(path, column.cast(pa.string()), "rating").to_pylist()
    for row, value in enumerate(values):
        if value is None or not LOWEST <= value <= HIGHEST:
            raise UserError(
                f"{path}: row {row + 1}: rating {value}; it is a number from {LOWEST} to "
                f"{HIGHEST}, {HIGHEST} for the most interesting"
            )
    return [float(value) for value in values]


def _raters(table: pa.Table) -> list[str]:
    if "rater" not in table.column_names:
        return [""] * table.num_rows
    return ["" if one is None else str(one) for one in table["rater"].to_pylist()]

"""Ratings: which galaxies people find interesting, as a table to which everybody adds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError
from galaxymill.tables import as_numbers, check_ids, column_names, read_table

LOWEST, HIGHEST = 0, 5
COLUMNS = ("object_id", "rating", "rater", "rated_at", "note")
ARTIFACT = "artifact"
"""Note on a rating of what is no galaxy: what looks nearly the same is not to be shown again."""
_NEEDED = COLUMNS[:2]


@dataclass(frozen=True)
class Ratings:
    """What each rater said of each galaxy, at last: of a galaxy rated twice, the later row counts.

    Attributes
    ----------
    by_rater : dict of str to dict of str to float
        Rating of each galaxy that one rated.
    artifacts : dict of str to set of str
        Galaxies that one called an artifact.
    """

    by_rater: dict[str, dict[str, float]] = field(default_factory=dict)
    artifacts: dict[str, set[str]] = field(default_factory=dict)

    def add(self, name: str, rating: float | None, rater: str, note: str = "") -> None:
        """Add a row; None withdraws what the same rater said of the galaxy before."""
        self.artifacts.get(rater, set()).discard(name)
        if rating is not None:
            self.by_rater.setdefault(rater, {})[name] = rating
            if note == ARTIFACT:
                self.artifacts.setdefault(rater, set()).add(name)
        elif own := self.by_rater.get(rater):
            own.pop(name, None)
            if not own:
                del self.by_rater[rater]

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

    Rows are in the order in which they were given. One without a rating withdraws what the same
    rater said of that galaxy before.

    Raises
    ------
    UserError
        With the file, row and value of a rating that is not in 0 to 5.
    """
    found = Ratings()
    for path in paths:
        there = column_names(path)
        optional = [name for name in ("rater", "note") if name in there]
        # As text: an empty rating is none, and one that is no number is a mistake.
        wanted = [*_NEEDED, *optional]
        table = read_table(path, wanted, ["object_id"], raw=["rating", *optional])
        # The same galaxy may be in several rows.
        known = pa.chunked_array([table["object_id"].unique()])
        check_ids(path, known, "object_id", names_files=False)
        names, ratings = table["object_id"].to_pylist(), _ratings(path, table["rating"])
        raters, notes = (_texts(table, name) for name in ("rater", "note"))
        for row in zip(names, ratings, raters, notes, strict=True):
            found.add(*row)
    return found


def _ratings(path: Path, column: pa.ChunkedArray) -> list[float | None]:
    texts = pc.fill_null(column.cast(pa.string()), "")
    empty = pc.equal(pc.utf8_trim_whitespace(texts), "").to_pylist()
    values: list[float | None] = as_numbers(path, texts, "rating").to_pylist()
    for row, value in enumerate(values):
        if not empty[row] and (value is None or not LOWEST <= value <= HIGHEST):
            raise UserError(
                f"{path}: row {row + 1}: rating {texts[row]}; it is a number from {LOWEST} to "
                f"{HIGHEST}, {HIGHEST} for the most interesting, or empty"
            )
    return values


def _texts(table: pa.Table, name: str) -> list[str]:
    if name not in table.column_names:
        return [""] * table.num_rows
    return ["" if one is None else str(one) for one in table[name].to_pylist()]

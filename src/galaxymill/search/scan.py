"""Find the galaxies that are most like a query, exactly: every partition is read once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from galaxymill.search.likeness import Query
from galaxymill.storage.parquet import open_parquet

_MARGIN = 1e-5
"""Single precision is off by less."""
_HELD = 4
"""Candidates held at once, in units of those that are wanted."""

Mask = Callable[[Path], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Hit:
    """A galaxy found: its likeness, its name, and where it stands."""

    likeness: float
    object_id: str
    file: Path
    row: int


class _Best:
    """The best candidates of one query so far, by their estimated likeness."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.least = -np.inf
        self._rough = np.empty(0, np.float32)
        self._places = np.empty((0, 2), np.int64)
        self._features = np.empty((0, 0), np.float16)

    def add(
        self,
        file: int,
        rows: npt.NDArray[np.intp],
        rough: npt.NDArray[np.float32],
        features: npt.NDArray[np.float16],
    ) -> None:
        """Add rows of a file; those that cannot be among the best are let go."""
        places = np.column_stack([np.full(len(rows), file, np.int64), rows])
        self._rough = np.concatenate([self._rough, rough])
        self._places = np.concatenate([self._places, places])
        old = self._features if len(self._features) else features[:0]
        self._features = np.concatenate([old, features])
        if len(self._rough) > _HELD * self._wanted:
            self._let_go()

    def _let_go(self) -> None:
        place = len(self._rough) - self._wanted
        self.least = float(np.partition(self._rough, place)[place]) - _MARGIN
        kept = self._rough >= self.least
        self._rough, self._places = self._rough[kept], self._places[kept]
        self._features = self._features[kept]

    def hits(self, query: Query, files: Sequence[Path]) -> list[Hit]:
        """Compute the likeness of what is left, and sort it; ties by name."""
        if not len(self._rough):
            return []
        likeness = query.likeness(self._features)
        least = np.sort(likeness)[::-1][: self._wanted][-1]
        good = np.flatnonzero(likeness >= least)
        names = _names(files, self._places[good])
        found = [
            Hit(float(likeness[one]), name, files[self._places[one, 0]], int(self._places[one, 1]))
            for one, name in zip(good, names, strict=True)
        ]
        return sorted(found, key=lambda hit: (-hit.likeness, hit.object_id))[: self._wanted]


def nearest(
    files: Sequence[Path],
    queries: Sequence[Query],
    wanted: int,
    mask: Mask | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[list[Hit]]:
    """Find the galaxies that are most like each query.

    Parameters
    ----------
    files : sequence of Path
        Features of every partition, from `galaxymill.spaces.project`.
    queries : sequence of Query
        All with, or all without whitening.
    wanted : int
        Galaxies of each query; all where there are fewer.
    mask : callable or None
        Gives for a file which of its rows may be found, shape (n,); None: all.
    advance : callable
        Is given 1 for each file that is done.

    Returns
    -------
    list of list of Hit
        By query, the most alike first; equals in the order of their names. The same for any
        partitions in any order.
    """
    vectors = torch.from_numpy(np.stack([query.rough()[0] for query in queries], axis=1))
    scales = queries[0].rough()[1]
    best = [_Best(wanted) for _ in queries]
    buffer = torch.empty(0, len(vectors))
    for number, path in enumerate(files):
        rows, features = read_features(path, mask)
        if len(buffer) < len(features):
            buffer = torch.empty(len(features), len(vectors))
        # Numbers of 16 bits become numbers of 32 in memory that is there already: it is quicker.
        values = buffer[: len(features)]
        values.copy_(torch.from_numpy(features))
        if scales is not None:
            values *= torch.from_numpy(scales)
        rough = values @ vectors / torch.linalg.vector_norm(values, dim=1, keepdim=True)
        least = torch.tensor([one.least for one in best])
        places, columns = torch.nonzero(rough >= least, as_tuple=True)
        estimates = rough[places, columns].numpy()
        for column in np.unique(columns.numpy()):
            chosen = columns.numpy() == column
            there = places.numpy()[chosen]
            best[column].add(number, rows[there], estimates[chosen], features[there])
        advance(1)
    return [one.hits(query, files) for one, query in zip(best, queries, strict=True)]


def read_features(
    path: Path, mask: Mask | None = None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float16]]:
    """Read the features of a partition: the rows that have some, and may be found; and these."""
    with open_parquet(path, ["features"]) as file:
        column = file.read(["features"], use_threads=False)["features"].combine_chunks()
    width = column.type.byte_width // 2
    values = np.frombuffer(column.buffers()[1] or b"", "<f2", len(column) * width)
    features = values.reshape(-1, width)
    there = np.ones(len(column), bool) if mask is None else mask(path).copy()
    if column.null_count:
        there &= column.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(there)
    return rows, features if len(rows) == len(features) else features[rows]


def _names(files: Sequence[Path], places: npt.NDArray[np.int64]) -> list[str]:
    """Read the names of galaxies at (file, row)."""
    names = np.empty(len(places), object)
    for number in np.unique(places[:, 0]):
        rows = np.flatnonzero(places[:, 0] == number)
        with open_parquet(files[number], ["object_id"]) as file:
            ids = file.read(["object_id"], use_threads=False)["object_id"]
        names[rows] = ids.take(pa.array(places[rows, 1])).to_pylist()
    return list(names)


def find_galaxies(files: Sequence[Path], wanted: Sequence[str]) -> dict[str, tuple[Path, int]]:
    """Find where galaxies stand, by their names; those that are nowhere are left out."""
    import pyarrow.compute as pc

    asked = pa.array(list(dict.fromkeys(wanted)), pa.string())
    found: dict[str, tuple[Path, int]] = {}
    for path in files:
        with open_parquet(path, ["object_id"]) as file:
            ids = file.read(["object_id"], use_threads=False)["object_id"]
        rows = np.flatnonzero(pc.is_in(ids, asked).to_numpy(zero_copy_only=False))
        found |= {str(ids[int(row)]): (path, int(row)) for row in rows}
        if len(found) == len(asked):
            break
    return found

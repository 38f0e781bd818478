"""Find the galaxies that are most like a query, exactly: every partition is read once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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


class _Candidates:
    """The best galaxies of each query so far, by their estimated likeness."""

    def __init__(self, queries: int, wanted: int) -> None:
        self._queries, self._wanted, self._count = queries, wanted, 0
        self.least = np.full(queries, -np.inf, np.float32)
        self._pieces: list[_Piece] = []

    def add(self, piece: "_Piece") -> None:
        """Add some; those that cannot be among the best are let go now and then."""
        self._pieces.append(piece)
        self._count += len(piece.query)
        if self._count > _HELD * self._wanted * self._queries:
            self.join()

    def join(self) -> "_Piece":
        """Keep the best alone, and raise what further ones must have."""
        whole = _Piece(*map(np.concatenate, zip(*self._pieces, strict=True)))
        kept = []
        for query in range(self._queries):
            own = np.flatnonzero(whole.query == query)
            if len(own) > self._wanted:
                place = len(own) - self._wanted
                self.least[query] = np.partition(whole.rough[own], place)[place] - _MARGIN
                own = own[whole.rough[own] >= self.least[query]]
            kept.append(own)
        piece = whole.take(np.concatenate(kept))
        self._pieces, self._count = [piece], len(piece.query)
        return piece


class _Piece(NamedTuple):
    """Candidates: of which query, estimated likeness, file, row, features."""

    query: npt.NDArray[np.int64]
    rough: npt.NDArray[np.float32]
    file: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    features: npt.NDArray[np.float16]

    def take(self, places: npt.NDArray[np.intp]) -> "_Piece":
        """Some of them."""
        return _Piece(*(column[places] for column in self))  # type: ignore[arg-type]


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
    candidates = _Candidates(len(queries), wanted)
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
        good = torch.nonzero(rough >= torch.from_numpy(candidates.least), as_tuple=True)
        place, query = (axis.numpy() for axis in good)
        of_file = np.full(len(place), number)
        likely = rough[good].numpy()
        candidates.add(_Piece(query, likely, of_file, rows[place], features[place]))
        advance(1)
    return _hits(candidates.join(), files, queries, wanted) if files else [[] for _ in queries]


def _hits(
    piece: _Piece, files: Sequence[Path], queries: Sequence[Query], wanted: int
) -> list[list[Hit]]:
    """Compute the likeness of the candidates, and sort them; ties by name."""
    names = _names(files, piece.file, piece.row)
    found = []
    for number, query in enumerate(queries):
        own = np.flatnonzero(piece.query == number)
        likeness = query.likeness(piece.features[own]).tolist()
        where = ((files[piece.file[one]], int(piece.row[one])) for one in own)
        hits = [
            Hit(value, names[one], *place)
            for value, one, place in zip(likeness, own, where, strict=True)
        ]
        found.append(sorted(hits, key=lambda hit: (-hit.likeness, hit.object_id))[:wanted])
    return found


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


def _names(
    files: Sequence[Path], file: npt.NDArray[np.int64], row: npt.NDArray[np.int64]
) -> list[str]:
    """Read the names of galaxies by file and row."""
    names = np.empty(len(file), object)
    order = np.argsort(file, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(file[order])) + 1):
        if len(own):
            with open_parquet(files[file[own[0]]], ["object_id"]) as opened:
                ids = opened.read(["object_id"], use_threads=False)["object_id"]
            names[own] = ids.take(pa.array(row[own])).to_pylist()
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

"""Find the galaxies that are most like a query, exactly: every partition is read once."""

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from galaxymill.search.likeness import Query
from galaxymill.spaces.space import as_matrix
from galaxymill.storage.parquet import open_parquet

_HELD = 4
"""Candidates held at once, in units of those that are wanted."""
_AHEAD = 2
"""Files begun for each thread, so that none waits for the others."""

Floats = npt.NDArray[np.float32]
Mask = Callable[[Path], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Hit:
    """A galaxy found: its likeness, its name, and where it stands."""

    likeness: float
    object_id: str
    file: Path
    row: int


class _Piece(NamedTuple):
    """Candidates: of which query, estimated likeness, file, row, features."""

    query: npt.NDArray[np.int64]
    rough: Floats
    file: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    features: npt.NDArray[np.float16]

    def take(self, places: npt.NDArray[np.intp]) -> "_Piece":
        """Some of them."""
        return _Piece(*(column[places] for column in self))  # type: ignore[arg-type]


class _Scan:
    """The best galaxies of each query so far, by a likeness in single precision."""

    def __init__(self, queries: Sequence[Query], wanted: int, mask: Mask | None) -> None:
        self._vectors = torch.from_numpy(np.stack([q.rough()[0] for q in queries], axis=1))
        scales = queries[0].rough()[1]
        self._scales = None if scales is None else torch.from_numpy(scales)
        self._wanted, self._mask = wanted, mask
        components, self._queries = self._vectors.shape
        # Rounding is off by less than components / 2^24; of two that are compared, twice. Some
        # comes with the scaling to length 1.
        self._margin = np.float32(2 * (components + 8) / 2**24)
        self._least = np.full(self._queries, -np.inf, np.float32)
        self._pieces: list[_Piece] = []
        self._count = 0
        self._own = threading.local()

    def read(self, number: int, path: Path) -> _Piece:
        """Give those of a file that may be among the best; threads may call it at once."""
        rows, features = read_features(path, self._mask)
        rough = self._rough(features)
        least = self._least
        if len(rows) > self._wanted and np.isinf(least).any():
            least = np.maximum(least, self._worst_wanted(rough))
        place, query = np.divmod(np.flatnonzero(rough >= least), self._queries)
        file = np.full(len(place), number)
        return _Piece(query, rough[place, query], file, rows[place], features[place])

    def _rough(self, features: npt.NDArray[np.float16]) -> Floats:
        """Likeness of galaxies to all queries, shape (n, n_queries)."""
        buffer = getattr(self._own, "buffer", None)
        if buffer is None or len(buffer) < len(features):
            buffer = self._own.buffer = torch.empty(features.shape)
        # Numbers of 16 bits become numbers of 32 in memory that is there already: it is quicker.
        values = buffer[: len(features)]
        values.copy_(torch.from_numpy(features))
        if self._scales is not None:
            values *= self._scales
        values /= torch.linalg.vector_norm(values, dim=1, keepdim=True)
        rough: Floats = (values @ self._vectors).numpy()
        return rough

    def _worst_wanted(self, rough: Floats) -> Floats:
        """Likeness that those wanted have at least, of each query, less what it may be off."""
        place = len(rough) - self._wanted
        worst: Floats = np.partition(rough, place, axis=0)[place] - self._margin
        return worst

    def add(self, piece: _Piece) -> None:
        """Add what a file has; those that cannot be among the best are let go now and then."""
        self._pieces.append(piece)
        self._count += len(piece.query)
        if self._count > _HELD * self._wanted * self._queries:
            self.join()

    def join(self) -> _Piece:
        """Keep the best alone, and raise what further ones must have."""
        whole = _Piece(*map(np.concatenate, zip(*self._pieces, strict=True)))
        least, kept = self._least.copy(), []
        for query in range(self._queries):
            own = np.flatnonzero(whole.query == query)
            if len(own) > self._wanted:
                least[query] = self._worst_wanted(whole.rough[own])
                own = own[whole.rough[own] >= least[query]]
            kept.append(own)
        piece = whole.take(np.concatenate(kept))
        self._least, self._pieces, self._count = least, [piece], len(piece.query)
        return piece


def nearest(
    files: Sequence[Path],
    queries: Sequence[Query],
    wanted: int,
    mask: Mask | None = None,
    advance: Callable[[int], None] = lambda _: None,
    threads: int = 0,
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
    threads : int
        Files that are read at once; 0: as many as this process may use CPUs.

    Returns
    -------
    list of list of Hit
        By query, the most alike first; equals in the order of their names. The same for any
        partitions in any order, and any number of threads.
    """
    if not files:
        return [[] for _ in queries]
    scan = _Scan(queries, wanted, mask)
    threads = threads or len(os.sched_getaffinity(0))
    with _one_thread_each(), ThreadPoolExecutor(threads, "search") as pool:
        begun: deque[Future[_Piece]] = deque()
        for number, path in enumerate(files):
            begun.append(pool.submit(scan.read, number, path))
            if len(begun) > _AHEAD * threads:
                scan.add(begun.popleft().result())
                advance(1)
        while begun:
            scan.add(begun.popleft().result())
            advance(1)
    return _hits(scan.join(), files, queries, wanted)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let each thread compute by itself: torch's own, of so little work, would mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # Bytes of a file are not to be changed, and are not.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            yield
    finally:
        torch.set_num_threads(before)


def _hits(
    piece: _Piece, files: Sequence[Path], queries: Sequence[Query], wanted: int
) -> list[list[Hit]]:
    """Compute the likeness of the candidates, and sort them; ties by name."""
    likeness = np.empty(len(piece.query))
    kept = []
    for number, query in enumerate(queries):
        own = np.flatnonzero(piece.query == number)
        likeness[own] = query.likeness(piece.features[own])
        if len(own) > wanted:
            place = len(own) - wanted
            own = own[likeness[own] >= np.partition(likeness[own], place)[place]]
        kept.append(own)
    places = np.concatenate(kept)
    names = dict(zip(places, _names(files, piece.file[places], piece.row[places]), strict=True))
    return [
        sorted(
            (
                Hit(float(likeness[one]), names[one], files[piece.file[one]], int(piece.row[one]))
                for one in own
            ),
            key=lambda hit: (-hit.likeness, hit.object_id),
        )[:wanted]
        for own in kept
    ]


def read_features(
    path: Path, mask: Mask | None = None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float16]]:
    """Read the features of a partition: the rows that have some, and may be found; and these."""
    with open_parquet(path, ["features"]) as file:
        column = file.read(["features"], use_threads=False)["features"]
    features = as_matrix(column)
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

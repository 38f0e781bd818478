"""The galaxies that may be shown: the best of the last full pass, and a share drawn by a hash."""

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.products import interest_columns
from galaxymill.progress import progress
from galaxymill.search.scan import find_galaxies
from galaxymill.spaces.space import as_matrix, require_space
from galaxymill.splits import uniform
from galaxymill.storage.parquet import read_columns

BEST, DRAWN = 50_000, 50_000
"""Galaxies that are the best of the last full pass; drawn from all."""

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Galaxies:
    """Some galaxies with features: where they stand, and what is known of each.

    Attributes
    ----------
    ids : list of str
    file, row : ndarray of int
        Their partition, and their row in every product of it.
    features : ndarray, shape (n, components), float16
    flags : ndarray of int32
    """

    ids: list[str]
    file: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    features: npt.NDArray[np.float16]
    flags: npt.NDArray[np.int32]

    @classmethod
    def join(cls, pieces: Sequence["Galaxies"]) -> "Galaxies":
        """Those of all pieces, one after the other."""
        names = [name for piece in pieces for name in piece.ids]
        arrays = zip(*((p.file, p.row, p.features, p.flags) for p in pieces), strict=True)
        return cls(names, *map(np.concatenate, arrays))


class Pool:
    """Galaxies that may be shown, by numbers; more are added when somebody names them.

    Attributes
    ----------
    files : sequence of Path
        Features of every partition.
    galaxies : Galaxies
        Those of the pool; it only grows, so that a number is good for ever.
    count : int
        Galaxies of the survey that have features.
    """

    def __init__(self, files: Sequence[Path], galaxies: Galaxies, count: int) -> None:
        self.files, self.galaxies, self.count = files, galaxies, count
        self._numbers = {name: number for number, name in enumerate(galaxies.ids)}
        self._absent: set[str] = set()
        self._lock = threading.Lock()

    def find(self, names: Iterable[str]) -> dict[str, int]:
        """Numbers of galaxies by name; those that are not there, or have no features, are left out.

        Who is not in the pool is looked for in the survey, once.
        """
        names = list(names)
        with self._lock:
            unknown = [n for n in names if n not in self._numbers and n not in self._absent]
            if unknown:
                self._add(unknown)
            return {name: self._numbers[name] for name in names if name in self._numbers}

    def _add(self, names: Sequence[str]) -> None:
        places: dict[Path, list[int]] = {}
        for path, row in find_galaxies(self.files, names).values():
            places.setdefault(path, []).append(row)
        for path, rows in places.items():
            table = _read(path)
            valid = table["features"].is_valid().to_numpy(zero_copy_only=False)
            chosen = np.array([row for row in rows if valid[row]], np.int64)
            more = _take(table, self.files.index(path), chosen)
            start = len(self.galaxies.ids)
            self.galaxies = Galaxies.join([self.galaxies, more])
            self._numbers |= {name: start + n for n, name in enumerate(more.ids)}
        self._absent.update(set(names) - self._numbers.keys())


def read_pool(
    files: Sequence[Path], digest: str, name: str, rated: Path, wanted: Iterable[str]
) -> Pool:
    """Read the survey once, and keep some of it.

    Parameters
    ----------
    files : sequence of Path
        Features of every partition.
    digest : str
        Of their space.
    name : str
        Of the interest.
    rated : Path
        Folder of its last full pass, a file a partition; it may be absent.
    wanted : iterable of str
        Galaxies that are kept in any case.
    """
    asked = pa.array(sorted(set(wanted)), pa.string())
    total = sum(pq.read_metadata(path).num_rows for path in files)
    limit = DRAWN / max(total, 1)
    best = _best(files, rated, interest_columns(name)[2])
    pieces, count = [], 0
    with progress("galaxies to choose from", len(files), "partitions") as advance:
        for number, path in enumerate(files):
            require_space(path, digest)
            table = _read(path)
            valid = table["features"].is_valid().to_numpy(zero_copy_only=False)
            count += int(valid.sum())
            ids = table["object_id"]
            kept = pc.is_in(ids, asked).to_numpy(zero_copy_only=False)
            kept |= np.fromiter((uniform(f"rate:{one}") < limit for one in ids.to_pylist()), bool)
            kept[best.get(number, [])] = True
            pieces.append(_take(table, number, np.flatnonzero(kept & valid)))
            advance(1)
    pool = Pool(files, Galaxies.join(pieces), count)
    logger.info("rate: %d of %d galaxies to choose from", len(pool.galaxies.ids), count)
    return pool


def _best(files: Sequence[Path], rated: Path, column: str) -> dict[int, npt.NDArray[np.intp]]:
    """Rows of the galaxies with the best score in the last full pass, by the file's number."""
    scores = {}
    for number, path in enumerate(files):
        if (rated / path.name).is_file():
            values = read_columns(rated / path.name, [column])[column].to_numpy()
            if len(values) == pq.read_metadata(path).num_rows:
                scores[number] = np.nan_to_num(values, nan=-np.inf)
    every = np.concatenate([np.empty(0, np.float32), *scores.values()])
    best = np.zeros(len(every), np.bool_)
    # So many and no more, though all may be alike.
    best[np.argpartition(-every, BEST)[:BEST] if len(every) > BEST else slice(None)] = True
    best &= np.isfinite(every)
    ends = np.cumsum([len(own) for own in scores.values()])
    return dict(zip(scores, map(np.flatnonzero, np.split(best, ends)), strict=False))


def _read(path: Path) -> pa.Table:
    return read_columns(path, ["object_id", "flags", "features"])


def _take(table: pa.Table, number: int, rows: npt.NDArray[Any]) -> Galaxies:
    ids, flags = (table[name].take(pa.array(rows)) for name in ("object_id", "flags"))
    features = as_matrix(table["features"])[rows]
    file = np.full(len(rows), number, np.int64)
    return Galaxies(ids.to_pylist(), file, rows.astype(np.int64), features, flags.to_numpy())

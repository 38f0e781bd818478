"""The catalogue's own columns of a release, read in the order of the sky."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxymill.errors import UserError
from galaxymill.release.sources import require_digest
from galaxymill.sky.healpix import Pixel
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import open_parquet


class Catalog:
    """``objects.parquet``, tile by tile: `read` them all in order, then `finish`.

    Tiles of the survey hold no more than what their galaxies are fetched by, so that a column
    that is kept for the release alone comes from here.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._record = path, read_record(path, "ingest")
        with open_parquet(path) as file:
            self._index = file.read(["_healpix_29"])["_healpix_29"].to_numpy()
            groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            self._digest = TableDigest(file.schema_arrow)
        self._ends = np.cumsum(groups)
        self._next = 0

    def read(self, tile: Pixel) -> pa.Table:
        """Read the galaxies of the next tile, each column in one piece.

        Raises
        ------
        UserError
            When there are others before it, or not so many in it, as the survey's tiles have.
        """
        start, stop = np.searchsorted(self._index, tile.range).tolist()
        if start != self._next or stop - start != tile.rows:
            raise not_of_the_tiles(self.path)
        self._next = stop
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right").tolist()
        with open_parquet(self.path) as file:
            rows = file.read_row_groups(range(first, last + 1), use_threads=False)
        before = int(self._ends[first - 1]) if first else 0
        rows = rows.slice(start - before, stop - start).combine_chunks()
        self._digest.update(rows)
        return rows

    def finish(self) -> None:
        """See that there were no others, and that all rows are those that were written."""
        if self._next != len(self._index):
            raise not_of_the_tiles(self.path)
        require_digest(self._digest, self.path, self._record, "ingest")


def not_of_the_tiles(path: Path) -> UserError:
    """Say that the tiles were cut from another catalogue."""
    return UserError(f"{path}: its galaxies are not those of the tiles; run partition again")

"""The tables of a release, written side by side, tile by tile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.detectability.table import Detectable
from galaxymill.progress import progress
from galaxymill.release.columns import PARQUET, Column, schema_of
from galaxymill.release.documents.highlights import Highlights
from galaxymill.release.found import Found
from galaxymill.release.predictions import Prediction, mask_unasked
from galaxymill.release.settings import ReleaseSettings
from galaxymill.release.sources import Part
from galaxymill.release.tables.catalog import Catalog
from galaxymill.release.tables.fits_table import MOST_ROWS, FitsTable, open_fits
from galaxymill.release.tables.hats_catalog import Collection
from galaxymill.release.tables.parts import PartReader
from galaxymill.release.tables.rows import read_rows
from galaxymill.release.tables.validation import check_rows
from galaxymill.release.tables.votable import described_schema
from galaxymill.sky.healpix import Pixel
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import ProductWriter, open_product


@dataclass
class Merge:
    """Merges the partitions into the tables, one tile of the HATS catalog at a time.

    ``widths`` are the most bytes of each column of texts.
    """

    catalog: Catalog
    parts: Sequence[Part]
    tiles: Sequence[Pixel]
    columns: Sequence[Column]
    predictions: Sequence[Prediction]
    settings: ReleaseSettings
    widths: Mapping[str, int]
    threads: int
    found: Sequence[Found] = ()
    detectable: Detectable | None = None

    def __post_init__(self) -> None:
        self._schema = schema_of(self.columns)
        tile = pq.read_schema(self.parts[0].files["tile"])
        self._reader = PartReader(tile, self.predictions, self.found)
        self.highlights = Highlights(self.predictions, self.settings.friendly_cut)
        places = [Pixel(p.partition.order, p.partition.pixel, 0).range for p in self.parts]
        self._first, self._end = np.array(places, np.int64).reshape(-1, 2).T

    def write(self, folder: Path, collection: Collection | None, origin: Origin, name: str) -> None:
        """Write the tables, and the tiles of the collection, which is None without positions."""
        total = sum(tile.rows for tile in self.tiles)
        schemas = {t: described_schema(self.columns, t, self.widths) for t in PARQUET}
        hats = schema_of(self.columns, "hats").names
        with (
            open_product(folder / "friendly.parquet", schemas["friendly"], origin) as friendly,
            open_product(folder / "advanced.parquet", schemas["advanced"], origin) as advanced,
            self._fits(folder, name, total) as fits,
            ThreadPoolExecutor(self.threads) as pool,
            progress("release", total) as advance,
        ):
            for tile, rows in self._read_ahead(pool):
                done = [
                    pool.submit(advanced.write, rows.select(advanced.names)),
                    pool.submit(check_rows, rows, self.columns),
                    pool.submit(self.highlights.add, rows),
                    pool.submit(self._write_friendly, friendly, rows, schemas["friendly"]),
                ]
                if self.settings.fits:
                    done.append(pool.submit(fits, tile, rows))
                if collection is not None:
                    done.append(pool.submit(collection.add, tile, rows.select(hats)))
                for task in done:
                    task.result()
                advance(tile.rows)
            self.catalog.finish()

    def _write_friendly(self, writer: ProductWriter, rows: pa.Table, schema: pa.Schema) -> None:
        writer.write(mask_unasked(rows, self.predictions, schema, self.settings.friendly_cut))

    def _read_ahead(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Pixel, pa.Table]]:
        """Read the rows of each tile; the next is read while one is written."""
        waiting = [pool.submit(self._read, tile) for tile in self.tiles[:1]]
        for place, tile in enumerate(self.tiles):
            rows = waiting.pop().result()
            waiting += [pool.submit(self._read, t) for t in self.tiles[place + 1 : place + 2]]
            yield tile, rows

    def _read(self, tile: Pixel) -> pa.Table:
        """Rows of one tile: partitions of several generations may overlap it."""
        low, high = tile.range
        places = np.flatnonzero((self._first < high) & (self._end > low)).tolist()
        parts = [self.parts[place] for place in places]
        catalog = self.catalog.read(tile)
        chosen = self.predictions, self.settings.selections, self.found, self.detectable
        return read_rows(catalog, parts, self._schema, self._reader, *chosen)

    @contextmanager
    def _fits(
        self, folder: Path, name: str, total: int
    ) -> Iterator[Callable[[Pixel, pa.Table], None]]:
        """Write one FITS table, or one a tile where that would be too long."""
        columns = [c for c in self.columns if "advanced" in c.tables and not c.is_list]
        with ExitStack() as stack:
            one: FitsTable | None = None
            if self.settings.fits and total <= MOST_ROWS:
                path = folder / "catalog.fits"
                one = stack.enter_context(open_fits(path, columns, self.widths, total, name))

            def write(tile: Pixel, rows: pa.Table) -> None:
                if one is not None:
                    one.write(rows)
                    return
                path = folder / "catalog" / f"k{tile.order}-p{tile.pixel}.fits"
                with open_fits(path, columns, self.widths, tile.rows, name) as table:
                    table.write(rows)

            yield write

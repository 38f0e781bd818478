"""Stage ``partition``: cut a catalogue into HEALPix tiles whose members never change.

Galaxies added later form new tiles of the next generation, so that a growing survey never
fetches anything twice; the release regroups them by their place on the sky.
"""

import csv
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.sky.healpix import Integers, Pixel, count_pixels, cut_sky
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import read_columns, write_product

_WRITERS = 8
"""A small file that must be on disk takes longer to wait for than to write."""
COLUMNS = ("part", "order", "pixel", "n_rows")

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Partition:
    """One row of ``partitions.csv``: a nested HEALPix pixel and its number of galaxies.

    Its name ``part`` is ``g{generation}-k{order}-p{pixel}``.
    """

    part: str
    order: int
    pixel: int
    n_rows: int

    @property
    def generation(self) -> int:
        """Which addition to the catalogue it came with; 0 is the first."""
        return int(self.part.split("-")[0].removeprefix("g"))

    @property
    def range(self) -> tuple[int, int]:
        """First and one past the last order-29 pixel of its tile."""
        return Pixel(self.order, self.pixel, self.n_rows).range


def read_partitions(path: Path) -> list[Partition]:
    """Read ``partitions.csv``; `UserError` when it is not such a table."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run partition first")
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{path}: columns are {reader.fieldnames}, not {', '.join(COLUMNS)}")
        try:
            return [
                Partition(row["part"], int(row["order"]), int(row["pixel"]), int(row["n_rows"]))
                for row in reader
            ]
        except (TypeError, ValueError, csv.Error) as error:
            raise UserError(
                f"{path}: line {reader.line_num} is no partition ({error}); remove it and run "
                "partition again"
            ) from error


def part_files(partitions: Path, folder: Path) -> list[Path]:
    """List the files of ``folder``, one per partition, in the catalogue's order."""
    return [folder / f"{partition.part}.parquet" for partition in read_partitions(partitions)]


def partition(objects: Path, out: Path, galaxies_per_partition: int) -> None:
    """Cut the catalogue into tiles, keeping those that exist.

    Parameters
    ----------
    objects : Path
        ``objects.parquet``, from `galaxymill.catalog.ingest.ingest`.
    out : Path
        ``partitions.csv``; the tiles are written to ``tiles/`` beside it, each only when it is
        new or its rows have changed.
    galaxies_per_partition : int
        At most so many galaxies a tile.

    Raises
    ------
    UserError
        When a galaxy of an existing tile is gone from the catalogue, or a field is too dense.
    """
    with exclusive(out):
        record = read_record(objects, "ingest")
        # Whole row groups read ahead would take as much memory again as the table.
        table = pq.read_table(objects, columns=_tile_columns(objects), pre_buffer=False)
        origin = _origin(record.origin, galaxies_per_partition)
        folder = out.parent / "tiles"
        old = read_partitions(out) if out.exists() else _recover(folder)
        rows = _existing_members(old, folder, table, objects)
        new = _new_tiles(table, _others(rows, table.num_rows), old, galaxies_per_partition)

        def write(tile: Partition, members: Integers) -> None:
            _write_tile(folder / f"{tile.part}.parquet", _take(table, members), origin)

        with ThreadPoolExecutor(_WRITERS) as pool:
            pairs = [*zip(old, rows, strict=True), *new]
            list(pool.map(write, *zip(*pairs, strict=True)))
        _write_table(out, sorted([*old, *(tile for tile, _ in new)], key=_place))
    logger.info("partition: %d partitions, %d of them new", len(old) + len(new), len(new))


def _origin(ingested: dict[str, Any], galaxies_per_partition: int) -> Origin:
    """Origin of a tile, which depends on its own rows alone.

    The digest of the whole catalogue would change that of every tile when a galaxy is added.
    """
    columns = {k: v for k, v in ingested["parameters"].items() if k not in {"keep", "types"}}
    parameters = {"galaxies_per_partition": galaxies_per_partition, "columns": columns}
    return Origin("partition", parameters)


def _tile_columns(objects: Path) -> list[str]:
    """Name what a galaxy is fetched by. A column that is only kept for the release is left out:
    to keep another one must not fetch the survey again.
    """
    own = products.objects(products.OPTIONAL_OBJECT_COLUMNS).names
    return [name for name in pq.read_schema(objects).names if name in own]


def _place(tile: Partition) -> tuple[int, int]:
    """Sort key: generations follow each other, each in the order of the sky."""
    return tile.generation, tile.range[0]


def _recover(folder: Path) -> list[Partition]:
    """List the tiles anew when a workflow manager has removed the table before a rerun."""
    tiles = []
    for path in sorted(folder.glob("g*-k*-p*.parquet")):
        _, order, pixel = path.stem.split("-")
        rows = pq.read_metadata(path).num_rows
        tiles.append(Partition(path.stem, int(order[1:]), int(pixel[1:]), rows))
    return tiles


def _existing_members(
    old: list[Partition], folder: Path, table: pa.Table, objects: Path
) -> list[Integers]:
    """Row numbers, in today's catalogue, of the members of each tile that exists.

    They are looked for where they were, and elsewhere only when they are not found there.
    """
    index, ids = table["_healpix_29"].to_numpy(), table["object_id"]
    rows = []
    for tile in old:
        path = folder / f"{tile.part}.parquet"
        members = read_columns(path, ["object_id"])["object_id"]
        low, high = np.searchsorted(index, tile.range)
        found = low + _matching(ids.slice(low, high - low), members)
        if len(found) < len(members):
            found = _matching(ids, members)
        if len(found) < len(members):
            gone = set(members.to_pylist()) - set(ids.take(pa.array(found)).to_pylist())
            raise UserError(
                f"{objects}: {len(gone)} galaxies of {path.name} are gone from the catalogue, "
                f"e.g. {sorted(gone)[0]!r}; partitions never lose members: put them back, or "
                "name the survey anew to start over"
            )
        rows.append(found)
    return rows


def _matching(ids: pa.ChunkedArray, members: pa.ChunkedArray) -> Integers:
    """Places of ``ids`` that are among the members."""
    return np.flatnonzero(pc.is_in(ids, members).to_numpy())


def _others(rows: list[Integers], count: int) -> Integers:
    """Row numbers that no tile has."""
    free = np.ones(count, bool)
    for taken in rows:
        free[taken] = False
    return np.flatnonzero(free)


def _new_tiles(
    table: pa.Table, rest: Integers, old: list[Partition], most: int
) -> list[tuple[Partition, Integers]]:
    """Cut the galaxies that are in no tile yet, the rows ``rest``; each tile with its rows."""
    if len(rest) == 0:
        return []
    generation = 1 + max((tile.generation for tile in old), default=-1)
    # The catalogue is in the order of the sky: a pixel's galaxies follow each other.
    index = table["_healpix_29"].to_numpy()[rest]
    tiles = []
    for place in cut_sky(count_pixels(index), most, "galaxies_per_partition"):
        low, high = np.searchsorted(index, place.range)
        name = f"g{generation}-k{place.order}-p{place.pixel}"
        tile = Partition(name, place.order, place.pixel, int(high - low))
        tiles.append((tile, rest[low:high]))
    if sum(tile.n_rows for tile, _ in tiles) != len(rest):
        raise AssertionError("tiles do not add up to the catalogue")
    return tiles


def _take(table: pa.Table, rows: Integers) -> pa.Table:
    """Take rows, in their order; those that follow each other are not copied."""
    first, last = int(rows[0]), int(rows[-1])
    whole = table.slice(first, last + 1 - first)
    return whole if whole.num_rows == len(rows) else whole.take(pa.array(rows - first))


def _write_tile(path: Path, rows: pa.Table, origin: Origin) -> None:
    """Write a tile unless one with the same rows is there: its time stamp then stays."""
    if path.exists():
        digest = TableDigest(rows.schema)
        digest.update(rows)
        if read_record(path).digest == digest.hexdigest():
            return
    write_product(path, rows, origin, rows.schema)


def _write_table(out: Path, tiles: list[Partition]) -> None:
    with atomic_file(out) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(map(astuple, tiles))

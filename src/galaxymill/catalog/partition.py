"""Stage ``partition``: cut a catalogue into HEALPix tiles whose members never change.

Galaxies added later form new tiles of the next generation, so that a growing survey never
fetches anything twice; the release regroups them by their place on the sky.
"""

import csv
import io
import logging
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.catalog.healpix import Pixel, count_pixels, cut_sky
from galaxymill.errors import UserError
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

COLUMNS = ("part", "order", "pixel", "n_rows")

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Partition:
    """One row of ``partitions.csv``.

    Attributes
    ----------
    part : str
        Its name, ``g{generation}-k{order}-p{pixel}``.
    order, pixel : int
        HEALPix tile (nested).
    n_rows : int
        Number of galaxies.
    """

    part: str
    order: int
    pixel: int
    n_rows: int

    @property
    def generation(self) -> int:
        """Which addition to the catalogue it came with; 0 is the first."""
        return int(self.part.split("-")[0].removeprefix("g"))


def read_partitions(path: Path) -> list[Partition]:
    """Read ``partitions.csv``.

    Raises
    ------
    UserError
        When it is not such a table.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run partition first")
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{path}: columns are {reader.fieldnames}, not {', '.join(COLUMNS)}")
        return [
            Partition(row["part"], int(row["order"]), int(row["pixel"]), int(row["n_rows"]))
            for row in reader
        ]


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
        table = pq.read_table(objects)
        parameters = {"galaxies_per_partition": galaxies_per_partition}
        folder = out.parent / "tiles"
        known = read_partitions(out) if out.exists() else _recover(folder)
        rest = table
        for tile in known:
            rows = _existing_members(folder / f"{tile.part}.parquet", table, objects)
            _write_tile(folder / f"{tile.part}.parquet", rows, record.origin, parameters)
            rest = rest.filter(pc.invert(pc.is_in(rest["object_id"], rows["object_id"])))
        generation = 1 + max((tile.generation for tile in known), default=-1)
        new = _new_tiles(
            rest, generation, galaxies_per_partition, folder, record.origin, parameters
        )
        _write_table(out, sorted([*known, *new], key=_place))
    logger.info("partition: %d partitions, %d of them new", len(known) + len(new), len(new))


def _place(tile: Partition) -> tuple[int, int]:
    """Sort key: generations follow each other, each in the order of the sky."""
    return tile.generation, Pixel(tile.order, tile.pixel, tile.n_rows).range[0]


def _recover(folder: Path) -> list[Partition]:
    """Know the tiles again when a workflow manager has removed the table before a rerun."""
    tiles = []
    for path in sorted(folder.glob("g*-k*-p*.parquet")):
        _, order, pixel = path.stem.split("-")
        rows = pq.read_metadata(path).num_rows
        tiles.append(Partition(path.stem, int(order[1:]), int(pixel[1:]), rows))
    return tiles


def _existing_members(tile: Path, table: pa.Table, objects: Path) -> pa.Table:
    """Today's rows of an existing tile's members."""
    members = pq.read_table(tile, columns=["object_id"])["object_id"]
    rows = table.filter(pc.is_in(table["object_id"], members))
    if rows.num_rows != len(members):
        gone = set(members.to_pylist()) - set(rows["object_id"].to_pylist())
        raise UserError(
            f"{objects}: {len(gone)} galaxies of {tile.name} are gone from the catalogue, e.g. "
            f"{sorted(gone)[0]!r}; partitions never lose members: put them back, or name the "
            "survey anew to start over"
        )
    return rows


def _new_tiles(
    rest: pa.Table,
    generation: int,
    threshold: int,
    folder: Path,
    ingested: dict[str, object],
    parameters: dict[str, int],
) -> list[Partition]:
    """Cut the galaxies that are in no tile yet."""
    if rest.num_rows == 0:
        return []
    index = rest["_healpix_29"].to_numpy()
    tiles = []
    for place in cut_sky(count_pixels(index), threshold, "galaxies_per_partition"):
        name = f"g{generation}-k{place.order}-p{place.pixel}"
        low, high = place.range
        rows = rest.filter(pa.array((index >= low) & (index < high)))
        tiles.append(Partition(name, place.order, place.pixel, rows.num_rows))
        _write_tile(folder / f"{name}.parquet", rows, ingested, parameters)
    if sum(tile.n_rows for tile in tiles) != rest.num_rows:
        raise AssertionError("tiles do not add up to the catalogue")
    return tiles


def _write_tile(
    path: Path, rows: pa.Table, ingested: dict[str, object], parameters: dict[str, int]
) -> None:
    """Write a tile unless one with the same rows is there: its time stamp then stays."""
    digest = TableDigest(rows.schema)
    digest.update(rows)
    if path.exists() and read_record(path).digest == digest.hexdigest():
        return
    # The tile depends on its own rows alone: the digest of the whole catalogue would change
    # every tile's origin whenever one galaxy is added elsewhere.
    columns = {"columns": ingested["parameters"]}
    write_product(path, rows, Origin("partition", {**parameters, **columns}), rows.schema)


def _write_table(out: Path, tiles: list[Partition]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(tile) for tile in tiles)
    with atomic_file(out) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")

"""A pass over every partition before anything is written: who is in it, and where they are."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.errors import UserError
from galaxymill.progress import progress
from galaxymill.release.columns import Column
from galaxymill.release.sources import Part, maker, prove
from galaxymill.release.tables.fits_table import is_text
from galaxymill.sky.healpix import HIGHEST_ORDER, INDEX_ORDER, Pixel
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.parquet import open_parquet, read_batches

Histogram = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inspection:
    """What the tables of a release must know beforehand.

    Attributes
    ----------
    counts : ndarray of int64, shape (12 · 4^HIGHEST_ORDER,)
        Galaxies in each nested HEALPix pixel.
    widths : mapping of str to int
        Most bytes of each column of texts.
    """

    counts: Histogram
    widths: Mapping[str, int]


def inspect_parts(
    objects: Path,
    parts: Sequence[Part],
    schemas: Mapping[str, pa.Schema],
    columns: Sequence[Column],
    threads: int,
) -> Inspection:
    """Refuse partitions whose files do not hold the tile's galaxies, each once and in order.

    Parameters
    ----------
    objects : Path
        ``objects.parquet``: the catalogue's columns of texts are its.
    parts : sequence of Part
    schemas : mapping of str to pyarrow.Schema
        See `galaxymill.release.tables.rows.part_schemas`.
    columns : sequence of Column
        The registry.
    threads : int

    Raises
    ------
    UserError
        With the file, and how many galaxies are missing, given twice, of no tile or out of place.
    """
    texts = {column.name for column in columns if is_text(column.field.type)}
    counts: Histogram = np.zeros(12 * 4**HIGHEST_ORDER, np.int64)
    widths = _catalog_widths(objects, texts)
    with (
        ThreadPoolExecutor(threads) as pool,
        progress("check", len(parts), "partitions") as advance,
    ):
        for pixels, numbers, longest in pool.map(
            lambda part: _inspect(part, schemas, texts), parts
        ):
            counts[pixels] += numbers
            _widen(widths, longest)
            advance()
    return Inspection(counts, widths)


_Seen = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], dict[str, int]]


def _inspect(part: Part, schemas: Mapping[str, pa.Schema], texts: Set[str]) -> _Seen:
    """Pixels that hold galaxies of a partition, how many, and the widths of its texts."""
    tile = _read(part, "tile", schemas["tile"], {*schemas["tile"].names})
    prove(tile, part.files["tile"], part.records["tile"], "partition", TableDigest(tile.schema))
    tables = {"cutouts": _read(part, "cutouts", schemas["cutouts"], texts)}
    for role in part.files.keys() - tables.keys() - {"tile"}:
        tables[role] = _read(part, role, schemas[role], {"object_id"})
    wanted = tile["object_id"]
    for role, table in tables.items():
        if not table["object_id"].equals(wanted):
            what = _id_differences(wanted.to_pylist(), table["object_id"].to_pylist())
            raise UserError(
                f"{part.files[role]}: not the galaxies of {part.files['tile']}: {what}; "
                f"run {maker(role)} again"
            )
    return *_count(part, tile["_healpix_29"].to_numpy()), _widths(tables["cutouts"])


def _catalog_widths(objects: Path, texts: Set[str]) -> dict[str, int]:
    names = [name for name in pq.read_schema(objects).names if name in texts]
    widths: dict[str, int] = {}
    for batch in read_batches(objects, names, 100_000):
        _widen(widths, _widths(batch))
    return widths


def _widen(widths: dict[str, int], more: Mapping[str, int]) -> None:
    for name, width in more.items():
        widths[name] = max(widths.get(name, 1), width)


def _widths(texts: pa.Table) -> dict[str, int]:
    return {name: pc.max(pc.binary_length(texts[name])).as_py() or 1 for name in texts.column_names}


def _read(part: Part, role: str, wanted: pa.Schema, columns: Set[str]) -> pa.Table:
    """Read those of some columns that a file has."""
    path = part.files[role]
    with open_parquet(path) as file:
        if not file.schema_arrow.equals(wanted):
            raise UserError(
                f"{path}: columns are not those of the other partitions and of the model: "
                f"{_schema_differences(file.schema_arrow, wanted)}; run {maker(role)} again"
            )
        return file.read([n for n in wanted.names if n in columns], use_threads=False)


def _schema_differences(found: pa.Schema, wanted: pa.Schema) -> str:
    theirs, ours = (dict(zip(one.names, one.types, strict=True)) for one in (found, wanted))
    odd = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
    return ", ".join(odd[:5]) or "another order"


def _id_differences(wanted: Sequence[str], found: Sequence[str]) -> str:
    """Say what is wrong with ``found``: counts, and the first id of each kind."""
    once, counts = set(wanted), Counter(found)
    kinds = {
        "missing": sorted(once - set(counts)),
        "given twice": sorted(name for name, count in counts.items() if count > 1),
        "orphan": sorted(set(counts) - once),
    }
    told = [f"{len(ids)} {kind} (e.g. {ids[0]!r})" for kind, ids in kinds.items() if ids]
    return ", ".join(told) or "another order"


def _count(
    part: Part, index: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count a partition's galaxies by pixel; all must lie in the partition's own."""
    place = part.partition
    low, high = Pixel(place.order, place.pixel, place.n_rows).range
    outside = int(((index < low) | (index >= high)).sum())
    if outside:
        raise UserError(
            f"{part.files['tile']}: {outside} galaxies outside HEALPix pixel {place.pixel} of "
            f"order {place.order}; run partition again"
        )
    return np.unique(index >> 2 * (INDEX_ORDER - HIGHEST_ORDER), return_counts=True)

"""Read the files of one partition, and prove that they hold the tile's galaxies in order."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.release.found import Found
from galaxymill.release.predictions import Prediction
from galaxymill.release.sources import Part, maker, require_digest
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.parquet import open_parquet

_PLAIN: dict[str, tuple[pa.Schema, list[str]]] = {
    "cutouts": (products.CUTOUTS, ["object_id", "status"]),
    "images": (
        products.IMAGES,
        ["object_id", "flags", *(measured.name for measured in products.IMAGE_QUALITY)],
    ),
}
"""Schema of the files whose rows are not proved (it would be to read every picture of the survey
again), and the columns that a release takes of them."""


class PartReader:
    """Reads partitions, one at a time; ``tile`` is the schema of every tile."""

    def __init__(
        self, tile: pa.Schema, predictions: Sequence[Prediction], found: Sequence[Found] = ()
    ) -> None:
        proved = {"tile": tile} | {one.role: one.schema for one in predictions}
        proved |= {one.role: one.schema for one in found}
        self._proved = {role: (schema, TableDigest(schema)) for role, schema in proved.items()}

    def read(self, part: Part) -> dict[str, pa.Table]:
        """Read the files of a partition, by role.

        Raises
        ------
        UserError
            When a file's columns are others than those of the other partitions, when rows are
            not those that were written, or a galaxy is missing, given twice, of no tile or out
            of place.
        """
        tables = {}
        for role, (schema, digest) in self._proved.items():
            tables[role] = _read(part, role, schema, schema.names)
            digest.restart()
            digest.update(tables[role])
            require_digest(digest, part.files[role], part.records[role], maker(role))
        for role, (schema, names) in _PLAIN.items():
            tables[role] = _read(part, role, schema, names)
        _check_ids(part, tables)
        return tables


def _read(part: Part, role: str, wanted: pa.Schema, columns: Sequence[str]) -> pa.Table:
    path = part.files[role]
    # ParquetFile, not read_table: a folder called ``a=b`` must not become a column.
    with open_parquet(path) as file:
        if not file.schema_arrow.equals(wanted):
            raise UserError(
                f"{path}: columns are not those of the other partitions and of the model: "
                f"{_schema_differences(file.schema_arrow, wanted)}; run {maker(role)} again"
            )
        return file.read(list(columns), use_threads=False)


def _schema_differences(found: pa.Schema, wanted: pa.Schema) -> str:
    theirs, ours = (dict(zip(one.names, one.types, strict=True)) for one in (found, wanted))
    odd = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
    return ", ".join(odd[:5]) or "another order"


def _check_ids(part: Part, tables: Mapping[str, pa.Table]) -> None:
    wanted = tables["tile"]["object_id"]
    for role, table in tables.items():
        if not table["object_id"].equals(wanted):
            what = _id_differences(wanted.to_pylist(), table["object_id"].to_pylist())
            raise UserError(
                f"{part.files[role]}: not the galaxies of {part.files['tile']}: {what}; "
                f"run {maker(role)} again"
            )


def _id_differences(wanted: Sequence[str], found: Sequence[str]) -> str:
    """Describe what is wrong with ``found``: counts, and the first id of each kind."""
    once, counts = set(wanted), Counter(found)
    kinds = {
        "missing": sorted(once - set(counts)),
        "given twice": sorted(name for name, count in counts.items() if count > 1),
        "orphan": sorted(set(counts) - once),
    }
    odd = [f"{len(ids)} {kind} (e.g. {ids[0]!r})" for kind, ids in kinds.items() if ids]
    return ", ".join(odd) or "another order"

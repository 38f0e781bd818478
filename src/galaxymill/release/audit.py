"""Audit a release as a whole with DuckDB, which spills to disk instead of filling memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from galaxymill import flags
from galaxymill.errors import UserError

MEMORY_LIMIT = "1GB"
THREADS = 2


@dataclass(frozen=True)
class Audit:
    """Counts of galaxies in the catalogue and in one table of the release."""

    catalogue_rows: int
    released_rows: int
    distinct_ids: int
    missing: int
    orphan: int

    @property
    def is_complete(self) -> bool:
        """Whether every galaxy of the catalogue was released exactly once."""
        rows = {self.catalogue_rows, self.released_rows, self.distinct_ids}
        return len(rows) == 1 and not self.missing and not self.orphan


@dataclass(frozen=True)
class Census:
    """Number of galaxies by cutout status, by flag, and by prediction that lacks them."""

    status: dict[str, int]
    flags: dict[str, int]
    unfit: dict[str, int]


@contextmanager
def open_database(scratch: Path) -> Iterator[Any]:
    """Open an in-memory database that spills into ``scratch``."""
    import duckdb

    with TemporaryDirectory(dir=scratch, prefix=".audit-") as spill:
        limits = {"memory_limit": MEMORY_LIMIT, "threads": THREADS, "temp_directory": spill}
        with duckdb.connect(config=limits) as database:
            yield database


def audit(objects: Path, tables: Mapping[str, Sequence[Path]], scratch: Path) -> dict[str, Audit]:
    """Compare the ids of the catalogue with those of the files of every table of the release.

    Raises
    ------
    UserError
        When the catalogue has a galaxy in more than one row.
    RuntimeError
        When a table is not the catalogue, each galaxy once; gives the counts.
    """
    audits = {}
    with open_database(scratch) as database:
        _refuse_duplicates(database, objects)
        catalogue = _fingerprint(database, [objects])
        for name, files in tables.items():
            if _fingerprint(database, files) == catalogue:
                audits[name] = Audit(catalogue[0], catalogue[0], catalogue[0], 0, 0)
            else:
                audits[name] = _compare(database, objects, files)
    wrong = {name: found for name, found in audits.items() if not found.is_complete}
    if wrong:
        raise RuntimeError(f"the release is not the catalogue, each galaxy once: {wrong}")
    return audits


def _refuse_duplicates(database: Any, objects: Path) -> None:
    paths = {"objects": str(objects)}
    # Numbers are counted several times as fast as texts.
    count = "SELECT count(*) - count(DISTINCT hash(object_id)) FROM read_parquet($objects)"
    (alike,) = database.execute(count, paths).fetchone()
    query = """
        SELECT object_id, count(*) OVER () FROM read_parquet($objects)
        GROUP BY object_id HAVING count(*) > 1 ORDER BY object_id LIMIT 1
    """
    twice = database.execute(query, paths).fetchone() if alike else None
    if twice:
        raise UserError(
            f"{objects}: {twice[1]} galaxies in more than one row, e.g. {twice[0]!r}; keep one row "
            "per galaxy in the catalogue and run partition again"
        )


def _fingerprint(database: Any, files: Sequence[Path]) -> tuple[int, ...]:
    """Number of ids, and sums of their hashes, which no order changes.

    As the catalogue has each id once, a table with the same sums has the same ids.
    """
    query = """
        SELECT count(*), sum(hash(object_id)::HUGEINT), bit_xor(hash(object_id))
        FROM read_parquet($files, hive_partitioning = false)
    """
    return tuple(database.execute(query, {"files": [str(file) for file in files]}).fetchone())


def _compare(database: Any, objects: Path, table: Sequence[Path]) -> Audit:
    """Count what a table lacks, and what it has too much."""
    query = """
        WITH catalogue AS (SELECT object_id FROM read_parquet($objects)),
             released AS (SELECT object_id FROM read_parquet($table, hive_partitioning = false))
        SELECT (SELECT count(*) FROM catalogue),
               (SELECT count(*) FROM released),
               (SELECT count(DISTINCT object_id) FROM released),
               (SELECT count(*) FROM catalogue ANTI JOIN released USING (object_id)),
               (SELECT count(*) FROM released ANTI JOIN catalogue USING (object_id))
    """
    paths = {"objects": str(objects), "table": [str(path) for path in table]}
    return Audit(*database.execute(query, paths).fetchone())


def census(advanced: Path, unfit_bits: Mapping[str, int], scratch: Path) -> Census:
    """Count galaxies by status, by flag, and by prediction whose ``unfit_bits`` they have."""
    table = {"table": str(advanced)}
    with open_database(scratch) as database:
        by_status = database.execute(
            "SELECT status, count(*) FROM read_parquet($table) GROUP BY status", table
        ).fetchall()
        masks = [*flags.BITS.values(), *unfit_bits.values()]
        bits = ", ".join(f"count(*) FILTER (flags & {mask} != 0)" for mask in masks)
        counts = database.execute(f"SELECT {bits} FROM read_parquet($table)", table).fetchone()
    by_flag = dict(zip(flags.BITS, counts, strict=False))
    unfit = dict(zip(unfit_bits, counts[len(by_flag) :], strict=True))
    return Census(dict(sorted(by_status)), by_flag, unfit)

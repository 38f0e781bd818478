"""The files of every partition that a release is made of, and proof that they belong together."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from galaxymill.catalog.partition import Partition, read_partitions
from galaxymill.errors import UserError
from galaxymill.images.domains import differences
from galaxymill.stages import STAGES
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.origin import Record, read_record

ROLES = ("tile", "cutouts", "images")
"""Files that a partition has, beside those of each prediction; see `role_of`."""

_MAKERS = {stage.role: stage.name for stage in STAGES.values() if stage.role}
_OF_IMAGES = ("predictions", "features", "rated")
_MADE_FROM = {"cutouts": "tile", "images": "cutouts", **dict.fromkeys(_OF_IMAGES, "images")}


def role_of(prediction: str) -> str:
    """Role of the files of a prediction."""
    return f"predictions/{prediction}"


def maker(role: str) -> str:
    """Stage that makes the files of a role."""
    return _MAKERS[role.partition("/")[0]]


def made_from(role: str) -> str | None:
    """Role that the files of a role are made from; None for a tile."""
    return _MADE_FROM.get(role.partition("/")[0])


@dataclass(frozen=True)
class Part:
    """One partition's files and what their footers say, by role: ``ROLES``, and of predictions."""

    partition: Partition
    files: Mapping[str, Path]
    records: Mapping[str, Record]


def require_digest(digest: TableDigest, path: Path, record: Record, stage: str) -> None:
    """Refuse a file whose rows have another digest than its footer says."""
    found = digest.hexdigest()
    if found != record.digest:
        raise UserError(
            f"{path}: its rows have changed since it was made: their digest is {found}, recorded "
            f"is {record.digest}; remove the file and run {stage} again"
        )


def read_parts(partitions: Path, folders: Mapping[str, Path]) -> list[Part]:
    """Find every partition's files, in the catalogue's order, in the folder of each role.

    Raises
    ------
    UserError
        When a file is absent or stale, when the tiles do not have the rows that
        ``partitions.csv`` says, or when the images' domains are mixed.
    """
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda one: _part(one, folders), read_partitions(partitions)))
    if not parts:
        raise UserError(f"{partitions}: no partitions; there is nothing to release")
    for part in parts:
        if part.records["tile"].rows != part.partition.n_rows:
            raise UserError(
                f"{part.files['tile']}: {part.records['tile'].rows} rows, but {partitions} says "
                f"{part.partition.n_rows}; run partition again"
            )
        _check_chain(part)
    _check_domain(parts)
    return parts


def read_part(partition: Partition, folders: Mapping[str, Path]) -> Part:
    """Find one partition's files; the errors are those of `read_parts`."""
    part = _part(partition, folders)
    _check_chain(part)
    return part


def _part(partition: Partition, folders: Mapping[str, Path]) -> Part:
    files = {role: folders[role] / f"{partition.part}.parquet" for role in folders}
    return Part(partition, files, {role: read_record(path) for role, path in files.items()})


def _check_chain(part: Part) -> None:
    """Refuse a file that was made from other rows than those that are there now."""
    for role in part.files:
        source = made_from(role)
        if source is None:
            continue
        recorded = part.records[role].origin["inputs"].get(source)
        present = part.records[source].digest
        if recorded != present:
            raise UserError(
                f"{part.files[role]}: stale: made from {source} {recorded}, but "
                f"{part.files[source]} is now {present}; run {maker(role)} again"
            )


def _check_domain(parts: Sequence[Part]) -> None:
    """Refuse to mix images of several surveys or recipes."""
    first = parts[0].files["images"], parts[0].records["images"].origin["domain"]
    for part in parts:
        for role in part.files.keys() - {"tile", "cutouts"}:
            domain = part.records[role].origin["domain"]
            if domain != first[1]:
                odd = differences(domain, first[1], "{}: {!r} and {!r}")
                raise UserError(
                    f"{part.files[role]} and {first[0]} are of different images: {odd}; run "
                    f"{maker(role)} again with one recipe"
                )

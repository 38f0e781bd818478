"""Columns that a release takes as they are: places on maps, and how interesting galaxies are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.errors import UserError
from galaxymill.release.sources import Part, maker

FEATURES, RATED = "features", "rated"
_KINDS: Mapping[str, tuple[str, str]] = {
    FEATURES: ("map_", "space"),
    RATED: ("interest_", "interest"),
}
"""Role of the files → what their columns begin with, and which input all files have in common."""


@dataclass(frozen=True)
class Found:
    """The files of one space or interest: their role, and the schema of each of them."""

    role: str
    schema: pa.Schema

    @property
    def kind(self) -> str:
        """``FEATURES`` or ``RATED``."""
        return self.role.partition("/")[0]

    @property
    def fields(self) -> list[pa.Field]:
        """Columns that a release has of it."""
        begin, _ = _KINDS[self.kind]
        return [one for one in self.schema if one.name.startswith(begin)]


def found_folders(spaces: Iterable[Path], interests: Iterable[Path]) -> dict[str, Path]:
    """Folder of each role, by folders that have the names of spaces and of interests."""
    folders = {f"{FEATURES}/{folder.name}": folder for folder in spaces}
    return folders | {f"{RATED}/{folder.name}": folder for folder in interests}


def read_found(folders: Mapping[str, Path], parts: Sequence[Part]) -> list[Found]:
    """See which columns the files of some spaces and interests have.

    Raises
    ------
    UserError
        When the files of one are of several spaces or interests, or have no such column.
    """
    result = []
    for role, folder in folders.items():
        kind = role.partition("/")[0]
        begin, source = _KINDS[kind]
        first = parts[0].records[role].origin["inputs"][source]
        for part in parts:
            other = part.records[role].origin["inputs"][source]
            if other != first:
                raise UserError(
                    f"{part.files[role]} and {parts[0].files[role]} are of different {source}s: "
                    f"{other} and {first}; run {maker(role)} again"
                )
        # Without what a Parquet file adds to it.
        schema = pq.read_schema(parts[0].files[role]).remove_metadata()
        found = Found(role, schema)
        if not found.fields:
            raise UserError(f"{folder}: has no columns {begin}*; a space needs maps (spaces: maps)")
        result.append(found)
    return result

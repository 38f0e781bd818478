"""The maps of a release: where each galaxy stands on those of some spaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.errors import UserError
from galaxymill.release.sources import Part


@dataclass(frozen=True)
class Maps:
    """The maps of one space; ``schema`` is that of each of its files."""

    name: str
    schema: pa.Schema

    @property
    def role(self) -> str:
        """Role of its files."""
        return features_role(self.name)

    @property
    def fields(self) -> list[pa.Field]:
        """Columns that a release has of it."""
        return [one for one in self.schema if one.name.startswith("map_")]


def features_role(space: str) -> str:
    """Role of the files of a space."""
    return f"features/{space}"


def read_maps(spaces: Sequence[Path], parts: Sequence[Part]) -> list[Maps]:
    """See which maps some spaces have, by the folders of their features.

    Raises
    ------
    UserError
        When the files of one are of several spaces, or have no map.
    """
    found = []
    for folder in spaces:
        role = features_role(folder.name)
        first = parts[0].records[role].origin["inputs"]["space"]
        for part in parts:
            record, path = part.records[role], part.files[role]
            space = record.origin["inputs"]["space"]
            if space != first:
                raise UserError(
                    f"{path} and {parts[0].files[role]} are of different spaces: {space} and "
                    f"{first}; project the partition again"
                )
        # Without what a Parquet file adds to it.
        schema = pq.read_schema(parts[0].files[role]).remove_metadata()
        maps = Maps(folder.name, schema)
        if not maps.fields:
            raise UserError(f"{folder}: the space has no maps; give it some (spaces: maps)")
        found.append(maps)
    return found

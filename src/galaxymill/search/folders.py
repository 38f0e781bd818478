"""The products of a space, a file a partition each, and what is read of galaxies by their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.catalog.names import part_names
from galaxymill.errors import UserError
from galaxymill.paths import fill
from galaxymill.search.scan import Hit
from galaxymill.spaces.space import read_space
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import open_parquet


@dataclass(frozen=True)
class Folders:
    """Where the products of a space lie; see `folders_of`.

    ``catalog`` is the survey's ``objects.parquet``, ``models`` a folder of a folder each.
    """

    features: Path
    predictions: Path
    tiles: Path
    images: Path
    catalog: Path
    models: Path

    @cached_property
    def files(self) -> list[Path]:
        """Features of every partition: those of the catalogue, where it has a list of them.

        Files of a catalogue that was cut otherwise may lie beside them.
        """
        listed = self.catalog.with_name("partitions.csv")
        if listed.is_file():
            found = [self.features / f"{part}.parquet" for part in part_names(listed)]
        else:
            found = sorted(self.features.glob("*.parquet"))
        absent = [path for path in found if not path.is_file()]
        if absent or not found:
            raise UserError(
                f"{absent[0] if absent else self.features}: no features; run the target features, "
                "or name their folder with --features"
            )
        return found

    def predictions_of(self, features: Path) -> Path:
        """The predictions of a partition; a `UserError` where the features are of others."""
        path = self.predictions / features.name
        ours, theirs = read_record(path, "predict"), read_record(features, "project")
        if theirs.origin["inputs"]["predictions"] != ours.digest:
            raise UserError(f"{features}: made of other predictions than {path}; project it again")
        return path

    def take(self, hits: Sequence[Hit], folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
        """Read some columns of galaxies, partition by partition, in the order of ``hits``."""
        rows: list[dict[str, Any]] = [{} for _ in hits]
        by_file: dict[str, list[int]] = {}
        for number, hit in enumerate(hits):
            by_file.setdefault(hit.file.name, []).append(number)
        for name, numbers in by_file.items():
            with open_parquet(folder / name, names) as file:
                table = _rows_of(file, [hits[number].row for number in numbers], names)
            for number, row in zip(numbers, table.to_pylist(), strict=True):
                rows[number] = row
        return rows

    def take_any(self, hits: Sequence[Hit], names: Sequence[str]) -> list[dict[str, Any]]:
        """Read columns of galaxies, each of the first product that has it."""
        rows: list[dict[str, Any]] = [dict.fromkeys(names) for _ in hits]
        for folder, own in self._places_of(names).items():
            if folder is None:
                found = self._of_catalog({hit.object_id for hit in hits}, own)
                more = [found[hit.object_id] for hit in hits]
            else:
                if folder == self.predictions:
                    for path in {hit.file for hit in hits}:
                        self.predictions_of(path)
                more = self.take(hits, folder, own)
            for row, other in zip(rows, more, strict=True):
                row |= other
        return rows

    def _places_of(self, names: Sequence[str]) -> dict[Path | None, list[str]]:
        """Which columns each folder has, or the catalogue (None); what none has is refused."""
        known: dict[str, Path | None] = {}
        if self.catalog.is_file():
            known |= dict.fromkeys(_columns(self.catalog))
        for folder in (self.images, self.features, self.predictions):
            path = folder / self.files[0].name
            known |= dict.fromkeys(_columns(path), folder) if path.is_file() else {}
        found: dict[Path | None, list[str]] = {}
        for name in names:
            if name not in known:
                raise UserError(f"--column {name}: no such column; columns: {', '.join(known)}")
            found.setdefault(known[name], []).append(name)
        return found

    def _of_catalog(self, ids: set[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        wanted = pc.field("object_id").isin(list(ids))
        table = pq.read_table(self.catalog, columns=["object_id", *names], filters=wanted)
        return {row.pop("object_id"): row for row in table.to_pylist()}


def folders_of(space: Path) -> Folders:
    """Find the products of ``<results>/spaces/NAME/space.yaml``, where the workflow puts them."""
    results, name = space.resolve().parents[2], space.resolve().parent.name
    facts = read_space(space)[0].facts
    survey = facts["survey"]
    return Folders(
        fill("<features>", results, space=name),
        fill("<predictions>", results, prediction=facts["prediction"]),
        fill("<tiles>", results, survey=survey),
        fill("<images>", results, survey=survey),
        fill("<catalog>/objects.parquet", results, survey=survey),
        fill("<model>", results, model="any").parent,
    )


def _columns(path: Path) -> list[str]:
    """Columns that a table can hold: no bytes, no lists."""
    with open_parquet(path) as file:
        plain = [f for f in file.schema_arrow if not (f.type.num_fields or _is_bytes(f.type))]
    return [field.name for field in plain if field.name not in ("object_id", "ra", "dec")]


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _rows_of(file: pq.ParquetFile, rows: Sequence[int], names: Sequence[str]) -> pa.Table:
    """Read rows of a file by their numbers, of the row groups that hold them."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    group = np.searchsorted(starts, rows, side="right") - 1
    wanted = np.unique(group)
    table = file.read_row_groups(wanted.tolist(), list(names))
    before = np.cumsum([0, *(sizes[number] for number in wanted)])
    places = np.asarray(rows) - starts[group] + before[np.searchsorted(wanted, group)]
    return table.take(pa.array(places))

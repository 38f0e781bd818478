"""Search a survey for the galaxies that look most like some others; write a table and a sheet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.conditions import Condition
from galaxymill.errors import UserError
from galaxymill.images.sheet import draw_sheet
from galaxymill.paths import fill
from galaxymill.progress import progress
from galaxymill.search.likeness import Query
from galaxymill.search.scan import Hit, find_galaxies, nearest, read_features
from galaxymill.search.settings import SearchSettings
from galaxymill.sky.angles import chord, unit_vectors
from galaxymill.spaces.space import Space, read_space
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import open_parquet
from galaxymill.tables import read_table

_SHOWN, _COLUMNS = 100, 10
_NEAREST_NAMES = 3


@dataclass(frozen=True)
class Folders:
    """Where the products of a space lie, each a file a partition; see `folders_of`."""

    features: Path
    predictions: Path
    tiles: Path
    images: Path


def folders_of(space: Path) -> Folders:
    """Find the products of ``<results>/spaces/NAME/space.yaml``, where the workflow puts them."""
    results, name = space.resolve().parents[2], space.resolve().parent.name
    fitted, _ = read_space(space)
    prediction, survey = fitted.facts["prediction"], fitted.facts["survey"]
    return Folders(
        fill("<features>", results, space=name),
        fill("<predictions>", results, prediction=prediction),
        fill("<tiles>", results, survey=survey),
        fill("<images>", results, survey=survey),
    )


@dataclass(frozen=True)
class Search:
    """One search: the space, the products, what is looked for and how."""

    space_file: Path
    folders: Folders
    settings: SearchSettings
    files: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        found = sorted(self.folders.features.glob("*.parquet"))
        if not found:
            raise UserError(
                f"{self.folders.features}: holds no features; run the target features, or name "
                "their folder with --features"
            )
        object.__setattr__(self, "files", found)
        self._require_one_space()

    @cached_property
    def _fitted(self) -> tuple[Space, str]:
        return read_space(self.space_file)

    def _require_one_space(self) -> None:
        digest = self._fitted[1]
        for path in self.files:
            other = read_record(path, "project").origin["inputs"]["space"]
            if other != digest:
                raise UserError(
                    f"{path}: features of space {other}, but {self.space_file} is {digest}; "
                    "project this partition again"
                )

    def run(self, out: Path) -> list[dict[str, Any]]:
        """Search, and write the table, and a sheet of the first hundred beside it (``.png``)."""
        hits = self._hits()
        rows = self._rows(hits)
        with exclusive(out):
            with atomic_file(out) as temporary:
                _write_csv(temporary, rows, ["rank", "object_id", "ra", "dec", "similarity"])
            with atomic_file(out.with_suffix(".png")) as temporary:
                title = f"{len(hits)} galaxies most like {self.settings.asked()}"
                shown = draw_sheet([(title, self._pictures(hits[:_SHOWN]))], _COLUMNS)
                shown.save(temporary, "PNG")
        return rows

    def _hits(self) -> list[Hit]:
        settings, count = self.settings, self.settings.count
        query = self._query()
        mask = self._mask if settings.where else None
        wanted = count
        while True:
            with progress("search", len(self.files)) as advance:
                (hits,) = nearest(self.files, [query], wanted, mask, advance)
            if not settings.distinct:
                return hits
            apart = self._apart(hits)
            if len(apart) >= count or len(hits) < wanted:
                return apart[:count]
            wanted *= 2

    def _query(self) -> Query:
        space, _ = self._fitted
        names = list(self._names())
        places = find_galaxies(self.files, names)
        vectors = []
        for name in names:
            if name not in places:
                raise self._unknown(name)
            path, row = places[name]
            rows, features = read_features(path)
            place = int(np.searchsorted(rows, row))
            if place == len(rows) or rows[place] != row:
                raise UserError(f"{name}: has no features ({self._flags_of(path, row)})")
            vectors.append(features[place].astype(np.float64))
        deviations = space.deviations if self.settings.whiten else None
        return Query(np.stack(vectors), deviations, self.settings.asked())

    def _names(self) -> Iterator[str]:
        """Names of the galaxies asked for, each once."""
        names: dict[str, None] = {}
        for one in self.settings.to:
            table = Path(one)
            if table.suffix and table.is_file():
                ids = read_table(table, ["object_id"])["object_id"]
                names |= dict.fromkeys(str(value) for value in ids.to_pylist())
            else:
                names.setdefault(one)
        yield from names

    def _unknown(self, name: str) -> UserError:
        from difflib import get_close_matches

        likely: list[str] = []
        for path in self.files:
            with open_parquet(path, ["object_id"]) as file:
                ids = file.read(["object_id"])["object_id"].to_pylist()
            begins = _shared_letters(ids, name)
            likely += [ids[row] for row in np.argsort(-begins, kind="stable")[:_NEAREST_NAMES]]
        near = get_close_matches(name, likely, _NEAREST_NAMES, 0)
        return UserError(
            f"--to {name}: no such galaxy in {self.folders.features}"
            + (f"; nearest: {', '.join(near)}" if near else "")
        )

    def _flags_of(self, path: Path, row: int) -> str:
        bits = pq.read_table(path, columns=["flags"])["flags"][row].as_py()
        return ", ".join(flags.names(bits)) or "its embedding was not kept"

    def _mask(self, path: Path) -> npt.NDArray[np.bool_]:
        file = self.folders.predictions / path.name
        condition = self._condition
        with open_parquet(file, condition.columns) as opened:
            return condition.mask(opened.read(condition.columns or ["object_id"]))

    @cached_property
    def _condition(self) -> Condition:
        first = self.folders.predictions / self.files[0].name
        with open_parquet(first) as file:
            return Condition(self.settings.where, file.schema_arrow, "--where")

    def _apart(self, hits: Sequence[Hit]) -> list[Hit]:
        """Leave out those that lie near a galaxy that is more alike: one galaxy, found twice."""
        places = [(row["ra"], row["dec"]) for row in self._rows(hits)]
        points = unit_vectors(*np.array(places, np.float64).reshape(-1, 2).T)
        kept: list[int] = []
        reach = chord(self.settings.distinct)
        for number in range(len(hits)):
            if not (np.linalg.norm(points[kept] - points[number], axis=1) < reach).any():
                kept.append(number)
        return [hits[number] for number in kept]

    def _rows(self, hits: Sequence[Hit]) -> list[dict[str, Any]]:
        """Give the rows of the table: rank, name, place, similarity, and the columns asked for."""
        names = ["object_id", "ra", "dec"]
        tiles = self._take(hits, self.folders.tiles, names)
        asked = self.settings.columns
        more = self._take(hits, self.folders.predictions, asked) if asked else [{} for _ in hits]
        return [
            {"rank": rank, **tile, "similarity": round(hit.likeness, 6), **other}
            for rank, (hit, tile, other) in enumerate(zip(hits, tiles, more, strict=True), 1)
        ]

    def _pictures(self, hits: Sequence[Hit]) -> list[dict[str, Any]]:
        rows = self._take(hits, self.folders.images, ["object_id", "image", "flags"])
        return [{**row, "note": f"{hit.likeness:.3f}"} for row, hit in zip(rows, hits, strict=True)]

    def _take(
        self, hits: Sequence[Hit], folder: Path, names: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Read some columns of the galaxies that were found, partition by partition."""
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


def _shared_letters(ids: Sequence[str], name: str) -> npt.NDArray[np.intp]:
    """Count the letters that each identifier begins with as ``name`` does: quick, for millions."""
    letters = np.array([*ids, name], f"U{len(name)}").view(np.uint32).reshape(len(ids) + 1, -1)
    return np.asarray((letters[:-1] == letters[-1]).cumprod(axis=1).sum(axis=1), np.intp)


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


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

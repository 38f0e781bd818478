"""Search a survey for the galaxies that look most like some others; write a table and sheets."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.conditions import Condition
from galaxymill.errors import UserError
from galaxymill.images.sheet import draw_sheet
from galaxymill.progress import progress
from galaxymill.search.folders import Folders
from galaxymill.search.likeness import Query
from galaxymill.search.page import write_page
from galaxymill.search.query import galaxy_features, name_at, names_in
from galaxymill.search.scan import Hit, nearest
from galaxymill.search.settings import SearchSettings
from galaxymill.sky.angles import chord, unit_vectors
from galaxymill.spaces.space import read_space, require_space
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.parquet import open_parquet

COLUMNS = ("rank", "object_id", "ra", "dec", "similarity")
_SHOWN, _ACROSS = 100, 10


@dataclass(frozen=True)
class Search:
    """One search: the space, its products, what is looked for and how.

    ``model`` is its ``model.yaml``, for images from outside; None to look for it.
    """

    space_file: Path
    folders: Folders
    settings: SearchSettings
    model: Path | None = None

    def run(self, out: Path) -> list[dict[str, Any]]:
        """Search; write the table, and the first hundred as ``.png`` and ``.html`` beside it."""
        if out.suffix in (".png", ".html"):
            raise UserError(f"{out}: sheets take this name; name a table, such as nearest.csv")
        hits = self._hits()
        rows = self._rows(hits)
        pictures = self._pictures(hits[:_SHOWN])
        title = f"{len(hits)} galaxies most like {self.settings.asked()}"
        names = [*COLUMNS, *(name for name in self.settings.columns if name not in COLUMNS)]
        with exclusive(out):
            with atomic_file(out.with_suffix(".png")) as temporary:
                plain = title.encode("ascii", "replace").decode()
                draw_sheet([(plain, pictures)], _ACROSS).save(temporary, "PNG")
            with atomic_file(out.with_suffix(".html")) as temporary:
                write_page(temporary, title, rows, pictures)
            with atomic_file(out) as temporary:
                _write_csv(temporary, rows, names)
        return rows

    def _hits(self) -> list[Hit]:
        settings, files = self.settings, self.folders.files
        query = self._query()
        mask = self._mask if settings.where else None
        wanted = settings.count
        while True:
            with progress("search", len(files)) as advance:
                (hits,) = nearest(files, [query], wanted, mask, advance)
            if not settings.distinct:
                return hits
            apart = self._apart(hits)
            if len(apart) >= settings.count or len(hits) < wanted:
                return apart[: settings.count]
            wanted *= 2

    def _query(self) -> Query:
        space, digest = read_space(self.space_file)
        settings, folders = self.settings, self.folders
        for path in folders.files:
            require_space(path, digest)
        if settings.image:
            from galaxymill.search.outside import image_features

            first = folders.predictions_of(folders.files[0])
            vectors = image_features(settings.image, first, self.model, folders.models, space)
        else:
            names: Sequence[str] = settings.to
            if settings.table:
                names = names_in(settings.table)
            if settings.position:
                names = [name_at(folders, *settings.position)]
            vectors = galaxy_features(folders, names)
        return Query(vectors, space.deviations if settings.whiten else None, settings.asked())

    def _mask(self, path: Path) -> npt.NDArray[np.bool_]:
        condition = self._condition
        with open_parquet(self.folders.predictions_of(path), condition.columns) as opened:
            return condition.mask(opened.read(condition.columns or ["object_id"]))

    @cached_property
    def _condition(self) -> Condition:
        with open_parquet(self.folders.predictions / self.folders.files[0].name) as file:
            return Condition(self.settings.where, file.schema_arrow, "--where")

    def _apart(self, hits: Sequence[Hit]) -> list[Hit]:
        """Leave out those that lie near a galaxy that is more alike: one galaxy, found twice."""
        from scipy.spatial import KDTree

        if not hits:
            return []
        places = [(row["ra"], row["dec"]) for row in self._rows(hits, plain=True)]
        if any(ra is None for ra, _ in places):
            raise UserError("--distinct: these galaxies have no positions; leave it away")
        points = KDTree(unit_vectors(*np.array(places, np.float64).T))
        pairs = points.query_pairs(chord(self.settings.distinct), output_type="ndarray")
        kept = np.ones(len(hits), bool)
        # Of a pair the first is more alike; it counts unless it is one found twice itself.
        for one, other in pairs[np.lexsort(pairs.T[::-1])]:
            kept[other] &= not kept[one]
        return [hit for hit, there in zip(hits, kept, strict=True) if there]

    def _rows(self, hits: Sequence[Hit], plain: bool = False) -> list[dict[str, Any]]:
        """Give the rows of the table: `COLUMNS`, and those asked for unless it is to be plain."""
        tiles = self.folders.take(hits, self.folders.tiles, ["object_id", "ra", "dec"])
        asked = [] if plain else [n for n in self.settings.columns if n not in COLUMNS]
        more = self.folders.take_any(hits, asked)
        return [
            {"rank": rank, **tile, "similarity": round(hit.likeness, 6), **other}
            for rank, (hit, tile, other) in enumerate(zip(hits, tiles, more, strict=True), 1)
        ]

    def _pictures(self, hits: Sequence[Hit]) -> list[dict[str, Any]]:
        rows = self.folders.take(hits, self.folders.images, ["object_id", "image", "flags"])
        return [{**row, "note": f"{hit.likeness:.3f}"} for row, hit in zip(rows, hits, strict=True)]


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

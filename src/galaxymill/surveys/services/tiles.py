"""Service ``tiles``: cutouts from a survey's own tiles (bricks, frames) on a local or mounted disk.

The way to go for millions of galaxies: each tile is opened once per band and partition. A table
says where the tiles lie; ``galaxymill index-tiles`` writes it. A galaxy in several tiles is cut
from the one where it is furthest from the edge.

Pixels are never resampled, and tiles are not joined: a field that reaches over its tile's edge is
``partial``, and bands whose pixels do not coincide are ``invalid``. One zero point holds for all
tiles of a band. Weights and masks are not read.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from galaxymill.decoding.decode import PayloadError
from galaxymill.errors import UserError
from galaxymill.settings import Numbers
from galaxymill.surveys.base import NANOMAGGY_ZERO_POINT, Cutout, Service, ServiceSettings, Target
from galaxymill.surveys.mosaics.mosaic import flux_factors
from galaxymill.surveys.mosaics.tile_cuts import cut_tile
from galaxymill.surveys.mosaics.tile_image import TileImage
from galaxymill.surveys.mosaics.tile_table import Tile, TileFile, TileTable
from galaxymill.web.network import ServiceError


class TilesSettings(ServiceSettings):
    """Settings of the service ``tiles``."""

    operational: ClassVar[frozenset[str]] = ServiceSettings.operational | {"table", "folder"}
    files: ClassVar[frozenset[str]] = ServiceSettings.files | {"table"}

    table: Path = Field(
        description="table of tiles (CSV, Parquet, FITS): tile, band, path, ra, dec, radius and, "
        "where needed, hdu; galaxymill index-tiles writes it"
    )
    folder: str = Field(".", description="folder that relative paths in the table start from")
    zero_points: Numbers = Field(
        (NANOMAGGY_ZERO_POINT,),
        min_length=1,
        description="AB magnitude of one unit of flux in the tiles: one for all bands, or one each",
    )

    @model_validator(mode="after")
    def _one_or_one_each(self) -> Self:
        flux_factors(self.zero_points, self.bands)
        return self

    def requests(self, galaxies: int) -> int:
        """No request leaves this machine."""
        return 0


@dataclass
class _BestTile:
    """The best tile of one galaxy so far, and why another could not be read."""

    rank: tuple[bool, int, float] = (False, 0, -1.0)
    tile: Tile | None = None
    broken: str = ""


class TilesService(Service):
    """Cut galaxies out of tiles, tile by tile in the order of their names."""

    def __init__(self, settings: TilesSettings) -> None:
        if not Path(settings.folder).is_dir():
            raise UserError(f"folder: no such folder: {settings.folder} (looked in {Path.cwd()})")
        self._bands = settings.bands
        self._folder = Path(settings.folder)
        self._factors = flux_factors(settings.zero_points, settings.bands)
        self._table = TileTable(settings.table, settings.bands)

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target; those of one tile together."""
        waiting = list(targets)
        members: dict[str, tuple[Tile, list[Target]]] = {}
        for target, best in zip(waiting, self._best_tiles(waiting), strict=True):
            whole = best.rank[0]
            if best.broken and not whole:
                yield Cutout(target, "failed", reason=best.broken)
            elif best.tile is None:
                yield Cutout(target, "no_coverage", reason="no tile holds this position")
            else:
                members.setdefault(best.tile.name, (best.tile, []))[1].append(target)
        for _, (tile, galaxies) in sorted(members.items()):
            yield from self._cut(tile, galaxies)

    def _best_tiles(self, targets: Sequence[Target]) -> list[_BestTile]:
        """Choose the tile of each galaxy.

        The best tile holds the whole square, has the most bands, and has the galaxy furthest from
        its edge; the first by name among equals. The galaxies near one that cannot be read are
        left to another only where that holds the whole square.
        """
        best = [_BestTile() for _ in targets]
        ra = np.array([target.ra for target in targets], np.float64)
        dec = np.array([target.dec for target in targets], np.float64)
        for tile, near in self._table.near(ra, dec):
            try:
                # Shape and WCS, from the first band.
                with self._open(next(iter(tile.files.values()))) as image:
                    grid = image.mosaic()
            except PayloadError as error:
                for index in near:
                    best[index].broken = best[index].broken or str(error)
                continue
            depths = grid.depths(ra[near], dec[near]).round(2)
            for index, depth in zip(near, depths.tolist(), strict=True):
                whole = depth >= grid.size_of(targets[index]) / 2
                rank = (whole, len(tile.files), depth)
                if depth >= 0 and rank > best[index].rank:
                    best[index].rank, best[index].tile = rank, tile
        return best

    def _cut(self, tile: Tile, targets: list[Target]) -> Iterator[Cutout]:
        """Cut all galaxies of one tile, each file opened once."""
        with ExitStack() as stack:
            try:
                mosaics = {
                    band: stack.enter_context(self._open(file)).mosaic(self._factors[band])
                    for band, file in tile.files.items()
                }
            except PayloadError as error:
                for target in targets:
                    yield Cutout(target, "failed", reason=str(error), url=f"tile:{tile.name}")
                return
            yield from cut_tile(tile.name, mosaics, targets, self._bands)

    def _open(self, file: TileFile) -> TileImage:
        """Open a file; ServiceError when the folder is gone: then no tile can be had any more."""
        try:
            return TileImage(self._folder / file.path, file.hdu, file.path)
        except PayloadError:
            try:
                empty = not any(self._folder.iterdir())
            except OSError:
                empty = True
            if not empty:
                raise
            reason = f"folder {self._folder} is gone or empty: is it mounted?"
            raise ServiceError(reason) from None

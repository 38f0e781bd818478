"""Stage ``release``: merge the partitions into the tables that an astronomer opens."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from galaxymill.catalog.positions import has_positions
from galaxymill.detectability.table import Detectable, read_detectable
from galaxymill.release.audit import audit, census
from galaxymill.release.columns import PARQUET, Column, release_columns, write_columns
from galaxymill.release.documents.checksums import checksums, list_files, write_checksums
from galaxymill.release.documents.citation import write_citation, write_license
from galaxymill.release.documents.coverage import write_coverage
from galaxymill.release.documents.crate import write_crate
from galaxymill.release.documents.croissant import write_croissant
from galaxymill.release.documents.pictures import draw_pictures
from galaxymill.release.documents.readme import Facts, write_readme
from galaxymill.release.found import Found, found_folders, read_found
from galaxymill.release.inspection import inspect_catalog
from galaxymill.release.predictions import Prediction, read_predictions
from galaxymill.release.provenance import is_released, release_origin, write_provenance
from galaxymill.release.settings import ReleaseSettings
from galaxymill.release.sources import Part, read_parts, role_of
from galaxymill.release.tables.catalog import Catalog, not_of_the_tiles
from galaxymill.release.tables.hats_catalog import Collection
from galaxymill.release.tables.selections import check_selections
from galaxymill.release.tables.tiles import Merge
from galaxymill.sky.healpix import cut_sky
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin, read_record

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Request:
    """What is to be released, and where to.

    Attributes
    ----------
    partitions, objects : Path
        ``partitions.csv``, and ``objects.parquet``, which was cut into them.
    tiles, cutouts, images : Path
        Folders with ``{part}.parquet`` for each row of ``partitions.csv``.
    predictions : tuple of Path
        The same of each prediction; a folder's name is the prediction's.
    models, metrics : tuple of Path
        ``model.yaml`` of the models that predicted, and ``metrics.json`` of their evaluations.
    spaces, interests : tuple of Path
        Folders of the features of the spaces whose maps it has, and of what is rated by the
        interests that it has; a folder's name is the space's or the interest's.
    detectability, view : Path or None, str
        ``detectability.parquet``, whose columns it has, and how the survey
        shows its galaxies: the JSON of a `View`.
    out : Path
        ``SHA256SUMS``, written last; the release is its folder.
    settings : ReleaseSettings
        Memory grows with ``galaxies_per_tile``: one tile at a time is merged.
    run : Path or None
        ``config.yaml`` of `galaxymill.reproduction.run.record_run`; without it the
        release cannot be reproduced from itself.
    benchmarks : Path or None
        Folder of Snakemake's benchmarks.
    """

    name: str
    partitions: Path
    objects: Path
    tiles: Path
    cutouts: Path
    images: Path
    predictions: tuple[Path, ...]
    models: tuple[Path, ...]
    out: Path
    settings: ReleaseSettings = field(default_factory=ReleaseSettings)
    metrics: tuple[Path, ...] = ()
    spaces: tuple[Path, ...] = ()
    interests: tuple[Path, ...] = ()
    detectability: Path | None = None
    view: str = ""
    run: Path | None = None
    benchmarks: Path | None = None
    threads: int = 2

    @property
    def has_positions(self) -> bool:
        """Whether it is known where the galaxies are: without, there is no HATS and no sky map."""
        return has_positions(self.objects)

    @cached_property
    def detectable(self) -> Detectable | None:
        """How much of each answer is still seen, where that is told."""
        return read_detectable(self.detectability, self.view)

    @property
    def found(self) -> dict[str, Path]:
        """Folder of each role of spaces and interests."""
        return found_folders(self.spaces, self.interests)

    @property
    def folders(self) -> dict[str, Path]:
        """Folder of each role."""
        return {
            "tile": self.tiles,
            "cutouts": self.cutouts,
            "images": self.images,
            **{role_of(folder.name): folder for folder in self.predictions},
            **self.found,
        }


def merge_release(request: Request) -> None:
    """Merge all partitions of a survey into one release.

    Raises
    ------
    UserError
        When a galaxy is missing, there twice or of no tile, or when the files do not belong
        together (a stale one, two models, two recipes). Nothing is written then.
    """
    parts = read_parts(request.partitions, request.folders)
    names = [folder.name for folder in request.predictions]
    predictions = read_predictions(names, parts, request.models, request.metrics)
    found = read_found(request.found, parts)
    parameters = {"name": request.name, **request.settings.product_settings()}
    catalog = read_record(request.objects, "ingest").digest
    origin = release_origin(catalog, parts, predictions, parameters, request.detectable)
    out = request.out
    with exclusive(out) as waited:
        if waited and is_released(out, origin):
            return
        columns = _check(parts, predictions, found, request)
        with atomic_tree(out.parent, out.name) as folder:
            facts, sums = _write_data(folder, request, parts, predictions, found, columns, origin)
            _write_documents(folder, request, facts, predictions, columns, origin, sums)
    logger.info("release %s: %d galaxies in %d tiles", request.name, facts.galaxies, facts.tiles)


def _check(
    parts: Sequence[Part],
    predictions: Sequence[Prediction],
    found: Sequence[Found],
    request: Request,
) -> list[Column]:
    """List the columns and see that the tiles are the catalogue's, before anything is written.

    That every galaxy is there once is proved twice: each partition's files hold the galaxies of
    its tile (`galaxymill.release.tables.parts`), and each table those of the catalogue
    (`galaxymill.release.audit`).
    """
    selections = request.settings.selections
    catalog, told = pq.read_schema(request.objects), request.detectable
    if told is not None:
        told.check(request.objects)
    columns = release_columns(catalog, predictions, selections, request.has_positions, found, told)
    check_selections(selections, columns)
    listed, there = sum(part.partition.n_rows for part in parts), pq.read_metadata(request.objects)
    if listed != there.num_rows:
        raise not_of_the_tiles(request.objects)
    return columns


def _write_data(
    folder: Path,
    request: Request,
    parts: Sequence[Part],
    predictions: Sequence[Prediction],
    found: Sequence[Found],
    columns: Sequence[Column],
    origin: Origin,
) -> tuple[Facts, dict[str, str]]:
    """Write the tables and what is made from them; count rows, and take the tables' checksums."""
    settings, name = request.settings, request.name
    counts, widths = inspect_catalog(request.objects, columns)
    tiles = cut_sky(counts, settings.galaxies_per_tile, "galaxies_per_tile")
    collection = None
    if request.has_positions:
        collection = Collection(folder / "hats", name, tiles, settings.margin_arcsec)
    catalog = Catalog(request.objects)
    threads = request.threads
    made = predictions, settings, widths, threads, found, request.detectable
    merge = Merge(catalog, parts, tiles, columns, *made)
    merge.write(folder, collection, origin, name)
    with ThreadPoolExecutor(request.threads) as pool:
        # The tables are read once more for these, while pictures are drawn.
        sums = pool.submit(checksums, folder, list_files(folder), {})
        tables = {table: [folder / f"{table}.parquet"] for table in PARQUET}
        if collection is not None:
            defaults = [c.name for c in columns if {"friendly", "hats"} <= set(c.tables)]
            collection.finish(counts, defaults)
            write_coverage(folder, counts)
            tables["hats"] = sorted((folder / "hats" / name / "dataset").rglob("Npix=*.parquet"))
        audited = pool.submit(audit, request.objects, tables, folder)
        draw_pictures(folder, parts, counts if collection else None, merge.highlights)
        audits = audited.result()
        write_provenance(
            folder, parts, predictions, origin, audits, request.run, request.benchmarks
        )
        unfit = {one.name: one.unfit_bits for one in predictions}
        counted = census(folder / "advanced.parquet", unfit, folder)
        rows, on_sky = audits["advanced"].released_rows, collection is not None
        facts = Facts(name, rows, len(tiles), counted, on_sky)
        return facts, sums.result()


def _write_documents(
    folder: Path,
    request: Request,
    facts: Facts,
    predictions: Sequence[Prediction],
    columns: Sequence[Column],
    origin: Origin,
    sums: dict[str, str],
) -> None:
    """Write what explains the tables; checksums last."""
    settings, title = request.settings, request.settings.title or request.name
    if settings.date is None:
        settings = settings.model_copy(update={"date": date.today().isoformat()})
    write_columns(columns, folder / "columns.csv")
    write_license(folder / "LICENSE", title, settings)
    write_citation(folder / "CITATION.cff", title, settings)
    write_readme(folder / "README.md", facts, predictions, origin, columns, settings)
    sums = checksums(folder, list_files(folder), sums)
    write_croissant(folder / "croissant.json", title, settings, columns, sums)
    listed = {name: digest for name, digest in sums.items() if not name.startswith("hats/")}
    write_crate(folder, title, settings, origin, listed)
    write_checksums(folder, request.out.name, sums)

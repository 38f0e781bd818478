"""Stage ``release``: merge the partitions into the tables that an astronomer opens."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.catalog.healpix import Pixel, cut_sky
from galaxymill.errors import UserError
from galaxymill.progress import progress
from galaxymill.release import hats_catalog, provenance
from galaxymill.release.audit import audit, census, refuse_duplicates
from galaxymill.release.columns import Column, release_columns, schema_of, write_columns
from galaxymill.release.readme import Facts, write_readme
from galaxymill.release.rows import check_part, kept_draws, mask_unasked, part_schemas, read_part
from galaxymill.release.sources import Model, Part, read_model, read_parts
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import open_product
from galaxymill.votes.task import Task
from galaxymill.votes.tree import Tree

logger = logging.getLogger("galaxymill")


def merge_release(
    partitions: Path,
    tiles: Path,
    cutouts: Path,
    images: Path,
    predictions: Path,
    model: Path,
    metrics: Path | None,
    out: Path,
    name: str,
    galaxies_per_tile: int,
) -> None:
    """Merge all partitions of a survey into one release.

    Parameters
    ----------
    partitions : Path
        ``partitions.csv``.
    tiles, cutouts, images, predictions : Path
        Folders with ``{part}.parquet`` for each row of it.
    model : Path
        ``model.yaml`` of the model that predicted.
    metrics : Path or None
        ``metrics.json`` of its evaluation, for the README.
    out : Path
        ``SHA256SUMS``, written last; the release is its folder.
    name : str
        Of the release.
    galaxies_per_tile : int
        At most so many galaxies a tile of the HATS catalog. Memory grows with it: the tables
        are merged one such tile at a time.

    Raises
    ------
    UserError
        When a galaxy is missing, there twice or of no tile, or when the files do not belong
        together (a stale one, two models, two recipes). Nothing is written then.
    """
    card = read_model(model)
    folders = {"tile": tiles, "cutouts": cutouts, "images": images, "predictions": predictions}
    parts = read_parts(partitions, folders, card)
    evaluation = _read_metrics(metrics, card)
    parameters = {"name": name, "galaxies_per_tile": galaxies_per_tile}
    origin = provenance.release_origin(parts, card, metrics, parameters)
    with exclusive(out) as waited:
        if waited and provenance.is_released(out, origin):
            return
        columns = _check(parts, card.task, out.parent)
        with atomic_tree(out.parent, out.name) as folder:
            facts = _write_data(folder, parts, card, columns, origin)
            write_columns(columns, folder / "columns.csv")
            write_readme(folder / "README.md", facts, card, origin, columns, evaluation)
            provenance.write_checksums(folder, out.name)
    logger.info("release %s: %d galaxies in %d tiles", name, facts.galaxies, facts.tiles)


def _read_metrics(path: Path | None, model: Model) -> dict[str, Any]:
    """Read an evaluation, which must be of the model that predicted; empty when there is none."""
    if path is None:
        return {}
    try:
        metrics: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        inputs = metrics.get("origin", {}).get("inputs", {})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; run evaluate again") from error
    evaluated = inputs.get("model", model.digest)
    if evaluated != model.digest:
        raise UserError(
            f"{path}: evaluates model {evaluated}, but {model.path} is {model.digest}; "
            "run evaluate again"
        )
    return metrics


def _check(parts: Sequence[Part], task: Task, scratch: Path) -> list[Column]:
    """Prove that every galaxy is there once, before anything is written; list the columns."""
    schemas = part_schemas(parts[0], task)
    with progress("check", len(parts), "partitions") as advance:
        for part in parts:
            check_part(part, schemas)
            advance()
    refuse_duplicates([part.files["tile"] for part in parts], scratch)
    return release_columns(schemas["tile"], task, kept_draws(parts[0], task))


def _write_data(
    folder: Path, parts: Sequence[Part], model: Model, columns: Sequence[Column], origin: Origin
) -> Facts:
    """Write the tables, the HATS catalog and the provenance; count what is in them."""
    counts = hats_catalog.count_galaxies(parts)
    tiles = cut_sky(counts, origin.parameters["galaxies_per_tile"], "galaxies_per_tile")
    _write_tables(folder, parts, tiles, columns, model.tree, origin)
    name = origin.parameters["name"]
    hats_catalog.finish_catalog(folder / "hats", name, tiles, counts)
    tables = {
        "friendly": [folder / "friendly.parquet"],
        "advanced": [folder / "advanced.parquet"],
        "hats": sorted((folder / "hats" / "dataset").rglob("*.parquet")),
    }
    audits = audit([part.files["tile"] for part in parts], tables, folder)
    provenance.write_provenance(folder, parts, model, origin, audits)
    found = census(folder / "advanced.parquet", parts[0].unfit, folder)
    return Facts(name, audits["advanced"].released_rows, len(tiles), found)


def _write_tables(
    folder: Path,
    parts: Sequence[Part],
    tiles: Sequence[Pixel],
    columns: Sequence[Column],
    tree: Tree,
    origin: Origin,
) -> None:
    """Write the three tables in one pass over the tiles, in the order of ``_healpix_29``."""
    schemas = {table: schema_of(columns, table) for table in ("friendly", "advanced", "hats")}
    total = sum(tile.rows for tile in tiles)
    with (
        open_product(folder / "friendly.parquet", schemas["friendly"], origin) as friendly,
        open_product(folder / "advanced.parquet", schemas["advanced"], origin) as advanced,
        progress("release", total) as advance,
    ):
        for tile in tiles:
            rows = _tile_rows(parts, tile, schema_of(columns), tree)
            friendly.write(mask_unasked(rows, tree, schemas["friendly"]))
            advanced.write(rows.select(schemas["advanced"].names))
            hats_catalog.write_tile(folder / "hats", tile, rows.select(schemas["hats"].names))
            advance(tile.rows)


def _tile_rows(parts: Sequence[Part], tile: Pixel, schema: pa.Schema, tree: Tree) -> pa.Table:
    """Rows of one tile: partitions of several generations may overlap it."""
    rows = pa.concat_tables(_overlaps(parts, tile, schema, tree))
    if rows.num_rows != tile.rows:
        raise RuntimeError(f"{tile}: {rows.num_rows} rows found; was the catalogue changed?")
    # The id settles the order of galaxies in one order-29 pixel.
    return rows.sort_by([("_healpix_29", "ascending"), ("object_id", "ascending")])


def _overlaps(
    parts: Sequence[Part], tile: Pixel, schema: pa.Schema, tree: Tree
) -> Iterator[pa.Table]:
    low, high = tile.range
    for part in parts:
        first, end = Pixel(part.partition.order, part.partition.pixel, 0).range
        if first < high and low < end:
            rows = read_part(part, schema, tree)
            index = rows["_healpix_29"]
            yield rows.filter(pc.and_(pc.greater_equal(index, low), pc.less(index, high)))

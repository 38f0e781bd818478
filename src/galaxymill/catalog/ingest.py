"""Stage ``ingest``: a user's catalogue becomes the survey's table of objects."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.catalog.kept import kept_columns
from galaxymill.catalog.positions import hash_places
from galaxymill.catalog.settings import CatalogSettings, Range
from galaxymill.errors import UserError
from galaxymill.sky.healpix import INDEX_ORDER, healpix_pixels
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin, is_made
from galaxymill.storage.parquet import write_product
from galaxymill.tables import (
    as_numbers,
    check_ids,
    column_names,
    in_unit,
    positions,
    read_table,
    require_file,
)

_WITHOUT_POSITIONS = (
    "Name those of the position as catalog.ra and catalog.dec; for pictures without positions, "
    "which service files reads, say positions: false"
)

logger = logging.getLogger("galaxymill")


def ingest(source: Path, out: Path, settings: CatalogSettings) -> None:
    """Check a catalogue and write it in HEALPix order.

    Parameters
    ----------
    source : Path
        A table of a kind that `galaxymill.table_kinds` lists, one row per galaxy.
    out : Path
        ``objects.parquet``.
    settings : CatalogSettings

    Raises
    ------
    UserError
        When a column is absent, an identifier is unfit or given twice, a position is NaN or
        out of range, a kept column is none that a release can have, or no row is selected.
    """
    require_file(source)
    inputs = {"catalog": sha256_file(source)}
    origin = Origin("ingest", settings.product_settings(), inputs)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        table = _objects(source, settings)
        write_product(out, table, origin, table.schema)
    logger.info("ingest: %d galaxies from %s", table.num_rows, source)


def _objects(source: Path, settings: CatalogSettings) -> pa.Table:
    """Read, check and sort the galaxies."""
    optional = {
        name: getattr(settings, name)
        for name in products.OPTIONAL_OBJECT_COLUMNS
        if getattr(settings, name) is not None
    }
    paths = optional.pop("file_loc", ())
    texts = [settings.object_id, *paths]
    select = settings.select or {}
    places = [settings.ra, settings.dec] if settings.positions else []
    wanted = list(dict.fromkeys([*texts, *places, *optional.values(), *settings.keep, *select]))
    try:
        table = read_table(source, wanted, texts, settings.keep, settings.hdu)
    except UserError as error:
        none = places and not {*places} & {*column_names(source, settings.hdu)}
        raise UserError(f"{error}. {_WITHOUT_POSITIONS}" if none else str(error)) from error
    if table.num_rows == 0:
        raise UserError(f"{source}: the catalogue has no rows")
    ids = table.column(settings.object_id)
    check_ids(source, ids, settings.object_id)
    columns = [ids, *_positions(source, table, ids, settings)]
    columns += [
        in_unit(source, table, column, "" if name == "own_redshift" else "arcsec")
        for name, column in optional.items()
    ]
    columns += [_joined([table.column(column) for column in paths])] if paths else []
    kept, values = kept_columns(source, table, settings)
    schema = products.objects([*optional, *(["file_loc"] if paths else [])], kept)
    objects = pa.Table.from_arrays([*columns, *values], names=schema.names).cast(schema)
    if select:
        objects = objects.filter(_inside(source, table, select))
    return objects.sort_by([("_healpix_29", "ascending"), ("object_id", "ascending")])


def _positions(
    source: Path, table: pa.Table, ids: pa.ChunkedArray, settings: CatalogSettings
) -> list[pa.Array]:
    """Right ascension, declination, and where in the product's order each galaxy belongs."""
    if not settings.positions:
        unknown = pa.nulls(len(ids), pa.float64())
        return [unknown, unknown, pa.array(hash_places(ids.to_pylist()))]
    ra, dec = positions(source, table, settings.ra, settings.dec, ids)
    return [ra, dec, pa.array(healpix_pixels(ra.to_numpy(), dec.to_numpy(), INDEX_ORDER))]


def _joined(paths: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Put the paths of a galaxy's bands in one text, a line each."""
    if len(paths) == 1:
        return paths[0]
    return pc.binary_join_element_wise(*(pc.fill_null(path, "") for path in paths), "\n")


def _inside(source: Path, table: pa.Table, select: Mapping[str, Range]) -> pa.ChunkedArray:
    """Whether each row lies in every range; null where a value is."""
    inside = pa.chunked_array([pa.repeat(True, table.num_rows)])
    for column, (low, high) in select.items():
        values = as_numbers(source, table[column], column)
        if low is not None:
            inside = pc.and_(inside, pc.greater_equal(values, low))
        if high is not None:
            inside = pc.and_(inside, pc.less_equal(values, high))
    taken = pc.sum(inside).as_py() or 0
    if taken == 0:
        raise UserError(
            f"{source}: select: none of {table.num_rows} galaxies lies in the ranges of "
            f"{', '.join(select)}; give wider ones"
        )
    logger.info("ingest: select takes %d of %d galaxies", taken, table.num_rows)
    return inside

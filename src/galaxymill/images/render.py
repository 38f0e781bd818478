"""Stage ``render``: the picture of every cutout of one partition, with its quality flags."""

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.images.colours import Rgb
from galaxymill.images.decode import FitsCutout, PayloadError, is_fits, read_fits, read_raster
from galaxymill.images.encode import encode
from galaxymill.images.orientation import residual_deg, upright
from galaxymill.images.place import separation_arcsec
from galaxymill.images.quality import (
    OFF_CENTRE,
    flux_quality,
    picture_flags,
    saturated_fraction,
)
from galaxymill.images.recipes import RECIPES, domain
from galaxymill.images.settings import FluxSettings, RecipeSettings
from galaxymill.products import IMAGES
from galaxymill.progress import progress
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

_STATUS_FLAGS = {"no_coverage": "no_coverage", "failed": "fetch_failed"}
_COLUMNS = ["object_id", "ra", "dec", "status", "payload"]
_MOST_ROWS = 64
_BATCH_BYTES = 32_000_000

logger = logging.getLogger("galaxymill")


def render(
    cutouts: Path, out: Path, survey: str, recipe: str, settings: RecipeSettings, threads: int = 1
) -> None:
    """Render the images of one partition.

    Parameters
    ----------
    cutouts : Path
        From `galaxymill.surveys.fetch.fetch`.
    out : Path
        The images: one row per row of the cutouts, in their order.
    survey : str
        Name of the survey, kept as the images' domain.
    recipe : str
        A name of `galaxymill.images.recipes.RECIPES`.
    settings : RecipeSettings
        Of that recipe.
    threads : int
        Galaxies that are drawn at a time; the product does not depend on it.
    """
    kind = domain(survey, recipe, settings)
    parameters = {key: value for key, value in kind.items() if key != "survey"}
    inputs = {"cutouts": read_record(cutouts, "fetch").digest}
    origin = Origin("render", parameters, inputs, kind)
    counts: Counter[str] = Counter()

    def draw(row: dict[str, Any]) -> dict[str, Any]:
        return image_row(row, recipe, settings)

    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        with (
            ThreadPoolExecutor(threads, "render") as pool,
            open_product(out, IMAGES, origin) as writer,
            progress(f"render {cutouts.stem}", pq.read_metadata(cutouts).num_rows) as advance,
        ):
            for batch in read_batches(cutouts, _COLUMNS, _batch_rows(cutouts)):
                rows = list(pool.map(draw, batch.to_pylist()))
                counts.update(name for row in rows for name in flags.names(row["flags"]))
                writer.write(pa.Table.from_pylist(rows, schema=IMAGES))
                advance(len(rows))
    flagged = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    logger.info("render %s: flags: %s", cutouts.stem, flagged or "none")


def _batch_rows(cutouts: Path) -> int:
    """Rows to take at once: fewer when cutouts are large, which are in memory twice then."""
    about = pq.read_metadata(cutouts)
    groups = (about.row_group(index).total_byte_size for index in range(about.num_row_groups))
    mean_bytes = sum(groups) / max(about.num_rows, 1)
    return min(_MOST_ROWS, max(1, int(_BATCH_BYTES / max(mean_bytes, 1))))


def image_row(cutout: dict[str, Any], recipe: str, settings: RecipeSettings) -> dict[str, Any]:
    """Render one galaxy; whatever is wrong with it ends up in its flags.

    Parameters
    ----------
    cutout : dict
        object_id, status and payload of its cutout; ra and dec, in degrees, where they are known.
    recipe, settings
        As in `render`.

    Returns
    -------
    dict
        A row of `galaxymill.products.IMAGES`; ``image`` is None when nothing could be drawn.
    """
    status, payload = cutout["status"], cutout["payload"]
    row: dict[str, Any] = {"object_id": cutout["object_id"]}
    if status in _STATUS_FLAGS or payload is None:
        return row | {"flags": flags.BITS[_STATUS_FLAGS.get(status, "invalid_payload")]}
    found = flags.BITS["invalid_payload"] if status == "invalid" else 0
    try:
        drawn = _draw(payload, recipe, settings, (cutout.get("ra"), cutout.get("dec")))
    except PayloadError as error:
        names = ["invalid_payload", *(["truncated"] if error.truncated else [])]
        return row | {"flags": flags.mask(names)}
    saturated = saturated_fraction(drawn.colour)
    return row | {
        "image": {"bytes": encode(drawn.colour, settings), "path": None},
        "flags": found | drawn.flags | picture_flags(drawn.colour, saturated),
        "saturated_fraction": saturated,
        **drawn.measured,
    }


@dataclass(frozen=True)
class _Drawn:
    """A picture, and what its fluxes tell; a picture that is served has none."""

    colour: Rgb
    flags: int
    measured: dict[str, float | None]


def _draw(
    payload: bytes, recipe: str, settings: RecipeSettings, position: tuple[Any, Any]
) -> _Drawn:
    colour = RECIPES[recipe].colour
    if not is_fits(payload):
        if colour is not None:
            raise PayloadError("a JPEG or PNG has its colours already: use recipe passthrough")
        return _Drawn(read_raster(payload), 0, {})
    if colour is None:
        raise PayloadError("a FITS cutout needs a recipe other than passthrough")
    assert isinstance(settings, FluxSettings)
    cutout = read_fits(payload)
    quality = flux_quality(cutout.planes, settings.drawn_bands())
    offset, is_off = _centre_offset(cutout, *position)
    measured = {
        "bad_pixel_fraction": quality.bad_pixel_fraction,
        "peak_snr": quality.peak_snr,
        "centre_offset": offset,
        "rotation": 0.0 if settings.reproject else residual_deg(cutout.place),
    }
    found = quality.flags | (flags.BITS["off_centre"] if is_off else 0)
    return _Drawn(colour(_planes(cutout, settings), settings), found, measured)


def _planes(cutout: FitsCutout, settings: FluxSettings) -> dict[str, Any]:
    """Planes of the bands that are drawn, as they are to be seen; a missing one is filled."""
    planes, place = cutout.planes, cutout.place
    if settings.reproject:
        from galaxymill.images.reprojection import straight

        # East is left and north is up by now.
        planes, place = straight(cutout, settings.fill), None
    shape = next(iter(planes.values())).shape
    missing = np.full(shape, settings.fill, np.float32)
    return {band: upright(planes.get(band, missing), place) for band in settings.drawn_bands()}


def _centre_offset(
    cutout: FitsCutout, ra: float | None, dec: float | None
) -> tuple[float | None, bool]:
    """Arcsec from the image's middle to the galaxy, and whether that is too far."""
    if cutout.place is None or ra is None or dec is None:
        return None, False
    offset = separation_arcsec(cutout.place.ra, cutout.place.dec, ra, dec)
    width = next(iter(cutout.planes.values())).shape[1] * cutout.place.pixel_scale
    return offset, offset > OFF_CENTRE * width

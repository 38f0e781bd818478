"""Stage ``render``: the picture of every cutout of one partition, with its quality flags."""

import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.images.decode import PayloadError, is_fits, read_fits, read_raster
from galaxymill.images.recipes import RECIPES, Recipe, RecipeSettings, Rgb
from galaxymill.products import IMAGES
from galaxymill.progress import progress
from galaxymill.stages import STAGE_VERSIONS
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

MAX_BAD_FRACTION = 0.20
_STATUS_FLAGS = {"no_coverage": "no_coverage", "failed": "fetch_failed"}

logger = logging.getLogger("galaxymill")


def domain(survey: str, recipe: str, settings: RecipeSettings) -> dict[str, Any]:
    """Say what kind of images these are: a model serves the domain that it was trained on."""
    version = STAGE_VERSIONS["render"]
    return {"survey": survey, "recipe": recipe, "render_version": version, **settings.model_dump()}


def render(cutouts: Path, out: Path, survey: str, recipe: str, settings: RecipeSettings) -> None:
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
    """
    parameters = {"recipe": recipe, **settings.model_dump()}
    inputs = {"cutouts": read_record(cutouts, "fetch").digest}
    origin = Origin("render", parameters, inputs, domain(survey, recipe, settings))
    counts: Counter[str] = Counter()
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        with (
            open_product(out, IMAGES, origin) as writer,
            progress(f"render {cutouts.stem}", pq.read_metadata(cutouts).num_rows) as advance,
        ):
            columns = ["object_id", "status", "payload"]
            for batch in read_batches(cutouts, columns, rows=64):
                rows = [
                    image_row(row["object_id"], row["status"], row["payload"], recipe, settings)
                    for row in batch.to_pylist()
                ]
                counts.update(name for row in rows for name in flags.names(row["flags"]))
                writer.write(pa.Table.from_pylist(rows, schema=IMAGES))
                advance(len(rows))
    flagged = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    logger.info("render %s: flags: %s", cutouts.stem, flagged or "none")


def image_row(
    object_id: str, status: str, payload: bytes | None, recipe: str, settings: RecipeSettings
) -> dict[str, Any]:
    """Render one galaxy; whatever is wrong with it ends up in its flags.

    Parameters
    ----------
    object_id : str
        Key of the galaxy.
    status : str
        Status of its cutout.
    payload : bytes or None
        FITS, JPEG, PNG or WebP.
    recipe, settings
        As in `render`.

    Returns
    -------
    dict
        A row of `galaxymill.products.IMAGES`; ``image`` is None when nothing could be drawn.
    """
    row: dict[str, Any] = {
        "object_id": object_id,
        "image": None,
        "flags": 0,
        "bad_pixel_fraction": None,
    }
    if status in _STATUS_FLAGS or payload is None:
        row["flags"] = flags.BITS[_STATUS_FLAGS.get(status, "invalid_payload")]
        return row
    try:
        colour, found, bad = _colour(payload, RECIPES[recipe], settings)
    except PayloadError as error:
        row["flags"] = flags.BITS["invalid_payload"]
        row["flags"] |= flags.BITS["truncated"] if error.truncated else 0
        return row
    if status == "invalid":
        found |= flags.BITS["invalid_payload"]
    if colour.min() == colour.max():
        found |= flags.BITS["constant"]
    row.update(flags=found, bad_pixel_fraction=bad)
    row["image"] = {"bytes": encode(colour, settings), "path": None}
    return row


def _colour(
    payload: bytes, recipe: Recipe, settings: RecipeSettings
) -> tuple[Rgb, int, float | None]:
    """Draw one payload: the colours, the flags, and the worst band's bad-pixel fraction."""
    if not is_fits(payload):
        if recipe.colour is not None:
            raise PayloadError("a JPEG or PNG has its colours already: use recipe passthrough")
        return read_raster(payload), 0, None
    if recipe.colour is None:
        raise PayloadError("a FITS cutout needs a recipe other than passthrough")
    planes = read_fits(payload).planes
    shape = next(iter(planes.values())).shape
    found = 0
    fractions = []
    for band in settings.colour_bands().values():
        if band not in planes:
            found |= flags.BITS["band_missing"]
            planes[band] = np.zeros(shape, np.float32)
            continue
        bad = float(np.mean(~np.isfinite(planes[band]) | (planes[band] == 0)))
        fractions.append(bad)
        if bad == 1:
            found |= flags.BITS["band_empty"]
        if bad > MAX_BAD_FRACTION:
            found |= flags.BITS["bad_pixels"]
    return recipe.colour(planes, settings), found, max(fractions, default=1.0)


def encode(colour: Rgb, settings: RecipeSettings) -> bytes:
    """Resize (antialiased Lanczos) and encode one image.

    Parameters
    ----------
    colour : ndarray, shape (height, width, 3), uint8
    settings : RecipeSettings
        ``size``, ``format`` and ``quality``.

    Returns
    -------
    bytes
        A JPEG or PNG file.
    """
    from PIL import Image

    image = Image.fromarray(colour)
    if image.size != (settings.size, settings.size):
        image = image.resize((settings.size, settings.size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if settings.format == "jpeg":
        image.save(file, "JPEG", quality=settings.quality)
    else:
        image.save(file, "PNG")
    return file.getvalue()

"""Stage ``render``: the picture of every cutout of one partition, with its quality flags."""

import io
import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.decoding.decode import (
    FitsCutout,
    PayloadError,
    has_16_bits,
    is_fits,
    read_fits,
    read_raster,
)
from galaxymill.decoding.place import pixel_size
from galaxymill.errors import UserError
from galaxymill.images.colours import Rgb
from galaxymill.images.domains import Sight, domain
from galaxymill.images.orientation import resampled, residual_deg, upright
from galaxymill.images.quality import (
    OFF_CENTRE,
    darkness,
    flux_quality,
    picture_flags,
    saturated_fraction,
)
from galaxymill.images.recipes import RECIPES
from galaxymill.images.settings import FluxSettings, PassthroughSettings, RecipeSettings
from galaxymill.images.shape import Frame, differences, square
from galaxymill.products import IMAGES
from galaxymill.progress import progress
from galaxymill.reasons import Reasons
from galaxymill.sky.angles import separation_arcsec
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

_STATUS_FLAGS = {"no_coverage": "no_coverage", "failed": "fetch_failed"}
_COLUMNS = ["object_id", "ra", "dec", "status", "reason", "payload", "size", "pixel_scale"]
_MOST_ROWS = 64
_BATCH_BYTES = 32_000_000

logger = logging.getLogger("galaxymill")


def render(
    cutouts: Path,
    out: Path,
    survey: str,
    recipe: str,
    settings: RecipeSettings,
    threads: int = 1,
    sight: Sight | None = None,
) -> None:
    """Render the images of one partition: one row per row of the cutouts, in their order.

    Parameters
    ----------
    cutouts, out : Path
        From `galaxymill.surveys.fetch.fetch`, and the images.
    survey : str
        Name of the survey, kept as the images' domain.
    recipe, settings : str, RecipeSettings
        A name of `galaxymill.images.recipes.RECIPES`, and its settings.
    threads : int
        Galaxies that are drawn at a time.
    sight : Sight, optional
        How well the survey shows the sky, kept with its domain.

    Raises
    ------
    UserError
        When there are several good cutouts, and none of them can be drawn, for one reason.
    """
    kind = domain(survey, recipe, settings, sight)
    parameters = {key: value for key, value in kind.items() if key != "survey"}
    inputs = {"cutouts": read_record(cutouts, "fetch").digest}
    origin = Origin("render", parameters, inputs, kind)
    draw = partial(image_row, recipe=recipe, settings=settings)
    counts: Counter[str] = Counter()
    reasons, refused, drawn = Reasons(), Reasons(), 0
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
                for row, status in zip(rows, batch["status"].to_pylist(), strict=True):
                    counts.update(flags.names(row["flags"]))
                    if row["reason"]:
                        reasons.add(row["reason"], row["object_id"])
                    if "image" in row:
                        drawn += 1
                    elif status == "ok":
                        refused.add(row["reason"], row["object_id"])
                writer.write(pa.Table.from_pylist(rows, schema=IMAGES))
                advance(len(rows))
            # A single one may be odd; when none of several can be drawn, the fault is not theirs.
            if not drawn and len(refused) == 1 and refused.total > 1:
                ((why, those),) = refused.items()
                none = f"recipe {recipe} can draw none of {those.count} cutouts"
                raise UserError(f"{cutouts}: {none}: {why} ({those.named})")
    if reasons:
        logger.info("render %s: reasons: %s", cutouts.stem, reasons.summary())
    flagged = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    logger.info("render %s: flags: %s", cutouts.stem, flagged or "none")


def _batch_rows(cutouts: Path) -> int:
    """Rows to take at once: fewer when cutouts are large, which are in memory twice then."""
    about = pq.read_metadata(cutouts)
    groups = (about.row_group(index).total_byte_size for index in range(about.num_row_groups))
    mean_bytes = sum(groups) / max(about.num_rows, 1)
    return min(_MOST_ROWS, max(1, int(_BATCH_BYTES / max(mean_bytes, 1))))


def image_row(cutout: Mapping[str, Any], recipe: str, settings: RecipeSettings) -> dict[str, Any]:
    """Render one galaxy to a row of `galaxymill.products.IMAGES`; faults end up in its flags.

    ``cutout`` has object_id, status and payload, and may have its reason, ra and dec in degrees,
    and the requested size and pixel_scale. There is no ``image`` when nothing could be drawn.
    """
    status, payload = cutout["status"], cutout["payload"]
    reason = cutout.get("reason") or ""
    row: dict[str, Any] = {"object_id": cutout["object_id"], "reason": reason}
    if status in _STATUS_FLAGS or not payload:
        return row | {"flags": flags.BITS[_STATUS_FLAGS.get(status, "invalid_payload")]}
    found = flags.BITS["invalid_payload"] if status == "invalid" else 0
    try:
        colour, causes, columns = _draw(payload, recipe, settings, cutout)
    except PayloadError as error:
        names = ["invalid_payload", *(["truncated"] if error.truncated else [])]
        return row | {"flags": flags.mask(names), "reason": _joined(reason, str(error))}
    saturated = saturated_fraction(colour)
    found |= flags.mask(causes) | picture_flags(colour, saturated)
    return row | {
        "image": {"bytes": encode(colour, settings), "path": None},
        "flags": found | columns.pop("flags", 0),
        "reason": _joined(reason, *causes.values(), columns.pop("reason", "")),
        "saturated_fraction": saturated,
        **columns,
    }


def encode(colour: Rgb, settings: RecipeSettings) -> bytes:
    """Resize (antialiased Lanczos) and encode a picture: a JPEG file, or PNG or WebP without loss.

    The same pixels give the same bytes.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(colour))
    if image.size != (settings.size, settings.size):
        image = image.resize((settings.size, settings.size), Image.Resampling.LANCZOS)
    options = {"quality": settings.quality} if settings.format == "jpeg" else {"lossless": True}
    file = io.BytesIO()
    image.save(file, settings.format, **options)
    return file.getvalue()


def _joined(*reasons: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, reasons)))


_Drawn = tuple[Rgb, dict[str, str], dict[str, Any]]
"""A square picture; flags, each with its reason; what its fluxes give: columns, flags, a reason."""


def _draw(
    payload: bytes, recipe: str, settings: RecipeSettings, cutout: Mapping[str, Any]
) -> _Drawn:
    colour = RECIPES[recipe].colour
    if is_fits(payload):
        if colour is None:
            raise PayloadError("a FITS cutout needs a recipe other than passthrough")
        assert isinstance(settings, FluxSettings)
        return _draw_fluxes(read_fits(payload), recipe, settings, cutout)
    if colour is not None:
        raise PayloadError("a JPEG or PNG has its colours already: use recipe passthrough")
    depth = settings.depth if isinstance(settings, PassthroughSettings) else 16
    picture = read_raster(payload, depth)
    causes = differences(Frame(*picture.shape[:2]), settings.shape, cutout)
    picture = square(picture, settings.shape)
    if dark := darkness(picture, depth if has_16_bits(payload) else 0):
        causes["dark"] = dark
    return picture, causes, {}


def _draw_fluxes(
    cutout: FitsCutout, recipe: str, settings: FluxSettings, request: Mapping[str, Any]
) -> _Drawn:
    colour, bands, planes = RECIPES[recipe].colour, settings.drawn_bands(), cutout.planes
    assert colour is not None
    there = ", ".join(planes)
    absent = ", ".join(band for band in bands if band not in planes)
    if not planes.keys() & set(bands):
        raise PayloadError(f"no band {absent}, which {recipe} draws: there are {there}")
    height, width = next(iter(planes.values())).shape
    scale = cutout.pixel_scale
    pixel = (scale, scale) if scale else pixel_size(cutout.cards, width, height)
    frame = Frame(height, width, pixel)
    drawn = planes
    if settings.shape == "cut":
        drawn = {band: square(plane, "cut", pixel) for band, plane in planes.items()}
    columns = flux_quality(drawn, bands)
    offset = columns["centre_offset"] = _centre_offset(cutout, request)
    if scale and offset and offset > OFF_CENTRE * frame.squared(settings.shape)[1] * scale:
        columns["flags"] |= flags.BITS["off_centre"]
    columns["rotation"] = 0.0 if settings.reproject else residual_deg(cutout.place)
    causes = {"band_missing": f"no band {absent}: there are {there}"} if absent else {}
    causes |= differences(frame, settings.shape, request)
    picture = colour(_upright_square(cutout, settings, frame), settings)
    if dark := darkness(picture):
        causes["dark"] = f"{dark}; see the unit of the fluxes, and the recipe's settings"
    return picture, causes, columns


def _upright_square(cutout: FitsCutout, settings: FluxSettings, frame: Frame) -> dict[str, Any]:
    """Square planes of the bands that are drawn, north up; a missing one is filled."""
    planes, place, fill, shape = cutout.planes, cutout.place, settings.fill, settings.shape
    if settings.reproject:
        # East is left and north is up by now.
        planes, place = resampled(cutout, fill, frame.squared(shape)), None
    missing = np.full_like(next(iter(planes.values())), fill)
    return {
        band: square(upright(planes.get(band, missing), place), shape, frame.pixel, fill)
        for band in settings.drawn_bands()
    }


def _centre_offset(cutout: FitsCutout, request: Mapping[str, Any]) -> float | None:
    """Arcsec from the image's middle to the galaxy."""
    ra, dec = request.get("ra"), request.get("dec")
    if cutout.place is None or ra is None or dec is None:
        return None
    return separation_arcsec(cutout.place.ra, cutout.place.dec, ra, dec)

"""Stage ``fetch``: ask a service for the cutout of every galaxy of one partition."""

import logging
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.products import CUTOUTS
from galaxymill.progress import progress
from galaxymill.reasons import Reasons
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, content_digest, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches
from galaxymill.surveys.base import BATCH, Cutout, ServiceSettings, Target
from galaxymill.surveys.footprint import OUTSIDE, screen
from galaxymill.surveys.part_file import PartFile, open_part, write_meanwhile
from galaxymill.surveys.pixel_scale import pixel_scale_and_size, require_columns
from galaxymill.surveys.registry import SERVICES
from galaxymill.web.network import Network, ServiceError

_GROUP_BYTES = 8_000_000
_TARGET_COLUMNS = ["object_id", "ra", "dec", "petro_r50", "petro_r90", "file_loc", "own_redshift"]
_FEW = 8
"""Of fewer galaxies a share says little, unless no word came of any of them."""
_NO_FILE = re.compile(r"no file ('[^']|\")")
"""Of the service ``files``: the catalogue names a file that is not there."""

logger = logging.getLogger("galaxymill")


def fetch(tile: Path, out: Path, service: str, settings: ServiceSettings, network: Network) -> None:
    """Fetch the cutouts of one partition; a product that is here already is left as it is.

    What has come is kept in a part file beside the product: a job that was killed, or that
    stopped because the service did, goes on where it was.

    Parameters
    ----------
    tile, out : Path
        Tile of the catalogue, and its cutouts: a row for each of its rows, in its order.
    service, settings : str, ServiceSettings
        A name of `galaxymill.surveys.registry.SERVICES`, and its settings.
    network : Network
        Limits, of which this job takes its share; they do not change the product.

    Raises
    ------
    ServiceError
        When the service fails time after time, does not know what it is asked for, or more galaxies
        than ``max_failed`` allows could not be had.
    """
    origin = cutouts_origin(tile, service, settings)
    with exclusive(out) as waited:
        if is_made(out, origin):
            made = "another process has just made it" if waited else "delete it to fetch it anew"
            logger.info("fetch: %s is here, as it is asked for: %s", out.name, made)
            counts = Counter(pq.read_table(out, columns=["status"])["status"].to_pylist())
        else:
            with open_part(out, origin.to_dict()) as part:
                if len(part):
                    logger.info("fetch %s: %d galaxies are here already", tile.stem, len(part))
                write = partial(write_cutouts, out, origin)
                with write_meanwhile(write, part, targets(tile, settings)):
                    collect(part, tile, service, settings, network.share())
                    _refuse_losses(part, _request(tile, service, settings), network.max_failed)
                counts = Counter(part.statuses())
    logger.info("fetch %s: %s", tile.stem, ", ".join(f"{n} {s}" for s, n in counts.most_common()))
    if counts["failed"]:
        command = _retry_command(tile, out, service, settings, network)
        logger.info("to ask again for what failed: %s", command)


def _request(tile: Path, service: str, settings: ServiceSettings) -> str:
    """Name in messages the partition that is fetched, and what it is fetched from."""
    return f"fetch {tile.stem} ({' '.join(filter(None, [service, settings.source_name]))})"


def _retry_command(
    tile: Path, out: Path, service: str, settings: ServiceSettings, network: Network
) -> str:
    """Write the command that asks again for all failed galaxies of the survey."""
    folders = shlex.join([str(tile.parent), str(out.parent)])
    flags = [settings.to_flags(), settings.operational_flags(), network.to_flags("--network")]
    return f"galaxymill fetch {folders} --service {service} {' '.join(flags)} --retry-failed"


def cutouts_origin(tile: Path, service: str, settings: ServiceSettings) -> Origin:
    """Describe what the cutouts of a tile are made from."""
    inputs = {"tile": read_record(tile, "partition").digest}
    inputs |= {name: content_digest(path) for name, path in settings.input_files().items()}
    parameters = {"service": service, **settings.product_settings()}
    if settings.zero_point is not None and not settings.sends_pictures:
        parameters["zero_point"] = settings.zero_point
    return Origin("fetch", parameters, inputs)


def targets(tile: Path, settings: ServiceSettings) -> Iterator[Target]:
    """Yield the galaxies of a tile in its order, read a few at a time."""
    present = set(pq.read_schema(tile).names)
    columns = [name for name in _TARGET_COLUMNS if name in present]
    require_columns(tile, present, settings)
    for rows in read_batches(tile, columns=columns):
        for row in rows.to_pylist():
            scale, size = pixel_scale_and_size(row.get("petro_r50"), row.get("petro_r90"), settings)
            ra, dec = (math.nan if row[name] is None else row[name] for name in ("ra", "dec"))
            file_loc = str(row.get("file_loc") or "")
            redshift = row.get("own_redshift")
            yield Target(str(row["object_id"]), ra, dec, scale, size, file_loc, redshift)


def collect(
    part: PartFile,
    tile: Path,
    service: str,
    settings: ServiceSettings,
    network: Network,
    wanted: Collection[str] | None = None,
) -> None:
    """Ask for every galaxy that the part file lacks, or for those ``wanted`` again; see `fetch`."""
    total = (pq.read_metadata(tile).num_rows if wanted is None else len(wanted)) - len(part)
    if not total:
        return
    if wanted is not None or not {"ok", "partial"}.isdisjoint(part.statuses()):
        # The service knows what is asked for: if it refuses, that is the galaxies' own fault.
        network = network.model_copy(update={"max_failed": 1})
    left = (
        target
        for target in targets(tile, settings)
        if target.object_id not in part and (wanted is None or target.object_id in wanted)
    )
    with (
        progress(f"fetch {tile.stem}", total) as advance,
        closing(SERVICES[service].open(settings, network)) as source,
    ):

        def keep(cutout: Cutout) -> None:
            part.add(cutout)
            advance()

        def inside() -> Iterator[Target]:
            for item in screen(left, settings.footprint):
                if isinstance(item, Target):
                    yield item
                else:
                    keep(item)

        try:
            for cutout in source.fetch(inside()):
                keep(cutout)
                # Its payload is not held while the next one is waited for.
                del cutout
        except ServiceError as error:
            # Failures of a service that then failed for good were not the galaxies'.
            part.forget([key for key, status, _ in part.outcomes() if status == "failed"])
            raise ServiceError(
                f"{_request(tile, service, settings)}: {error}; stopped, so as not to burden the "
                f"server. {len(part)} galaxies are kept: run again to go on from there"
            ) from error


def _refuse_losses(part: PartFile, what: str, max_failed: float) -> None:
    """Raise ServiceError when too many galaxies could not be had, and forget them; log the others.

    Lost are those that are ``failed`` or ``invalid``, or whose own file is missing; others that are
    ``no_coverage`` are left out. ``max_failed`` is the share that may be lost. Where fewer than
    eight remain, it must also be more than this share of all, none may have been had, and one at
    least is not ``invalid``: a service that sends pictures, if no good ones, is at work.
    """
    lost = [key for key, *outcome in part.outcomes() if _is_lost(*outcome)]
    counts, total = Counter(part.statuses()), len(part)
    had = counts["ok"] + counts["partial"]
    there = len(lost) + had
    message = f"{what}: {len(lost)} of {total} galaxies could not be had: {_why(part, _is_lost)}"
    if any(_NO_FILE.match(reason) for _, _, reason in part.outcomes()):
        message += "; paths of files start at cutouts.folder"
    answered = had or counts["invalid"] == len(lost)
    few = there < _FEW and (answered or len(lost) <= max_failed * total)
    if len(lost) > max_failed * there and not few:
        part.forget(lost)
        raise ServiceError(
            f"{message}. Of those that the survey may hold that is more than "
            f"max_failed={max_failed:g} (a limit of `network`) allows, so no product is written. "
            f"{len(part)} galaxies are kept: see to the reason, then run again to ask for the "
            "others; or set max_failed to 1 to go on without them"
        )
    if lost:
        logger.warning(message)
    if total and counts["no_coverage"] == total:
        warning = f"{what}: all {total} galaxies are no_coverage: {_why(part, lambda *_: True)}"
        if not all(reason.startswith(OUTSIDE) for _, _, reason in part.outcomes()):
            warning += (
                ". Has the survey really not been here? If what is asked for is misspelled there "
                "is nothing anywhere; a footprint would settle such galaxies without a request"
            )
        logger.warning(warning)


def _is_lost(status: str, reason: str) -> bool:
    return status in ("failed", "invalid") or _NO_FILE.match(reason) is not None


def _why(part: PartFile, counts: Callable[[str, str], bool]) -> str:
    return Reasons.of(
        (object_id, f"{status}: {reason}")
        for object_id, status, reason in part.outcomes()
        if counts(status, reason)
    ).summary()


def write_cutouts(out: Path, origin: Origin, cutouts: Iterable[Cutout]) -> None:
    """Write the product, at most ``BATCH`` galaxies or some megabytes a row group."""
    with open_product(out, CUTOUTS, origin) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for cutout in cutouts:
            rows.append(_row(cutout))
            size += len(cutout.payload or b"")
            # Payloads are let go before the next copies of them are made.
            del cutout
            if len(rows) == BATCH or size > _GROUP_BYTES:
                writer.write(_table(rows))
                size = 0
        writer.write(_table(rows))


def _row(cutout: Cutout) -> dict[str, Any]:
    target, payload = cutout.target, cutout.payload
    return {
        **vars(cutout),
        "object_id": target.object_id,
        "ra": _nan_as_null(target.ra),
        "dec": _nan_as_null(target.dec),
        "sha256": sha256(payload).hexdigest() if payload else None,
        "pixel_scale": target.pixel_scale or None,
        "size": target.size or None,
    }


def _nan_as_null(angle: float | None) -> float | None:
    return None if angle is None or math.isnan(angle) else angle


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """Move rows into a table; the list is empty afterwards."""
    table = pa.Table.from_pylist(rows, schema=CUTOUTS)
    rows.clear()
    return table

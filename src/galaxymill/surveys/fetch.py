"""Stage ``fetch``: ask a service for the cutout of every galaxy of one partition."""

import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.products import CUTOUTS
from galaxymill.progress import progress
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, content_digest, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches
from galaxymill.surveys.base import (
    BATCH,
    Cutout,
    Network,
    Service,
    ServiceError,
    ServiceSettings,
    Target,
)
from galaxymill.surveys.follower import Follower, written_beside
from galaxymill.surveys.footprint import screen
from galaxymill.surveys.part_file import PartFile, open_part
from galaxymill.surveys.pixel_scale import pixel_scale_and_size, require_radii
from galaxymill.surveys.registry import SERVICES

_GROUP_BYTES = 8_000_000
_UNKNOWN = {404, 410}
_MANY = 8
_TARGET_COLUMNS = ["object_id", "ra", "dec", "petro_r50", "petro_r90", "file_loc"]

logger = logging.getLogger("galaxymill")


def fetch(tile: Path, out: Path, service: str, settings: ServiceSettings, network: Network) -> None:
    """Fetch the cutouts of one partition.

    What has come is kept in a part file beside the product: a job that was killed, or that
    stopped because the service did, goes on where it was.

    Parameters
    ----------
    tile : Path
        Tile of the catalogue.
    out : Path
        The cutouts: one row per row of the tile, in its order, whatever became of it.
    service : str
        A name of `galaxymill.surveys.registry.SERVICES`.
    settings : ServiceSettings
        Of that service.
    network : Network
        Limits, of which this job takes its share; they do not change the product.

    Raises
    ------
    ServiceError
        When the service fails time after time, or nothing at all could be had from it.
    """
    origin = cutouts_origin(tile, service, settings)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            logger.info("fetch: another process has just made %s", out.name)
            return
        with open_part(out, origin.to_dict()) as part:
            if len(part):
                logger.info("fetch %s: %d galaxies are here already", tile.stem, len(part))
            follower = Follower(part, targets(tile, settings))
            with written_beside(partial(write_cutouts, out, origin), follower):
                _complete(part, tile, service, settings, network.share())
                _refuse_silence(part, service)
            counts = Counter(part.statuses())
    logger.info("fetch %s: %s", tile.stem, ", ".join(f"{n} {s}" for s, n in counts.most_common()))
    if counts["failed"]:
        logger.info(
            "to ask again for what failed: %s", _retry(tile, out, service, settings, network)
        )


def _retry(tile: Path, out: Path, service: str, settings: ServiceSettings, network: Network) -> str:
    """Spell the command that asks again for all failed galaxies of the survey."""
    folders = shlex.join([str(tile.parent), str(out.parent)])
    flags = [settings.to_flags(), settings.operational_flags(), network.limit_flags()]
    return f"galaxymill fetch {folders} --service {service} {' '.join(flags)} --retry-failed"


def cutouts_origin(tile: Path, service: str, settings: ServiceSettings) -> Origin:
    """Say what the cutouts of a tile are made from."""
    inputs = {"tile": read_record(tile, "partition").digest}
    inputs |= {name: content_digest(path) for name, path in settings.input_files().items()}
    parameters = {"service": service, **settings.product_settings()}
    if settings.zero_point is not None and not settings.sends_pictures:
        parameters["zero_point"] = settings.zero_point
    return Origin("fetch", parameters, inputs)


def targets(tile: Path, settings: ServiceSettings) -> Iterator[Target]:
    """Give the galaxies of a tile in its order, a few at a time."""
    present = set(pq.read_schema(tile).names)
    columns = [name for name in _TARGET_COLUMNS if name in present]
    require_radii(tile, present, settings)
    for rows in read_batches(tile, columns=columns):
        for row in rows.to_pylist():
            yield _target(row, settings)


def _target(row: dict[str, Any], settings: ServiceSettings) -> Target:
    scale, size = pixel_scale_and_size(row.get("petro_r50"), row.get("petro_r90"), settings)
    file_loc = str(row.get("file_loc") or "")
    return Target(str(row["object_id"]), row["ra"], row["dec"], scale, size, file_loc)


def _complete(
    part: PartFile, tile: Path, service: str, settings: ServiceSettings, network: Network
) -> None:
    """Ask for every galaxy of the tile that the part file has not."""
    total = pq.read_metadata(tile).num_rows - len(part)
    missing = (target for target in targets(tile, settings) if target.object_id not in part)
    if total:
        screened = screen(missing, settings.footprint)
        with closing(SERVICES[service].open(settings, network)) as source:
            collect(source, screened, part, f"fetch {tile.stem}", total)


def collect(
    source: Service,
    screened: Iterator[Target | Cutout],
    part: PartFile,
    what: str,
    total: int,
) -> None:
    """Keep the answers to all targets as they come.

    Parameters
    ----------
    source : Service
        Who is asked.
    screened : iterator of Target or Cutout
        Whom to ask for; a cutout stands for a galaxy that need not be asked for.
    part : PartFile
        Where answers are kept.
    what, total : str, int
        For the progress.
    """
    with progress(what, total) as advance:

        def keep(cutout: Cutout) -> None:
            part.add(cutout)
            advance()

        try:
            for cutout in source.fetch(_asked(screened, keep)):
                keep(cutout)
                # Its payload is not held while the next one is waited for.
                del cutout
        except ServiceError as error:
            # Failures of a service that then failed for good were not the galaxies'.
            part.forget(part.doubtful())
            raise ServiceError(
                f"{what}: {error}; stopped, so as not to burden the server. {len(part)} galaxies "
                "are kept: run again to go on from there"
            ) from error


def _asked(screened: Iterator[Target | Cutout], keep: Any) -> Iterator[Target]:
    for item in screened:
        if isinstance(item, Target):
            yield item
        else:
            keep(item)


def _refuse_silence(part: PartFile, service: str) -> None:
    """Fail the job when not one galaxy could be had: the fault is not the galaxies'."""
    statuses = set(part.statuses())
    if not statuses or statuses - {"failed", "invalid"}:
        return
    galaxies = part.object_ids()
    last = part.read(galaxies[-1])
    what = f"{service}: none of {len(galaxies)} galaxies could be had, the last because of"
    if "invalid" in statuses or (last.http_status in _UNKNOWN and len(galaxies) < _MANY):
        # So few may be unknown to the service; what is invalid is kept to look at.
        logger.warning("%s %s", what, last.reason)
        return
    part.forget(galaxies)
    raise ServiceError(
        f"{what} {last.reason}; nothing is kept: see that the service answers, then run again"
    )


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
    return {
        "object_id": cutout.target.object_id,
        "ra": cutout.target.ra,
        "dec": cutout.target.dec,
        "status": cutout.status,
        "http_status": cutout.http_status,
        "reason": cutout.reason,
        "payload": cutout.payload,
        "sha256": sha256(cutout.payload).hexdigest() if cutout.payload else None,
        "fetched_at": cutout.fetched_at,
        "url": cutout.url,
        "pixel_scale": cutout.target.pixel_scale or None,
        "size": cutout.target.size or None,
    }


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """Move rows into a table; the list is empty afterwards."""
    table = pa.Table.from_pylist(rows, schema=CUTOUTS)
    rows.clear()
    return table

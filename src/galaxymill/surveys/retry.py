"""Ask again for galaxies that could not be had, in products that are already finished."""

import logging
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from galaxymill.errors import UserError
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches
from galaxymill.surveys.base import BATCH, Cutout, ServiceSettings, Target
from galaxymill.surveys.fetch import collect, cutouts_origin, write_cutouts
from galaxymill.surveys.part_file import PartFile, open_part
from galaxymill.surveys.services.observed import ObservedSettings
from galaxymill.web.network import Network

RETRIED = ("failed", "invalid", "no_coverage", "partial")

logger = logging.getLogger("galaxymill")


def retry_failed(
    tile: Path,
    out: Path,
    service: str,
    settings: ServiceSettings,
    network: Network,
    statuses: Collection[str] = ("failed",),
) -> None:
    """Ask again for the rows of some statuses of finished cutouts; replace what is answered anew.

    A galaxy that fails now, or is what it was, keeps its row, and so does a partial one that is not
    whole now; a product without any other is left untouched. ``tile`` and ``out`` are one tile and
    its cutouts, or the folders of both; the others are as for `galaxymill.surveys.fetch.fetch`.
    Raises UserError while a workflow runs here, or when a product was made with other settings.
    """
    _refuse_while_a_workflow_runs(out)
    if isinstance(settings, ObservedSettings):
        raise UserError("--retry: observed asks nobody; delete a product to draw it again")
    unknown = sorted(set(statuses) - set(RETRIED))
    if unknown or not statuses:
        raise UserError(f"--retry: no status {', '.join(unknown)}; allowed: {', '.join(RETRIED)}")
    pairs = _pairs(tile, out)
    replaced = sum(_retry_one(*pair, service, settings, network, statuses) for pair in pairs)
    logger.info("fetch: %d of %d products replaced", replaced, len(pairs))


def _refuse_while_a_workflow_runs(out: Path) -> None:
    for folder in (Path.cwd(), *out.resolve().parents):
        locks = folder / ".snakemake" / "locks"
        if any(locks.glob("*.lock")):
            raise UserError(
                f"{out}: a workflow is running in {folder} (its locks are in {locks}); wait for "
                "its end, or `snakemake --unlock` if it was killed, then run again"
            )


def _pairs(tile: Path, out: Path) -> list[tuple[Path, Path]]:
    if not out.is_dir():
        return [(tile, out)]
    products = sorted(out.glob("*.parquet"))
    if not tile.is_dir() or not products:
        raise UserError(f"{out}: give the folder of the tiles, then that of their cutouts")
    return [(tile / product.name, product) for product in products]


def _retry_one(
    tile: Path,
    out: Path,
    service: str,
    settings: ServiceSettings,
    network: Network,
    statuses: Collection[str],
) -> bool:
    """Ask again for the galaxies of one product; True when it was replaced."""
    origin = cutouts_origin(tile, service, settings)
    with exclusive(out):
        record = read_record(out, "fetch")
        if record.origin != origin.to_dict():
            raise UserError(
                f"{out}: was fetched with other settings than these; give the same ones, or run "
                "the workflow to fetch it anew"
            )
        asked = sorted(set(statuses))
        rows = pq.read_table(
            out, columns=["object_id", "status"], filters=[("status", "in", asked)]
        )
        before = dict(zip(*rows.to_pydict().values(), strict=True))
        if not before:
            return False
        # The digest in the key: answers kept by a killed retry fit only what they were kept for.
        with open_part(out, {"retry": record.digest, "of": asked, **record.origin}) as part:
            collect(part, tile, service, settings, network, before)
            new = {key for key, now, _ in part.outcomes() if _is_better(now, before[key])}
            if new:
                write_cutouts(out, origin, _merged(out, part, new))
    counts = f"{len(new)} of {len(before)} {' or '.join(asked)} galaxies"
    logger.info("fetch %s: %s could be had", tile.stem, counts)
    return bool(new)


def _is_better(now: str, before: str) -> bool:
    """Whether an answer replaces an earlier one: an image is not given up for none."""
    return now == "ok" or (now != before and now != "failed" and before != "partial")


def _merged(out: Path, part: PartFile, new: Collection[str]) -> Iterator[Cutout]:
    """Rows of the product as they are, those with a new answer from the part file."""
    for rows in read_batches(out, rows=BATCH):
        for row in rows.to_pylist():
            if row["object_id"] in new:
                yield part.read(row["object_id"])
                continue
            row.pop("sha256")
            place = {name: row.pop(name) for name in ("ra", "dec", "pixel_scale", "size")}
            yield Cutout(Target(row.pop("object_id"), **place), **row)

"""Counts of the galaxies of finished partitions by status, and the reasons of failures."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import unfit_rows
from galaxymill.reasons import Reasons
from galaxymill.status.logs import read_counts, tail
from galaxymill.status.stage import State

_READ = 200
"""At most so many products are opened for the reasons of what failed in them, the newest first."""
_EXPLAINED = flags.mask(
    (
        *("invalid_payload", "truncated", "band_missing", "dark"),
        *("not_square", "size_differs", "scale_differs"),
    )
)
"""Flags of images that give a reason of their own; others stand with the cutouts or are numbers."""


@dataclass(frozen=True)
class Galaxies:
    """Cutouts by status or images by flag, and why some are not ok.

    The reasons were read from ``opened`` of the ``faulty`` products that hold any.
    """

    counts: Counter[str]
    reasons: Reasons
    opened: int
    faulty: int


def count_cutouts(state: State) -> Galaxies:
    """Count the galaxies of finished cutouts by status.

    The last line of a log says as much as the product; only products that are newer than their
    log (failed galaxies were asked for again), and a number of those with failures, are opened.
    """
    statuses: Counter[str] = Counter()
    faulty = []
    for part, time in state.done.items():
        product = state.stage.products / f"{part}.parquet"
        counts = _counts_of_log(state.stage.logs / f"{part}.log", part, time)
        if counts is None:
            counts = _statuses(product)
        statuses.update(counts)
        if set(counts) - {"ok"}:
            faulty.append((time, product))
    return _with_reasons(statuses, faulty, _not_ok)


def count_images(state: State) -> Galaxies:
    """Count the quality flags of finished images by their logs, and read what they say."""
    found: Counter[str] = Counter()
    flagged = []
    for part, time in state.done.items():
        counts = read_counts(tail(state.stage.logs / f"{part}.log"), f" render {part}: flags: ")
        found.update(counts or {})
        if counts is None or flags.mask(counts.keys() & flags.BITS) & _EXPLAINED:
            flagged.append((time, state.stage.products / f"{part}.parquet"))
    return _with_reasons(found, flagged, partial(unfit_rows, unfit=_EXPLAINED))


def _with_reasons(
    counts: Counter[str],
    faulty: list[tuple[float, Path]],
    read: Callable[[Path], Iterator[tuple[str, str]]],
) -> Galaxies:
    """Read the reasons out of the newest of the products that hold any."""
    newest = [product for _, product in sorted(faulty, reverse=True)[:_READ]]
    reasons = Reasons()
    for product in newest:
        with if_it_is_there(product):
            for key, reason in read(product):
                reasons.add(reason, key)
    return Galaxies(counts, reasons, len(newest), len(faulty))


def _counts_of_log(log: Path, part: str, written: float) -> dict[str, int] | None:
    try:
        if log.stat().st_mtime < written:
            return None
    except OSError:
        return None
    return read_counts(tail(log), f" fetch {part}: ")


def _statuses(product: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    with if_it_is_there(product):
        counts.update(pq.read_table(product, columns=["status"])["status"].to_pylist())
    return counts


@contextmanager
def if_it_is_there(product: Path) -> Iterator[None]:
    """Skip a product that was removed meanwhile, to be made again."""
    try:
        yield
    except FileNotFoundError:
        return
    except pa.ArrowInvalid as error:
        raise UserError(f"{product}: cannot be read ({error}); delete it and run again") from error


def _not_ok(product: Path) -> Iterator[tuple[str, str]]:
    table = pq.read_table(product, columns=["object_id", "status", "reason"])
    for row in table.filter(pc.not_equal(table["status"], "ok")).to_pylist():
        yield row["object_id"], f"{row['status']}: {row['reason'] or 'no reason given'}"

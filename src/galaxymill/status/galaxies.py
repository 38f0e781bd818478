"""What became of the galaxies of finished partitions: counts, and the reasons of what failed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.errors import UserError
from galaxymill.products import CUTOUTS
from galaxymill.status.logs import read_counts, tail
from galaxymill.status.stage import State

_READ = 200
"""At most so many products are opened for the reasons of what failed in them, the newest first."""
_EXAMPLES = 3


@dataclass
class Reason:
    """Why galaxies failed: how many, and the ids of some."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Galaxies:
    """What became of the galaxies of one survey's cutouts.

    Attributes
    ----------
    statuses : Counter
        Galaxies by status.
    reasons : dict
        Those that are not ok, by status and reason, the most common first.
    opened, faulty : int
        Products that the reasons were read from, and those that hold any.
    """

    statuses: Counter[str]
    reasons: dict[tuple[str, str], Reason]
    opened: int
    faulty: int


def count_cutouts(state: State) -> Galaxies:
    """Count the galaxies of finished cutouts by status.

    The last line of a log tells as much as the product; only products that are newer than
    their log (failed galaxies were asked for again), and a number of those with failures, are
    opened.
    """
    statuses: Counter[str] = Counter()
    faulty = []
    for part, time in state.done.items():
        product = state.stage.products / f"{part}.parquet"
        counts = _told(state.stage.logs / f"{part}.log", part, time)
        if counts is None:
            counts = _statuses(product)
        statuses.update(counts)
        if set(counts) - {"ok"}:
            faulty.append((time, product))
    newest = [product for _, product in sorted(faulty, reverse=True)[:_READ]]
    return Galaxies(statuses, _reasons(newest), len(newest), len(faulty))


def count_flags(state: State) -> Counter[str]:
    """Count the quality flags of finished images, as the logs tell them."""
    flags: Counter[str] = Counter()
    for part in state.done:
        lines = tail(state.stage.logs / f"{part}.log")
        flags.update(read_counts(lines, f" render {part}: flags: ") or {})
    return flags


def _told(log: Path, part: str, written: float) -> dict[str, int] | None:
    try:
        if log.stat().st_mtime < written:
            return None
    except OSError:
        return None
    return read_counts(tail(log), f" fetch {part}: ")


def _statuses(product: Path) -> dict[str, int]:
    column = _read(product, ["status"])["status"]
    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}


def _read(product: Path, columns: list[str]) -> pa.Table:
    """Read columns of a product; no rows when it has just been taken away to be made anew."""
    try:
        return pq.read_table(product, columns=columns)
    except FileNotFoundError:
        return CUTOUTS.empty_table().select(columns)
    except pa.ArrowInvalid as error:
        raise UserError(f"{product}: cannot be read ({error}); delete it and run again") from error


def _reasons(products: Iterable[Path]) -> dict[tuple[str, str], Reason]:
    """Read why galaxies are not ok."""
    found: dict[tuple[str, str], Reason] = {}
    for product in products:
        table = _read(product, ["object_id", "status", "reason"])
        for row in table.filter(pc.not_equal(table["status"], "ok")).to_pylist():
            reason = found.setdefault((row["status"], row["reason"]), Reason())
            reason.count += 1
            if len(reason.examples) < _EXAMPLES:
                reason.examples.append(row["object_id"])
    return dict(sorted(found.items(), key=lambda item: -item[1].count))

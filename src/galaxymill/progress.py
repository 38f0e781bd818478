"""Progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

LOG_EVERY_S = 10.0


class Advance(Protocol):
    """Call with the number of items done since the last call."""

    def __call__(self, items: int = 1) -> None:
        """Count ``items`` as done."""


@contextmanager
def progress(what: str, total: int, unit: str = "galaxies") -> Iterator[Advance]:
    """Show how far a loop has come.

    Parameters
    ----------
    what : str
        E.g. ``"fetch"``.
    total : int
        Number of items in all.
    unit : str
        What is counted.

    Yields
    ------
    Advance
    """
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console, what, total, unit) as advance:
            yield advance
    else:
        yield _Lines(what, total, unit)


@contextmanager
def _bar(console: "Console", what: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(items: int = 1) -> None:
            speed = bar.tasks[0].speed or 0.0
            bar.update(task, advance=items, rate=f"{speed:.1f} {unit}/s")

        yield advance


class _Lines:
    """Plain lines, one each ten seconds and one at the end."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._start = self._last = time.monotonic()

    def __call__(self, items: int = 1) -> None:
        self._done += items
        now = time.monotonic()
        if now - self._last < LOG_EVERY_S and self._done < self._total:
            return
        self._last = now
        rate = self._done / max(now - self._start, 1e-9)
        left_s = (self._total - self._done) / max(rate, 1e-9)
        logging.getLogger("galaxymill").info(
            "%s: %d of %d %s, %.1f/s, %.0f s left",
            *(self._what, self._done, self._total, self._unit, rate, left_s),
        )

"""Progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_EVERY_S = 10.0

Advance = Callable[..., None]
"""Call with the number of items done since the last call, by default one."""


@contextmanager
def progress(what: str, total: int, unit: str = "galaxies") -> Iterator[Advance]:
    """Show how far a loop over ``total`` items, counted in ``unit``, has come.

    Yields
    ------
    Advance
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(what, total, unit)
        return
    from rich import progress as rich

    rate = rich.TextColumn("{task.fields[rate]}")
    place = rich.BarColumn(), rich.MofNCompleteColumn(), rate, rich.TimeRemainingColumn()
    with rich.Progress(rich.TextColumn(what), *place, console=console) as bar:
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

"""Progress, failures and counts, read from the log of a job."""

import os
import re
from pathlib import Path
from typing import NamedTuple

_TAIL_BYTES = 4096
_PROGRESS = re.compile(r": (\d+) of (\d+) \w+, ([\d.]+)/s, ")
_COUNT = re.compile(r"(\d+) ([a-z_0-9]+)")


class Progress(NamedTuple):
    """Progress of a job: items still to do, and items a second."""

    left: int
    rate: float


def tail(log: Path) -> list[str]:
    """Read the last lines of a log; none when there is no such file."""
    try:
        with log.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_progress(lines: list[str]) -> Progress | None:
    """Find the last line on progress."""
    for line in reversed(lines):
        if found := _PROGRESS.search(line):
            return Progress(int(found[2]) - int(found[1]), float(found[3]))
    return None


def read_failure(lines: list[str]) -> str:
    """Say why a job that has left no product ended: its error, or that its log just ends."""
    for line in reversed(lines):
        if line.startswith("galaxymill: "):
            return line.removeprefix("galaxymill: ")
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        return lines[-1]
    return "killed or cancelled: its log just ends"


def read_counts(lines: list[str], before: str) -> dict[str, int] | None:
    """Read what a stage counted, e.g. ``12 ok, 3 failed``, after ``before``; None: no such line."""
    for line in reversed(lines):
        _, found, counts = line.partition(before)
        pairs = [_COUNT.fullmatch(word) for word in counts.split(", ")]
        if found and all(pairs):
            return {pair[2]: int(pair[1]) for pair in pairs if pair}
        if found and counts.strip() == "none":
            return {}
    return None

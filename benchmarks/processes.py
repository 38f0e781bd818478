"""What whole processes take: time, CPU, memory."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from figures import SHORT


class Run(NamedTuple):
    """What a process took."""

    seconds: float
    cpu_s: float
    peak_mb: float
    printed: str


def measure(words: Sequence[object], environment: Mapping[str, str] | None = None) -> Run:
    """Run a process to its end."""
    with tempfile.TemporaryFile() as told:
        start = time.perf_counter()
        child = subprocess.Popen(list(map(str, words)), stdout=told, stderr=told, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        printed = told.read().decode(errors="replace")
    if child.returncode:
        raise SystemExit(printed[-6000:])
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, printed)


def apart(function: Callable, *arguments: object):
    """Call in another process: a child's peak starts at its parent's, so this one stays small."""
    if SHORT:
        return function(*arguments)
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        return other.submit(function, *arguments).result()

"""What whole processes take: time, CPU, memory."""

import json
import os
import subprocess
import sys
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


_RELAY = """
import json, os, sys
child = os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(child, 0)
took = [used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, os.waitstatus_to_exitcode(status)]
os.write(int(sys.argv[1]), json.dumps(took).encode())
"""
"""Starts a process and waits for it. A child's peak starts at its parent's memory: the parent is
this small one, not the benchmark."""


def measure(words: Sequence[object], environment: Mapping[str, str] | None = None) -> Run:
    """Run a process to its end."""
    with tempfile.TemporaryFile() as told:
        start = time.perf_counter()
        reader, writer = os.pipe()
        relay = [sys.executable, "-I", "-S", "-c", _RELAY, str(writer), *map(str, words)]
        done = subprocess.Popen(relay, stdout=told, stderr=told, env=environment, pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as answer:
            plain = answer.read()
        done.wait()
        seconds = time.perf_counter() - start
        told.seek(0)
        printed = told.read().decode(errors="replace")
    cpu_s, peak_mb, code = json.loads(plain) if plain else (0.0, 0.0, 1)
    if code:
        raise SystemExit(printed[-6000:])
    return Run(seconds, cpu_s, peak_mb, printed)


def apart(function: Callable, *arguments: object):
    """Call in another process: a child's peak starts at its parent's, so this one stays small."""
    if SHORT:
        return function(*arguments)
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        return other.submit(function, *arguments).result()

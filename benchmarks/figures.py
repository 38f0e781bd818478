"""How a benchmark prints: the processor, then a line a figure, `name value unit goal ok|short`."""

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

SHORT = bool(os.environ.get("BENCH_SHORT"))
"""Set to check that the benchmarks run; the figures then mean nothing."""


@cache
def tell_processor() -> None:
    """Print once which instructions the processor has: bfloat16 is ten times slower without."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        flags = set()
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    print(f"# processor: {os.cpu_count()} cores, {' '.join(known) or 'unknown'}", flush=True)


def figure(
    name: str, value: float, unit: str, at_most: float | None = None, at_least: float | None = None
) -> None:
    """Print one figure beside its goal; without one it is there to compare others with."""
    tell_processor()
    goal, met = "-", True
    if at_most is not None:
        goal, met = f"<={at_most:g}", value <= at_most
    elif at_least is not None:
        goal, met = f">={at_least:g}", value >= at_least
    print(f"{name} {value:.4g} {unit} {goal} {'ok' if met else 'short'}", flush=True)


def best_seconds(
    run: Callable[[], object], repeats: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Time a function, the best of several runs: CPU seconds of this process, or by ``clock``."""
    times = []
    for _ in range(1 if SHORT else repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)

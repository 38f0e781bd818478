"""Seconds and memory of `galaxymill compare` of two HATS catalogues, and how true its figures are.

Both have the same galaxies, evenly over a third of the sky, in tiles as of a release; the second
lacks one in ten, and lies 0.2 arcsec off. Columns are the fractions of 34 answers. The reference
is numpy and scipy on whole columns in memory.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from figures import SHORT, figure
from processes import apart
from scipy.stats import spearmanr

from galaxymill.release.tables.hats_catalog import Collection
from galaxymill.sky.healpix import INDEX_ORDER, count_pixels, cut_sky, healpix_pixels
from galaxymill.trees.tree import load_tree

COUNT, PER_TILE = (20_000, 2000) if SHORT else (10**7, 400_000)
TREE = load_tree(Path(__file__).resolve().parents[1] / "config" / "trees" / "decals_dr5.yaml")
CHECKED = [f"{TREE.questions[0].columns[0]}_fraction", f"{TREE.questions[2].columns[1]}_fraction"]


def write_catalogues(folder: Path) -> None:
    """Write A and B."""
    rng = np.random.default_rng(1)
    ra = rng.uniform(0, 360, COUNT)
    dec = np.degrees(np.arcsin(rng.uniform(-0.1, 0.55, COUNT)))
    number = np.arange(COUNT)
    write_hats(folder, "a", number, ra, dec)
    kept = rng.random(COUNT) < 0.9
    ra, dec = ra[kept], dec[kept] + 0.2 / 3600
    write_hats(folder, "b", number[kept], ra, dec)


def write_hats(folder: Path, name: str, number, ra, dec) -> None:
    """Write one of them; tiles of B are smaller, so that they do not pair one by one."""
    index = healpix_pixels(ra, dec, INDEX_ORDER)
    order = np.argsort(index)
    number, ra, dec, index = (values[order] for values in (number, ra, dec, index))
    counts = count_pixels(index)
    tiles = cut_sky(counts, PER_TILE if name == "a" else PER_TILE // 3, "PER_TILE")
    collection = Collection(folder / name, name, tiles, 5.0)
    for tile in tiles:
        own = slice(*np.searchsorted(index, tile.range))
        plain = {"_healpix_29": index[own], "ra": ra[own], "dec": dec[own]}
        plain["object_id"] = [f"{one // 1000}_{one % 1000:03d}" for one in number[own].tolist()]
        collection.add(tile, pa.table(plain | fractions(number[own], name)))
    collection.finish(counts, ["object_id", "ra", "dec"])


def fractions(number, name: str) -> dict[str, np.ndarray]:
    """Draw fractions: of a galaxy's own, with noise of each catalogue; one in ten has none."""
    values = {}
    for place, question in enumerate(TREE.questions):
        # The same for a galaxy wherever it is asked for: a hash of its number.
        bits = [number * 2654435761 * (place * 8 + k + 1) % 2**32 for k in range(8)]
        raw = np.stack(bits[: len(question.columns)]) / 2**32
        rng = np.random.default_rng([place, ord(name), int(number[0])])
        shares = -np.log(raw + 1e-9) * np.exp(0.3 * rng.standard_normal(raw.shape))
        shares = (shares / shares.sum(axis=0)).astype(np.float32)
        shares[:, rng.random(len(number)) < 0.1] = np.nan
        for column, share in zip(question.columns, shares, strict=True):
            values[f"{column}_fraction"] = pa.array(share, from_pandas=True)
    return values


def compare(folder: Path, *options: str) -> tuple[float, float, float]:
    """Compare as users do; seconds, and peak memory in MB of the program and of a worker."""
    program = Path(sys.executable).with_name("galaxymill")
    words = [program, "compare", folder / "a", folder / "b", "--out", folder / "out", *options]
    start = time.perf_counter()
    child = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL)
    peaks: dict[int, float] = {}
    while child.poll() is None:
        for pid, peak in peaks_of(child.pid):
            peaks[pid] = max(peak, peaks.get(pid, 0))
        time.sleep(0.2)
    seconds = time.perf_counter() - start
    if child.returncode:
        raise SystemExit(child.returncode)
    own = peaks.pop(child.pid)
    return seconds, own, max(peaks.values(), default=0)


def peaks_of(pid: int) -> Iterator[tuple[int, float]]:
    """Peak memory so far, in MB, of a process and of those that it started."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in family:
        try:
            lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
        except OSError:
            continue
        yield from ((one.pid, int(s.split()[1]) / 1000) for s in lines if s.startswith("VmHWM"))


def largest_error(folder: Path) -> tuple[float, float]:
    """Largest difference from numpy (mean, RMSE, largest) and from scipy (rank correlation)."""
    found = json.loads((folder / "out" / "comparison.json").read_text())
    rows = {row["column_a"]: row for row in found["columns"]}
    plain, ranks = 0.0, 0.0
    for name in CHECKED:
        a, b = (read(folder / side / side / "dataset", name) for side in "ab")
        a, b = (values[~(np.isnan(a) | np.isnan(b))] for values in (a, b))
        difference = a.astype(np.float64) - b
        wanted = {
            "n": len(a),
            "bias": difference.mean(),
            "rmse": np.sqrt(np.mean(difference**2)),
            "max_difference": np.abs(difference).max(),
        }
        plain = max(plain, *(abs(rows[name][key] - value) for key, value in wanted.items()))
        ranks = max(ranks, abs(rows[name]["spearman"] - spearmanr(a, b).statistic))
    return plain, ranks


def read(dataset: Path, column: str) -> np.ndarray:
    """Read a column of all tiles, in the order of all numbers; NaN where there is none."""
    values = np.full(COUNT, np.nan, np.float32)
    for path in dataset.rglob("*.parquet"):
        if "Norder" in str(path):
            table = pq.read_table(path, columns=["object_id", column], partitioning=None)
            number = [int(one.replace("_", "")) for one in table["object_id"].to_pylist()]
            values[number] = table[column].to_numpy()
    return values


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        apart(write_catalogues, folder)
        for name, options in {"ids": [], "sky": ["--sky", "1arcsec"]}.items():
            seconds, own, worker = compare(folder, *options)
            figure(f"compare_{name}", seconds, "s")
            figure(f"compare_{name}_worker_peak_memory", worker, "MB", at_most=2000)
            figure(f"compare_{name}_program_peak_memory", own, "MB", at_most=2000)
        plain, ranks = apart(largest_error, folder)
        figure("compare_error", plain, "off", at_most=1e-9)
        figure("compare_error_of_ranks", ranks, "off", at_most=1e-6)


if __name__ == "__main__":
    main()

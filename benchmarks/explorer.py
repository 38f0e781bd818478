"""How fast an explorer is built, and how fast it answers in a browser: 10⁶ and 10⁷ galaxies.

The slice of one partition is made by the command, with thumbnails of pictures of 424 pixels. The
explorers are joined from synthetic slices of 14 columns and a map; those of 10⁷ are ten times the
same million, without thumbnails. Chromium opens them from disk, without a GPU. Beside them, what
datamapplot and embedding-atlas make of a million places.
"""

import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import explorer_peers
import merge
import numpy as np
import pyarrow as pa
from figures import SHORT, figure
from PIL import Image
from processes import apart, measure

from galaxymill.catalog.partition import read_partitions
from galaxymill.explorer.build import Join
from galaxymill.explorer.coding import SHARES, directions, mollweide, place_codes
from galaxymill.explorer.folder import write_script
from galaxymill.explorer.page.files import write_page
from galaxymill.explorer.slices import make_thumbnail
from galaxymill.storage.columns import field
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

PER_SLICE, SLICES, REPEATS = (500, 4, 3) if SHORT else (4000, 250, 10)
COLUMNS = tuple(f"answer{number}_fraction" for number in range(14))
DEVIATIONS = np.arange(1, 65) ** -0.6
"""Of components: they fall as those of real images do."""
QUESTIONS = [
    {
        "title": "question",
        "asked": -1,
        "proportion": "",
        "answers": [
            {"name": name, "column": place, "lower": -1, "upper": -1}
            for place, name in enumerate(COLUMNS)
        ],
    }
]
ABOUT = {
    **dict.fromkeys(("description", "license", "galaxymill", "viewer", "version"), ""),
    "title": "Bench",
    "release": "bench",
    "cut": 0.5,
    "digests": {},
    "questions": QUESTIONS,
    **dict.fromkeys(("models", "quality", "figures", "limits"), ()),
}


def draw_picture(rng: np.random.Generator) -> bytes:
    """Draw a galaxy with noise: 14 kB as a JPEG of quality 75, as those of Galaxy Zoo 2."""
    across = np.linspace(-6, 6, 424)
    light = 200 * np.exp(-np.hypot(across[:, None], 2 * across))
    pixels = light[..., None] + rng.normal(20, 5.5, (424, 424, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=75)
    return file.getvalue()


def write_slice(path: Path, number: int, thumbnails: Sequence[bytes | None]) -> None:
    """Write a slice of galaxies in a few clumps of the map."""
    rng, n = np.random.default_rng(number), PER_SLICE
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    centre = rng.integers(0, 40, n)
    clumps = np.random.default_rng(0).uniform(0.1, 0.9, (40, 2))
    places = (clumps[centre] + rng.normal(0, 0.03, (n, 2))).T
    around = np.random.default_rng(1).normal(0, 1, (40, 64))
    unit = directions((around[centre] + rng.normal(0, 0.7, (n, 64))) * DEVIATIONS)
    columns: dict[str, tuple[pa.DataType, Any]] = {
        "object_id": (pa.string(), [f"{number:04d}_{row:04d}" for row in range(n)]),
        "ra": (pa.float64(), ra),
        "dec": (pa.float64(), dec),
        "thumbnail": (pa.binary(), [thumbnails[row % len(thumbnails)] for row in range(n)]),
    }
    for name in COLUMNS:
        shares = rng.beta(0.5, 0.8, n).astype(np.float32)
        columns[name] = pa.uint8(), SHARES.codes(shares, 1)
    columns["mag_r"] = pa.float32(), rng.normal(18, 1.5, n)
    columns["flags"] = pa.int32(), rng.choice([0, 2048], n)
    for name, (xs, ys) in {"sky": mollweide(ra, dec), "space/all": places}.items():
        columns[f"x:{name}"] = pa.uint16(), place_codes(xs)
        columns[f"y:{name}"] = pa.uint16(), place_codes(ys)
    kind = pa.binary(2 * unit.shape[1])
    columns["directions"] = kind, [row.tobytes() for row in unit]
    fields = [field(name, kind, "") for name, (kind, _) in columns.items()]
    shares = [
        one.with_metadata({b"kind": b"share"}) if one.name in COLUMNS else one for one in fields
    ]
    arrays = [pa.array(values, kind) for kind, values in columns.values()]
    table = pa.table(arrays, schema=pa.schema(shares))
    write_product(path, table, Origin("explore"), table.schema)


def write_slices(folder: Path, thumbnails: Sequence[bytes | None]) -> list[Path]:
    """Write the slices of a million galaxies."""
    paths = [folder / f"{number}.parquet" for number in range(SLICES)]
    for number, path in enumerate(paths):
        write_slice(path, number, thumbnails)
    return paths


def join(folder: Path, files: list[Path]) -> tuple[float, float]:
    """Join slices into a folder; CPU seconds and peak memory in MB."""
    import resource

    start = time.process_time()
    folder.mkdir()
    meta = Join(folder, files).write(len(files) * PER_SLICE)
    write_script(folder, "explorer", meta | ABOUT)
    write_page(folder)
    shutil.rmtree(folder / "raw")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return time.process_time() - start, peak


def bench_slice(folder: Path) -> float:
    """CPU seconds a galaxy that the command takes for a partition."""
    merge.write_survey(folder, 6 * PER_SLICE, draw_picture(np.random.default_rng(2)))
    parts = read_partitions(folder / "catalog" / "partitions.csv")
    part = max(parts, key=lambda one: one.n_rows)
    words: list[object] = [Path(sys.executable).with_name("galaxymill"), "explore-partition"]
    words += [part.part, folder / "catalog" / "partitions.csv", folder / "slice.parquet"]
    for role in ("cutouts", "images", "predictions"):
        words += [f"--{role}", folder / role]
    run = measure([*words, "--model", folder / "model.yaml"])
    figure("explore_partition_rate", part.n_rows / run.cpu_s, "galaxies/CPU_s")
    figure("explore_partition_peak", run.peak_mb, "MB", at_most=1000)
    return run.cpu_s / part.n_rows


TIMES = """async () => {
  const times = {};
  const timed = async (name, count, work) => {
    const all = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await work(i);
      all.push(performance.now() - start);
    }
    times[name] = all.sort((a, b) => a - b);
  };
  await sky.load();
  await timed("first", 4, i => choice.set(i, {low: 21, high: 190}));
  await timed("count", 60, async i => {
    await choice.set(i % 4, {low: 21 + i, high: 190});
    showCount();
    sky.draw(choice);
  });
  for (const number of [0, 1, 2, 3]) await choice.set(number, null);
  const spot = i => ({x: 9000 + 1500 * (i % 32), y: 9000 + 1100 * (i % 41)});
  const near = i => nearest(sky.xs, sky.ys, choice.fails, spot(i), 1, 1000);
  await timed("nearest", 20, i => near(i));
  await timed("csv", 20, async i => {
    lists.kept.clear();
    shown = {title: "", measure: "distance", hits: near(7 * i)};
    await tableOfShown();
  });
  const number = numberOf("directions");
  const loading = performance.now();
  const codes = await column(number);
  times.load_alike = [performance.now() - loading];
  const {worth} = meta.columns[number];
  await timed("alike", 10, i => alike(codes, worth, choice.fails, 99 * i, 1000));
  await timed("lasso", 5, i => within(sky.xs, sky.ys, choice.fails,
    [{x: 9000, y: 9000}, {x: 30000, y: 9000 + i}, {x: 20000, y: 40000}]));
  return times;
}"""
GOALS = {
    "ready": (1, 4, "s"),
    "memory": (100, 400, "MB"),
    "before_first_slider": (6, 30, "MB"),
    "count": (50, 300, "ms"),
    "nearest": (50, 150, "ms"),
    "alike": (100, 700, "ms"),
    "csv": (500, 1000, "ms"),
    "first": (None, None, "ms"),
    "lasso": (None, None, "ms"),
    "load_alike": (None, None, "ms"),
}


def browse(folder: Path, place: int, name: str) -> None:
    """Open an explorer in Chromium, use it, and print how long it took."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        browser.new_page().close()
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        start = time.perf_counter()
        page.goto((folder / "index.html").as_uri())
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        found = {"ready": time.perf_counter() - start}
        page.wait_for_timeout(1500)
        files = {one.split("#")[0].removeprefix("file://") for one in asked if one[0] == "f"}
        found["before_first_slider"] = sum(Path(one).stat().st_size for one in files) / 1e6
        times = page.evaluate(TIMES)
        heap = page.context.new_cdp_session(page)
        heap.send("HeapProfiler.collectGarbage")
        used = heap.send("Runtime.getHeapUsage")
        found["memory"] = (used["usedSize"] + used.get("backingStorageSize", 0)) / 1e6
        found |= {key: statistics.median(several) for key, several in times.items()}
        found["count"] = statistics.quantiles(times["count"], n=20)[-1]
        browser.close()
    for key, value in found.items():
        unit = GOALS[key][2]
        figure(f"{key}{'_p95' if key == 'count' else ''}_{name}", value, unit, GOALS[key][place])


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        each = bench_slice(folder / "survey")
        pictures = [draw_picture(np.random.default_rng(seed)) for seed in range(3)]
        thumbnails = [make_thumbnail(one, 64) for one in pictures]
        (folder / "few").mkdir()
        few = write_slices(folder / "few", thumbnails)
        seconds, peak = apart(join, folder / "million", few)
        rate = 1 / (each + seconds / (SLICES * PER_SLICE))
        figure("build_rate", rate, "galaxies/CPU_s", at_least=1000)
        figure("build_peak_1e6", peak, "MB", at_most=1000)
        browse(folder / "million", 0, "1e6")
        (folder / "many").mkdir()
        many = write_slices(folder / "many", [None])
        seconds, peak = apart(join, folder / "ten", many * REPEATS)
        figure("join_rate_1e7", REPEATS * SLICES * PER_SLICE / seconds, "galaxies/CPU_s")
        figure("build_peak_1e7", peak, "MB", at_most=1000)
        browse(folder / "ten", 1, "1e7")
        if not SHORT or explorer_peers.is_installed():
            explorer_peers.bench_peers(folder, SLICES * PER_SLICE)


if __name__ == "__main__":
    main()

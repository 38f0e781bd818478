"""Search among ten million galaxies: CPU seconds, memory and disk, beside faiss's exact index.

Features as `galaxymill project` writes them: 64 components, of which the variance falls as it does
for real images, in a thousand partitions. Whole processes are measured. The oracle is faiss's flat
index where faiss-cpu is installed, else numpy in double precision on a tenth of the galaxies.

    make bench-similar
    python benchmarks/similar.py --galaxies 2000000 --partitions 200
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from figures import SHORT, figure
from processes import apart, measure

from galaxymill import products
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import open_product

COMPONENTS, WANTED, MANY = 64, 1000, 100
DEVIATIONS = 4 * np.arange(1, COMPONENTS + 1) ** -0.6
KINDS = 50
"""Of galaxies; most of what sets two apart is their kind."""

Halves = npt.NDArray[np.float16]


def options() -> argparse.Namespace:
    """Read the command line."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--galaxies", type=int, default=20_000 if SHORT else 10**7)
    known.add_argument("--partitions", type=int, default=10 if SHORT else 1000)
    known.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    known.add_argument("--search", type=int, help=argparse.SUPPRESS)
    known.add_argument("--find", action="store_true", help=argparse.SUPPRESS)
    known.add_argument("--threads", type=int, default=0, help=argparse.SUPPRESS)
    return known.parse_args()


def features_of(number: int, count: int) -> Halves:
    """Draw the features of a partition."""
    centres = np.random.default_rng(0).normal(0, 0.8 * DEVIATIONS, (KINDS, COMPONENTS))
    rng = np.random.default_rng([1, number])
    drawn = rng.standard_normal((count, COMPONENTS), np.float32) * (0.6 * DEVIATIONS)
    values = (centres[rng.integers(0, KINDS, count)] + drawn).clip(-63, 63)
    return (np.rint(values * 1024) / 1024).astype(np.float16)


def names_of(number: int, count: int) -> list[str]:
    """Name galaxies as SDSS does, of four runs that cross a partition: 18 digits."""
    rng = np.random.default_rng([2, number])
    run = rng.integers(94, 8162, 4)[rng.integers(0, 4, count)]
    camcol, field = rng.integers(1, 7, count), rng.integers(11, 500) + rng.integers(0, 40, count)
    # Unique by the number of a rerun, which would be the same in one release.
    fixed = (1 << 59) | (301 + number << 48) | (run << 32) | (camcol << 29) | (field << 16)
    return [f"{one}" for one in fixed + np.arange(count) % 65536]


def write(folder: Path, galaxies: int, partitions: int, space: str = "") -> None:
    """Write features of a survey."""
    origin = Origin("project", {}, {"space": space})
    schema = products.features(COMPONENTS, [])
    each = galaxies // partitions
    for number in range(partitions):
        values = features_of(number, each)
        column = pa.Array.from_buffers(
            pa.binary(2 * COMPONENTS), each, [None, pa.py_buffer(values.tobytes())]
        )
        flags = np.zeros(each, np.int32)
        table = pa.table([names_of(number, each), flags, column], schema=schema)
        with open_product(folder / f"g0-k5-p{number}.parquet", schema, origin) as writer:
            writer.write(table)


def search(folder: Path, count: int, each: int, threads: int) -> None:
    """Search by so many galaxies, and print the seconds, and the names found for the first."""
    from galaxymill.search.likeness import Query
    from galaxymill.search.scan import nearest

    files = sorted(folder.glob("*.parquet"))
    queries = [Query(row[None], None, "q") for row in features_of(0, each)[:count]]
    start = time.process_time()
    found = nearest(files, queries, WANTED, threads=threads)
    print(json.dumps([time.process_time() - start, [hit.object_id for hit in found[0]]]))


def find(folder: Path, each: int) -> None:
    """Look for two galaxies by name, of which one is nowhere; print the seconds."""
    from galaxymill.search.scan import find_galaxies

    files = sorted(folder.glob("*.parquet"))
    start = time.process_time()
    found = find_galaxies(files, [names_of(len(files) // 2, each)[-1], "nobody"])
    assert len(found) == 1
    print(json.dumps([time.process_time() - start, list(found)]))


def oracle(folder: Path, galaxies: int, partitions: int) -> tuple[str, float, list[str]]:
    """Search for the first galaxy by another's code: its name, CPU seconds, names found."""
    import pyarrow.parquet as pq

    files = sorted(folder.glob("*.parquet"))
    names = [name for path in files for name in pq.read_table(path)["object_id"].to_pylist()]
    each = galaxies // partitions
    numbers = [int(path.stem.rsplit("p", 1)[1]) for path in files]
    unit = np.empty((len(names), COMPONENTS), np.float32)
    for place, number in enumerate(numbers):
        values = features_of(number, each).astype(np.float32)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        unit[place * each : (place + 1) * each] = values / lengths
    query = features_of(0, each)[:1].astype(np.float32)
    query /= np.linalg.norm(query)
    start = time.process_time()
    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(COMPONENTS)
        index.add(unit)
        start = time.process_time()
        _, rows = index.search(query, WANTED)
        return "faiss_flat", time.process_time() - start, [names[row] for row in rows[0]]
    rows = np.argsort(-(unit @ query[0].astype(np.float64)), kind="stable")[:WANTED]
    return "numpy", time.process_time() - start, [names[row] for row in rows]


def bench(folder: Path, galaxies: int, partitions: int) -> None:
    """Measure, and print the figures."""
    if not any(folder.glob("*.parquet")):
        apart(write, folder, galaxies, partitions)
    scale = 1e7 / galaxies
    size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    goals = {} if SHORT else {"at_most": 135}
    figure("similar_disk_a_galaxy", size / galaxies, "B", **goals)
    print(f"# {galaxies} galaxies in {partitions} partitions; times are scaled by {scale:g}")
    words = [sys.executable, Path(__file__).resolve(), "--folder", folder]
    given = [*words, "--galaxies", galaxies, "--partitions", partitions]
    hits: dict[int, list[str]] = {}
    for count, seconds in ((1, 6), (MANY, 15)):
        run = measure([*given, "--search", count])
        cpu, hits[count] = json.loads(run.printed.splitlines()[-1])
        goals = {} if SHORT else {"at_most": seconds}
        figure(f"similar_{count}_queries", cpu * scale, "CPU s", **goals)
        figure(f"similar_{count}_queries_process", run.cpu_s, "CPU s, unscaled")
        figure(f"similar_{count}_queries_wall", run.seconds, "s, unscaled")
        figure(f"similar_{count}_queries_peak_memory", run.peak_mb, "MB", at_most=1000)
    run = measure([*given, "--find"])
    goals = {} if SHORT else {"at_most": 2}
    figure("similar_find_by_name", json.loads(run.printed)[0] * scale, "CPU s", **goals)
    name, cpu, expected = apart(oracle, folder, galaxies, partitions)
    figure(f"similar_1_query_{name}", cpu * scale, "CPU s, in memory, after its build")
    both = len(set(expected) & set(hits[1])) / WANTED
    figure(f"similar_found_of_{name}", both, "", at_least=0.999)
    single = json.loads(measure([*given, "--search", 1, "--threads", 1]).printed.splitlines()[-1])
    figure("similar_same_by_one_thread", float(single[1] == hits[1] == hits[MANY]), "", at_least=1)


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    chosen = options()
    each = chosen.galaxies // chosen.partitions
    if chosen.search:
        search(chosen.folder, chosen.search, each, chosen.threads)
    elif chosen.find:
        find(chosen.folder, each)
    elif chosen.folder:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        bench(chosen.folder, chosen.galaxies, chosen.partitions)
    else:
        with tempfile.TemporaryDirectory() as folder:
            bench(Path(folder), chosen.galaxies, chosen.partitions)


if __name__ == "__main__":
    main()

"""Rating a million galaxies in the page: from the last click to the next batch, and from a click
until it is kept.

Features as those of `similar.py`, and ratings by a program that looks for one kind of fifty. A
batch is asked for at once after its predecessor was rated, by HTTP as the page does. Pictures are
of 20 kB, in a partition of 2,000.

    make bench-rate
    python benchmarks/rate.py --galaxies 10000000 --partitions 1000
"""

import argparse
import http.client
import json
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from figures import SHORT, figure
from similar import COMPONENTS, DEVIATIONS, KINDS, features_of, names_of, write

from galaxymill import products
from galaxymill.interest.page.opened import RateRequest, open_server
from galaxymill.interest.page.pictures import Pictures
from galaxymill.interest.page.pool import read_pool
from galaxymill.interest.ratings import COLUMNS
from galaxymill.search.folders import Folders
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import Space, read_space, write_space
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import open_product, write_product

ROUNDS = 3 if SHORT else 10
PICTURE_BYTES, PICTURES = 20_000, 200 if SHORT else 2000
WANTED, MOST = 7, 10_000


def options() -> argparse.Namespace:
    """Read the command line."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--galaxies", type=int, default=20_000 if SHORT else 10**6)
    known.add_argument("--partitions", type=int, default=10 if SHORT else 200)
    known.add_argument("--clicks", type=int, default=100 if SHORT else 2000)
    return known.parse_args()


def is_wanted(features: np.ndarray) -> np.ndarray:
    """Which galaxies are of the kind that is looked for: the kind whose centre is the nearest."""
    centres = np.random.default_rng(0).normal(0, 0.8 * DEVIATIONS, (KINDS, COMPONENTS))
    values = features.astype(np.float32)
    away = (centres**2).sum(axis=1) - 2 * values @ centres.T
    return away.argmin(axis=1) == WANTED


class Program:
    """Asks a server as the page does."""

    def __init__(self, address: str) -> None:
        self.path = urlsplit(address).path
        self.line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=100)

    def ask(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for something; gives what the server says."""
        kind = {"Content-Type": "application/json"}
        self.line.request("POST", self.path + name, json.dumps({"rater": "x"} | body), kind)
        answer = self.line.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise SystemExit(f"{name}: {told}")
        return told


def time_batches(
    folder: Path, folders: Folders, names: list[str], wanted: set[str], given: int
) -> None:
    """Rate some batches, with so many ratings before."""
    table = folder / f"ratings_{given}.csv"
    rows = [f"{name},{5 * (name in wanted)},x,," for name in names[:given]]
    if given:
        table.write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    request = RateRequest("x", folder / "space.yaml", folders, folder / "none", [table])
    start = time.perf_counter()
    server = open_server(request)
    figure(f"open_{given}", time.perf_counter() - start, "s")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = Program(server.address)
    galaxies = program.ask("batch", {"next": True})["galaxies"]
    waits, found = [], []
    for _ in range(ROUNDS):
        clicks = [{"galaxy": g["id"], "rating": 5 * (g["id"] in wanted)} for g in galaxies]
        found.append(sum(click["rating"] > 0 for click in clicks))
        for click in clicks:
            program.ask("rate", {"clicks": [click]})
        start = time.perf_counter()
        galaxies = program.ask("batch", {"next": True})["galaxies"]
        waits.append(time.perf_counter() - start)
    figure(f"next_batch_{given}_median", float(np.median(waits)), "s")
    figure(f"next_batch_{given}_longest", max(waits), "s", at_most=2)
    figure(f"found_in_last_batch_{given}", found[-1], "of_30")
    server.shutdown()
    server.server_close()


def time_clicks(folder: Path, folders: Folders, names: list[str], count: int) -> None:
    """Click as fast as a program can, each alone."""
    request = RateRequest("x", folder / "space.yaml", folders, folder / "none", [folder / "c.csv"])
    server = open_server(request)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program, rng, waits = Program(server.address), np.random.default_rng(0), []
    for number in rng.integers(0, len(names), count):
        click = {"galaxy": names[number], "rating": int(rng.integers(0, 6))}
        start = time.perf_counter()
        program.ask("rate", {"clicks": [click]})
        waits.append(time.perf_counter() - start)
    figure("click_median", 1000 * float(np.median(waits)), "ms")
    figure("click_99th_percentile", 1000 * float(np.quantile(waits, 0.99)), "ms")
    server.shutdown()
    server.server_close()


def time_pictures(folder: Path) -> None:
    """Read the pictures of a batch that lies all over one partition."""
    names = names_of(0, PICTURES)
    rng = np.random.default_rng(0)
    pictures = [{"bytes": rng.bytes(PICTURE_BYTES), "path": None} for _ in names]
    rows = [{"object_id": n, "image": p} for n, p in zip(names, pictures, strict=True)]
    path = folder / "images" / "g0-k5-p0.parquet"
    table = pa.Table.from_pylist(rows, products.IMAGES)
    with_groups = [table.slice(start, 256) for start in range(0, len(names), 256)]
    with open_product(path, products.IMAGES, Origin("render")) as writer:
        for some in with_groups:
            writer.write(some)
    features = folder / "few"
    features.mkdir()
    digest = read_space(folder / "space.yaml")[1]
    write_features(features / path.name, names, digest)
    pool = read_pool([features / path.name], digest, "x", folder / "none", names)
    nowhere = folder / "none"
    folders = Folders(features, nowhere, nowhere, path.parent, nowhere, nowhere)
    reader = Pictures(pool, folders)
    start = time.perf_counter()
    for number in rng.choice(len(names), 30, replace=False):
        reader.get(int(number))
    figure("picture", 1000 * (time.perf_counter() - start) / 30, "ms")


def write_features(path: Path, names: list[str], space: str) -> None:
    """Write the features of one small partition."""
    schema = products.features(COMPONENTS, [])
    values = [one.tobytes() for one in features_of(0, len(names))]
    table = pa.table([names, np.zeros(len(names), np.int32), values], schema=schema)
    write_product(path, table, Origin("project", {}, {"space": space}), schema)


def main() -> None:
    """Measure."""
    chosen = options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = np.zeros(COMPONENTS), np.eye(COMPONENTS), DEVIATIONS
        write_space(folder, Space({}, SpaceSettings(), *numbers, {}, {}), {})
        (folder / "features").mkdir()
        digest = read_space(folder / "space.yaml")[1]
        write(folder / "features", chosen.galaxies, chosen.partitions, digest)
        each, names, wanted = chosen.galaxies // chosen.partitions, [], set()
        for number in range(chosen.partitions):
            own = names_of(number, each)
            wanted.update(
                own[place] for place in np.flatnonzero(is_wanted(features_of(number, each)))
            )
            # Enough of them to be rated before.
            names += own if len(names) < MOST else []
        nowhere = folder / "none"
        folders = Folders(folder / "features", nowhere, nowhere, nowhere, nowhere, nowhere)
        for given in (0, 300) if SHORT else (0, 300, 1000, MOST):
            time_batches(folder, folders, names, wanted, given)
        time_clicks(folder, folders, names, chosen.clicks)
        time_pictures(folder)
        figure("peak_memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "MB")


if __name__ == "__main__":
    main()

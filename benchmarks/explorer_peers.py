"""What datamapplot and embedding-atlas make of a million places, opened without a network."""

import functools
import io
import shutil
import subprocess
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import figure
from peer import PEERS
from PIL import Image
from processes import measure

BIN = PEERS / ".explorers-venv" / "bin"
PATIENCE = 20_000
"""Milliseconds that a page has to draw its map."""


def is_installed() -> bool:
    """Tell whether the environment is there."""
    return (BIN / "embedding-atlas").exists()


def bench_peers(folder: Path, count: int) -> None:
    """Let both draw as many places, with fourteen columns, and open what they made."""
    subprocess.run([PEERS / "explorers.sh"], check=True)
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.normal(0, 1, count).astype(np.float32) for name in "xy"})
    for number in range(14):
        column = rng.beta(0.5, 0.8, count).astype(np.float32)
        table = table.append_column(f"answer{number}_fraction", pa.array(column))
    places = folder / "places.parquet"
    pq.write_table(table, places)
    own = folder / "datamapplot"
    own.mkdir()
    run = measure([BIN / "python", PEERS / "datamapplot_page.py", places, own / "index.html"])
    look("datamapplot", own, run.cpu_s, (own / "index.html").as_uri())
    made = folder / "atlas.zip"
    words = [BIN / "embedding-atlas", places, "--x", "x", "--y", "y", "--disable-projection"]
    run = measure([*words, "--export-application", made])
    own = folder / "atlas"
    with zipfile.ZipFile(made) as file:
        file.extractall(own)
    look("embedding_atlas", own, run.cpu_s, (own / "index.html").as_uri())
    handler = functools.partial(QuietHandler, directory=str(own))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        look("embedding_atlas_served", own, 0, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def look(name: str, folder: Path, seconds: float, address: str) -> None:
    """Print what a page cost, and whether it draws anything where there is no network."""
    from playwright.sync_api import sync_playwright

    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if seconds:
        figure(f"{name}_size", size / 1e6, "MB")
        figure(f"{name}_build", seconds, "CPU_s")
    options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page()
        outside: list[str] = []
        page.on("request", lambda request: outside.append(request.url))
        page.goto(address, wait_until="commit")
        page.wait_for_timeout(PATIENCE)
        told = [line for line in page.inner_text("body").splitlines() if "unavailable" in line]
        drawn = has_picture(page.screenshot(path=folder.parent / f"{name}.png")) and not told
        browser.close()
    print(f"# {name}: {told[0] if told else 'it says nothing of what is missing'}")
    here = ("file:", "data:", "blob:", "http://127.0.0.1")
    figure(f"{name}_requests_outside", sum(not one.startswith(here) for one in outside), "")
    figure(f"{name}_draws_its_map", drawn, "(1: yes)")


def has_picture(screenshot: bytes) -> bool:
    """Tell whether a twentieth of the middle of a page is of other colours than the rest."""
    with Image.open(io.BytesIO(screenshot)) as picture:
        wide, high = picture.size
        box = (wide // 4, high // 4, 3 * wide // 4, 3 * high // 4)
        colours = picture.convert("RGB").crop(box).getcolors(1 << 24)
    counts = [count for count, _ in colours]
    return max(counts) < 0.95 * sum(counts)

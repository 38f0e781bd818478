"""Cutouts a second through the stage fetch, from a server of 200 ms latency in its own process.

16 connections at 200 ms can bring 80 cutouts a second at most. A second server answers 429 to
whoever asks more than 20 times in any one second.
"""

import asyncio
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from fetch_tiles import tiles
from figures import SHORT, figure
from PIL import Image

from galaxymill.products import objects
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.web.network import Network

LATENCY_S = 0.2
CONNECTIONS = 16
RATE = 20
DIFFERENT = 4 if SHORT else 64
SIZE = 256
RA, DEC, PIXEL_SCALE = 150.0, 2.0, 0.262


def pictures(seed: int = 1) -> dict[str, bytes]:
    """Make one cutout of each kind; noise, so that nothing compresses it."""
    rng = np.random.default_rng(seed)
    cube = rng.normal(0, 0.1, (3, SIZE, SIZE)).astype(np.float32)
    hdu = fits.PrimaryHDU(cube)
    for axis, (kind, value, sign) in enumerate((("RA---", RA, -1), ("DEC--", DEC, 1)), start=1):
        hdu.header[f"CTYPE{axis}"] = f"{kind}TAN"
        hdu.header[f"CRVAL{axis}"] = value
        hdu.header[f"CRPIX{axis}"] = (SIZE + 1) / 2
        hdu.header[f"CD{axis}_{axis}"] = sign * PIXEL_SCALE / 3600
    hdu.header["BANDS"] = "grz"
    cutout, picture = io.BytesIO(), io.BytesIO()
    hdu.writeto(cutout)
    noise = rng.integers(0, 256, (SIZE // 8, SIZE // 8, 3), np.uint8)
    Image.fromarray(noise).resize((SIZE, SIZE)).save(picture, "JPEG", quality=90)
    return {"fits": cutout.getvalue(), "jpeg": picture.getvalue()}


class Viewer(asyncio.Protocol):
    """One connection: answers each request after the latency, or 429 when it comes too early."""

    bodies: list[dict[str, bytes]]
    answered = 0
    recent: deque[float] = deque()  # noqa: RUF012
    came: list[float] = []  # noqa: RUF012
    refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport, self.text = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole."""
        self.text += data
        if b"\r\n\r\n" not in self.text:
            return
        path, self.text = self.text.split(b" ", 2)[1].decode(), b""
        loop = asyncio.get_running_loop()
        if path == "/stats":
            stats = {"came": Viewer.came, "refused": Viewer.refused}
            self._send("200 OK", json.dumps(stats).encode())
        elif "limited" in path and not self._within_the_rate():
            Viewer.refused += 1
            self._send("429 Too Many Requests", b"")
        else:
            Viewer.answered += 1
            cutout = Viewer.bodies[Viewer.answered % DIFFERENT]
            body = cutout["jpeg" if "jpeg-cutout" in path else "fits"]
            loop.call_later(LATENCY_S, self._send, "200 OK", body)

    def _within_the_rate(self) -> bool:
        now = time.monotonic()
        while Viewer.recent and Viewer.recent[0] <= now - 1:
            Viewer.recent.popleft()
        allowed = len(Viewer.recent) < RATE
        if allowed:
            Viewer.recent.append(now)
            Viewer.came.append(now)
        return allowed

    def _send(self, status: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def serve() -> None:
    """Serve until killed; the port is the first line printed."""
    Viewer.bodies = [pictures(seed) for seed in range(DIFFERENT)]
    server = await asyncio.get_running_loop().create_server(Viewer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def viewer() -> Iterator[str]:
    """Start a server in a process of its own, so that it shares no interpreter with us."""
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def seconds(server: str, galaxies: int, layer: str, kind: str, rate: float = 1000) -> float:
    """Time the whole stage, from the tile to the finished product."""
    settings = LegacySettings(server=server, layer=layer, format=kind, size=SIZE)
    network = Network(requests_per_second=rate, connections=CONNECTIONS)
    rows = [
        {"object_id": f"g{index}", "ra": RA, "dec": DEC, "_healpix_29": 0}
        for index in range(galaxies)
    ]
    with tempfile.TemporaryDirectory() as folder:
        tile, out = Path(folder, "tile.parquet"), Path(folder, "cutouts.parquet")
        write_product(tile, pa.Table.from_pylist(rows, objects()), Origin("partition"), objects())
        start = time.monotonic()
        fetch(tile, out, "legacy", settings, network)
        return time.monotonic() - start


def main() -> None:
    """Measure."""
    with viewer() as server:
        for kind, goal, galaxies in (("jpeg", 72, 1600), ("fits", 68, 1200)):
            galaxies = CONNECTIONS if SHORT else galaxies
            rate = galaxies / seconds(server, galaxies, "ls-dr9", kind)
            figure(f"fetch_{kind}", rate, "cutouts/s", at_least=goal)
        seconds(server, RATE if SHORT else 10 * RATE, "limited", "jpeg", RATE)
        stats = json.load(urllib.request.urlopen(f"{server}/stats"))
    came = stats["came"]
    rate = (len(came) - 1) / (came[-1] - came[0])
    figure("fetch_at_20", rate, "requests/s", at_least=19)
    figure("fetch_at_20_most", rate, "requests/s", at_most=20)
    figure("fetch_at_20_refused", stats["refused"], "answers_429", at_most=0)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    figure("fetch_peak_memory", peak_mb, "MB", at_most=500)
    tiles()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()

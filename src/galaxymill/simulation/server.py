"""A cutout service on this host that speaks the Legacy Surveys viewer's protocol, faults included.

It shows the demo sky, so that the fetch stage does its real work on a machine without network.
"""

import io
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from threading import Lock, Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy.io import fits
from PIL import Image

from galaxymill.simulation.faults import Faults, Verdict
from galaxymill.simulation.galaxies import render
from galaxymill.simulation.morphology import BANDS

LAYER = "simulated"
NATIVE_PIXEL_SCALE = 0.262
DEFAULT_SIZE, MAX_SIZE = 256, 3000
FINEST_PIXEL_SCALE = 0.05
"""Finer pixels, of which a galaxy would fill gigabytes, end in a 500."""

JPEG_SCALE = {"z": 0.019, "r": 0.014, "g": 0.008}
"""Flux of one step of brightness in R, G and B, in nanomaggies of a native pixel."""


@contextmanager
def serve(truth: pa.Table, seed: int = 1, faults: Faults | None = None) -> Iterator[str]:
    """Run the cutout service for as long as the context lasts.

    Parameters
    ----------
    truth : pyarrow.Table
        From `galaxymill.simulation.sky.simulate_sky`.
    seed : int
        Of the noise in the images.
    faults : Faults, optional
        What goes wrong; by default the demo's. ``Faults.none()`` for a calm sky.

    Yields
    ------
    str
        Base URL, e.g. ``"http://127.0.0.1:41235"``; cutouts are at ``/viewer/fits-cutout`` and
        ``/viewer/jpeg-cutout``, in the layer ``"simulated"``.
    """
    sky = _Sky(truth, seed, Faults() if faults is None else faults)
    handler = type("Handler", (_Handler,), {"sky": sky})
    server = _Server(("127.0.0.1", 0), handler)
    # A daemon: it never keeps a process alive that was told to end.
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        # To be closed from this side; see `server_close`.
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and end the connections that clients keep alive."""
        super().server_close()
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may hang up as they like.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@dataclass
class _Answer:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cutout:
    """One well-formed request; lengths in pixels, ``scale`` in arcsec per pixel."""

    ra: float
    dec: float
    scale: float
    width: int
    height: int
    bands: str


class _Sky:
    """What the service shows, and what it remembers between requests."""

    def __init__(self, truth: pa.Table, seed: int, faults: Faults) -> None:
        self.truth, self.seed = truth, seed
        self.verdicts = faults.judge(truth, seed)
        self._refused: set[tuple[str, int]] = set()
        self._lock = Lock()
        # One image at a time: more threads would only share the same core's interpreter.
        self._render_lock = Lock()

    def answer(self, path: str, query: dict[str, str]) -> _Answer:
        """Answer one request as the viewer would."""
        if path not in ("/viewer/fits-cutout", "/viewer/jpeg-cutout"):
            return _Answer(404, b"not found")
        ra = dec = math.nan
        with suppress(KeyError, ValueError):
            ra, dec = float(query["ra"]), float(query["dec"])
        if not (math.isfinite(ra) and -90 <= dec <= 90):
            return _Answer(400, b"Need ra,dec keywords")
        if query.get("layer", LAYER) != LAYER:
            return _Answer(200, b"no such layer")
        try:
            cutout = _cutout(ra, dec, query)
        except ValueError:
            return _Answer(500, b"server error")
        verdict = self.verdicts.at(ra, dec)
        return self._fault(path, verdict) or self._image(path, cutout, verdict)

    def _fault(self, path: str, verdict: Verdict) -> _Answer | None:
        if verdict.delay_s:
            time.sleep(verdict.delay_s)
        if not verdict.first_status:
            return None
        with self._lock:
            if (path, verdict.index) in self._refused:
                return None
            self._refused.add((path, verdict.index))
        headers = {"Retry-After": "1"} if verdict.first_status == 429 else {}
        return _Answer(verdict.first_status, b"try again", headers=headers)

    def _image(self, path: str, cutout: _Cutout, verdict: Verdict) -> _Answer:
        is_fits = path.endswith("fits-cutout")
        if not verdict.covered:
            if is_fits:
                return _Answer(500, b"server error")
            blank = np.zeros((cutout.height, cutout.width, 3), np.uint8)
            return _Answer(200, _jpeg(blank), "image/jpeg")
        with self._render_lock:
            images = render(
                self.truth,
                cutout.ra,
                cutout.dec,
                cutout.scale,
                (cutout.height, cutout.width),
                cutout.bands if is_fits else "zrg",
                seed=self.seed,
            )
        if is_fits:
            for plane, band in zip(images, cutout.bands, strict=True):
                if band in verdict.empty_bands:
                    plane[:] = 0
            return _Answer(200, _fits(cutout, images), "image/fits")
        return _Answer(200, _jpeg(_colour(images, cutout.scale)), "image/jpeg")


def _cutout(ra: float, dec: float, query: dict[str, str]) -> _Cutout:
    """Read a request's shape; raises ValueError where the viewer fails with a 500."""
    scale = float(query.get("pixscale", NATIVE_PIXEL_SCALE))
    size = int(query.get("size", DEFAULT_SIZE))
    width, height = (int(query.get(side, size)) for side in ("width", "height"))
    if not (FINEST_PIXEL_SCALE <= scale < math.inf and width > 0 and height > 0):
        raise ValueError("no such image")
    bands = query.get("bands", "".join(BANDS))
    if not bands or not set(bands) <= set(BANDS):
        bands = "".join(BANDS)
    return _Cutout(ra, dec, scale, min(width, MAX_SIZE), min(height, MAX_SIZE), bands)


def _fits(cutout: _Cutout, images: npt.NDArray[np.float32]) -> bytes:
    header = fits.Header()
    header["SURVEY"] = LAYER
    header["BANDS"] = cutout.bands
    for index, band in enumerate(cutout.bands):
        header[f"BAND{index}"] = band
    degrees = cutout.scale / 3600
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = cutout.ra, cutout.dec
    header["CRPIX1"], header["CRPIX2"] = (cutout.width + 1) / 2, (cutout.height + 1) / 2
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -degrees, 0.0, 0.0, degrees
    header["IMAGEW"], header["IMAGEH"] = float(cutout.width), float(cutout.height)
    data = images[0] if len(cutout.bands) == 1 else images
    stream = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(stream)
    return stream.getvalue()


def _colour(zrg: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.uint8]:
    """Colour image by an asinh stretch (Lupton+04), top row first."""
    units = np.array([JPEG_SCALE[band] for band in "zrg"]) * (scale / NATIVE_PIXEL_SCALE) ** 2
    stretched = np.arcsinh(zrg / units[:, None, None]) / np.arcsinh(300)
    pixels: npt.NDArray[np.uint8] = (255 * np.clip(stretched, 0, 1)).astype(np.uint8)
    return pixels.transpose(1, 2, 0)[::-1]


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


class _Handler(BaseHTTPRequestHandler):
    sky: ClassVar[_Sky]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Headers and body leave in one packet.
    wbufsize = -1

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        answer = self.sky.answer(parts.path.rstrip("/"), query)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep silent: the client logs the answers."""

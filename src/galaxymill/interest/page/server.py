"""The server of the page: to this machine alone, and to whoever knows its address."""

import hmac
import json
import logging
import re
import secrets
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from galaxymill.errors import UserError
from galaxymill.interest.page.desk import Desk, RefusedError

HOST = "127.0.0.1"
_HERE = Path(__file__).parent
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_FILES = {
    path.name: (path.read_bytes(), f"{_KINDS[path.suffix]}; charset=utf-8")
    for path in _HERE.iterdir()
    if path.suffix in _KINDS
}
"""All files that are served: no path is ever made of an address."""
_PICTURE = re.compile(r"image/([0-9]{1,9})")
_HOSTS = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_MOST_BYTES = 1 << 18
_MOST_CLICKS = 1000
_MOST_THREADS = 64
_PATIENCE_S = 60
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

logger = logging.getLogger("galaxymill")


class RateServer(ThreadingHTTPServer):
    """Serves one desk, below an address that nobody can guess.

    Raises
    ------
    UserError
        When the port is taken.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, desk: Desk, title: str, port: int = 0) -> None:
        self.desk, self.title = desk, title
        self.token = secrets.token_urlsafe(32)
        self._free = threading.BoundedSemaphore(_MOST_THREADS)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(f"--port {port}: {error.strerror}; choose another") from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; whoever comes when all are busy waits."""
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then let the next in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong; browsers that go away are no fault."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            logger.exception("rate: a request failed")


class _Handler(BaseHTTPRequestHandler):
    server: RateServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "galaxymill", ""
    timeout = _PATIENCE_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        name = self._allowed()
        if name is None:
            return
        if picture := _PICTURE.fullmatch(name):
            data = self.server.desk.picture(int(picture[1]))
            if data is None:
                self._say(HTTPStatus.NOT_FOUND, "there is no image")
            else:
                # A number is the same galaxy as long as this address is good.
                self._send(HTTPStatus.OK, data, _kind(data), "private, max-age=86400")
        elif (name or "index.html") in _FILES:
            self._send(HTTPStatus.OK, *_FILES[name or "index.html"])
        else:
            self._say(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        name = self._allowed()
        if name is None:
            return
        plain = self._body()
        if plain is None:
            return
        desk = self.server.desk
        try:
            if name == "batch":
                answer: Any = desk.batch(plain.get("rater", ""), plain.get("next") is True)
                answer["title"] = self.server.title
            elif name == "rate":
                clicks = plain.get("clicks")
                if not isinstance(clicks, list) or not 0 < len(clicks) <= _MOST_CLICKS:
                    raise RefusedError(f"clicks: a list of 1 to {_MOST_CLICKS}")
                answer = desk.rate(plain.get("rater", ""), clicks)
            elif name == "best":
                answer = desk.best(str(plain.get("rater", "")))
            else:
                self._say(HTTPStatus.NOT_FOUND, "there is no such page")
                return
        except RefusedError as error:
            self._say(HTTPStatus.BAD_REQUEST, str(error))
        except (OSError, UserError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            logger.warning("rate: not kept: %s", why)
            self._say(HTTPStatus.INSUFFICIENT_STORAGE, why or "the disk takes no more")
        else:
            self._json(HTTPStatus.OK, answer)

    def _allowed(self) -> str | None:
        """What is asked for, below the secret part of the address; None: it was refused."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        token, *rest = self.path.partition("?")[0].removeprefix("/").split("/", 1)
        if not _HOSTS.fullmatch(host) or origin not in (None, f"http://{host}"):
            self._refuse("this page is served to localhost and 127.0.0.1, and to itself, alone")
        elif not (rest and hmac.compare_digest(token.encode(), self.server.token.encode())):
            self._refuse("open the whole address that galaxymill rate has printed")
        else:
            return rest[0]
        return None

    def _body(self) -> dict[str, Any] | None:
        """The JSON that was sent; None: it was refused."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            self._refuse("send application/json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        elif "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,9}", length):
            self._refuse("say how long it is", HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > _MOST_BYTES:
            self._refuse(f"at most {_MOST_BYTES} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            try:
                plain = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                plain = None
            if isinstance(plain, dict):
                return plain
            self._say(HTTPStatus.BAD_REQUEST, "no JSON object")
        return None

    def _refuse(self, why: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> None:
        # What else was sent is not read: nothing more can come by this connection.
        self.close_connection = True
        self._say(status, why)

    def _say(self, status: HTTPStatus, why: str) -> None:
        self._json(status, {"error": why})

    def _json(self, status: HTTPStatus, plain: Any) -> None:
        self._send(status, json.dumps(plain).encode(), "application/json")

    def _send(self, status: HTTPStatus, data: bytes, kind: str, cache: str = "no-store") -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), "Cache-Control": cache}
        for name, value in (_HEADERS | headers).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Requests are not logged: their addresses hold the secret."""


def _kind(data: bytes) -> str:
    """Kind of an image, by how its file begins."""
    if data.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if data[8:12] == b"WEBP" else "image/jpeg"

"""A time limit for a whole request.

The HTTP library's own limits are for one read each: a server that sends a byte a second, in a
header or in the body, would hold a connection for days.
"""

import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import httpx

_READ_BYTES = 1 << 18


class Deadline(threading.local):
    """The time by which a request of this thread must have been answered."""

    _at: float | None = None

    def start(self, seconds: float) -> None:
        """Limit this thread's operations to so much time from now on."""
        self._at = time.monotonic() + seconds

    def stop(self) -> None:
        """Lift the limit."""
        self._at = None

    def left(self, timeout: float | None) -> float | None:
        """Seconds one operation may take, at most ``timeout``; raises ReadTimeout at the end."""
        if self._at is None:
            return timeout
        left = self._at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(left, timeout)


def enforce(client: "httpx.Client", deadline: Deadline) -> None:
    """Hold every connection of a client, those through a proxy included, to the deadline."""
    # There is no public way that leaves the proxies of the environment in place.
    transports: list[Any] = [client._transport, *client._mounts.values()]
    for transport in filter(None, transports):
        transport._pool._network_backend = _Backend(deadline)


class _Backend(httpcore.SyncBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *rest: Any, **options: Any
    ) -> Any:
        left = self._deadline.left(timeout)
        return _Stream(super().connect_tcp(host, port, left, *rest, **options), self._deadline)


class _Stream:
    """A connection whose reads and writes end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max(max_bytes, _READ_BYTES), self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        left = self._deadline.left(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

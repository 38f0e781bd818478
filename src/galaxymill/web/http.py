"""One polite HTTP client for every service: paced, retried, bounded, and stopped in time.

The HTTP libraries are imported when a service is opened: a config is checked without them.
"""

import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from galaxymill import __version__
from galaxymill.errors import UserError
from galaxymill.web.answer import Answer, Judge, TryAgain, retry_after_s
from galaxymill.web.gate import Breaker, Gate
from galaxymill.web.network import MAX_ANSWER_BYTES, MAX_UNDER_WAY, Network
from galaxymill.web.workers import Item, Result, map_bounded

if TYPE_CHECKING:
    import httpx

_WAIT_MAX_S = 30.0
_RETRY_AFTER_MAX_S = 300.0
_MAX_REDIRECTS = 5
_IN_FLIGHT_BYTES = 32_000_000
"""Of answers; while they are read, checked and kept each takes about three times its size."""
_PIECE_BYTES = 1_000_000
_MIN_TOKEN_LETTERS = 8


class Http:
    """Make requests within the network limits, and again when a fault may pass.

    Parameters
    ----------
    network : Network
        Limits of rate, connections, time and attempts.
    server : str
        What relative URLs start from; never kept in products.
    headers : mapping, optional
        Sent to ``server`` and to no other host. That of ``Authorization`` holds a secret, which is
        replaced by ``***`` where a server repeats it.
    max_bytes : int
        Longer bodies are cut there, and so no good.
    """

    def __init__(
        self,
        network: Network,
        server: str = "",
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        import httpx

        from galaxymill.web.deadline import Deadline, enforce

        self.network = network
        self._own_headers = headers or {}
        self._secrets = _secrets(self._own_headers.get("Authorization", "").rpartition(" ")[2])
        self._max_bytes = max_bytes
        self._gate = Gate(network.requests_per_second)
        self._breaker = Breaker(self._gate, network.stop_after, network.max_failed >= 1)
        self._deadline = Deadline()
        count = network.connections
        self._connections = threading.BoundedSemaphore(count)
        contact = f" ({network.contact})" if network.contact else ""
        agent = f"galaxymill/{__version__}{contact}".encode()
        try:
            self._client = httpx.Client(
                base_url=server,
                timeout=httpx.Timeout(network.timeout_s, pool=None),
                follow_redirects=True,
                max_redirects=_MAX_REDIRECTS,
                # Images hardly shrink.
                headers={b"User-Agent": agent, b"Accept-Encoding": b"identity"},
                limits=httpx.Limits(max_connections=count, max_keepalive_connections=count),
                event_hooks={"request": [self._before]},
            )
            self._server = _origin(self._client.base_url)
        except (httpx.InvalidURL, ValueError, OSError) as error:
            # ValueError and UnicodeError: a proxy or host of no known kind. OSError: certificates.
            raise UserError(
                # Not its message: it may hold the address of a proxy, and a password.
                f"{server}: no connection can be made ({type(error).__name__}); see to the "
                "address, and to the environment's HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and "
                "SSL_CERT_FILE"
            ) from error
        enforce(self._client, self._deadline)

    def get(self, url: str, **options: Any) -> Answer:
        """Make a GET request; see `ask`."""
        return self.ask("GET", url, **options)

    def ask(
        self,
        method: str,
        url: str,
        gives_up: Callable[[Answer], bool] = lambda answer: False,
        group: str = "",
        judge: Judge | None = None,
        otherwise: Judge | None = None,
        **options: Any,
    ) -> Answer:
        """Make one request, again when it fails in a way that may pass.

        So may what comes with status 200 and is not what was asked for.

        Parameters
        ----------
        method, url : str
            Path and query without secrets; absolute for another host than ``server``.
        gives_up : callable
            Whether a transient-looking answer is not worth another try.
        group : str
            Requests whose failures and refusals are counted apart, such as "SODA" or one of
            several HiPS; their 401, which may be one galaxy's, is a failure.
        judge, otherwise : callable, optional
            What an answer of success, but not 204, and any other means, see `Answer.judged`;
            without ``otherwise`` others are ``failed``, without ``judge`` there is no verdict.
        **options
            Of `once`.

        Raises
        ------
        ServiceError
            When too many requests have failed in a row, or the server asks for a long wait.
        """
        unfit: set[bytes] = set()

        def attempt() -> Answer:
            answer = self.once(method, url, **options)
            if judge is not None:
                answer = answer.judged(judge, unfit, otherwise)
            self._breaker.note(answer, group)
            if answer.transient and not gives_up(answer):
                raise TryAgain(answer)
            return answer

        try:
            return self.repeated(attempt)
        except TryAgain as last:
            return last.answer

    def repeated(self, attempt: Callable[[], Result]) -> Result:
        """Make an attempt until it raises TryAgain no more; the last one passes."""
        for turn in self.retries():
            with turn:
                return attempt()
        raise AssertionError("the last attempt returns or raises")

    def retries(self) -> Any:
        """Attempts of one request: ``for attempt in retries(): with attempt: …`` and TryAgain."""
        import stamina

        return stamina.retry_context(
            on=_may_pass,
            attempts=self.network.attempts,
            timeout=None,
            wait_initial=0.5,
            wait_max=_WAIT_MAX_S,
            wait_jitter=0.5,
        )

    def once(
        self, method: str, url: str, unread: Callable[[str], bool] | None = None, **options: Any
    ) -> Answer:
        """Make one request once, within the rate and the time, and read ``max_bytes`` at most.

        ``unread`` decides by the Content-Type whether the body is left unread; ``options`` are
        those of ``httpx.Client.stream``: headers, data, files, content.
        """
        import httpx

        body = BytesIO()
        try:
            with self._open(method, url, **options) as response:
                if unread is None or not unread(response.headers.get("content-type", "")):
                    for piece in pieces(response):
                        body.write(piece)
                        if body.tell() > self._max_bytes:
                            break
                answer = self.head(response, url)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return no_answer(error, url)
        payload = body.getvalue()
        cut = len(payload) > self._max_bytes
        payload = payload[: self._max_bytes]
        for secret, mark in self._secrets:
            payload = secret.sub(mark, payload)
        return replace(answer, payload=payload, cut=cut)

    def head(self, response: "httpx.Response", url: str) -> Answer:
        """Make an answer without a body of an open response, and obey its Retry-After."""
        status = response.status_code
        headers = {name.lower(): value for name, value in response.headers.items()}
        # A range read's success is 206; no other answer but 200 holds what was asked for.
        reason = "" if status in (200, 206) else f"HTTP {status}"
        wait_s = retry_after_s(headers.get("retry-after", ""))
        answer = Answer(b"", status, reason, url, datetime.now(UTC), headers, wait_s)
        if answer.transient and wait_s is not None:
            if wait_s > _RETRY_AFTER_MAX_S:
                self._gate.stop(f"the server asks to wait for {wait_s:.0f} s")
                self._gate.sleep(0)
            self._gate.pause(wait_s)
        return answer

    @contextmanager
    def stream(self, method: str, url: str, **options: Any) -> "Iterator[httpx.Response]":
        """Open one request within the rate; its head must come in time, its body is read after."""
        with self._open(method, url, **options) as response:
            self._deadline.stop()
            yield response

    @contextmanager
    def _open(self, method: str, url: str, **options: Any) -> "Iterator[httpx.Response]":
        with self._connections:
            try:
                with self._client.stream(method, url, **options) as response:
                    yield response
            finally:
                self._deadline.stop()

    def _before(self, request: "httpx.Request") -> None:
        """Prepare each request, those that follow a redirect too."""
        at_home = _origin(request.url) == self._server
        for name, value in self._own_headers.items():
            if at_home:
                request.headers.setdefault(name, value)
            elif request.headers.get(name) == value:
                del request.headers[name]
        self._gate.wait_turn()
        self._deadline.start(self.network.timeout_s)

    def note(self, answer: Answer) -> None:
        """Count an answer of `once` or `stream` towards the failures in a row."""
        self._breaker.note(answer)

    def map_bounded(
        self, work: Callable[[Item], Result], items: Iterable[Item], bytes_each: int = 0
    ) -> Iterator[Result]:
        """Do the work of every item on some more threads than connections; see `map_bounded`.

        Fewer are under way when answers take many ``bytes_each``.
        """
        # While the answers of some are checked, those of others come.
        wanted = self.network.connections * 3 // 2
        threads = min(wanted, _IN_FLIGHT_BYTES // max(bytes_each, 1), MAX_UNDER_WAY)
        yield from map_bounded(work, items, max(1, threads))

    def close(self) -> None:
        """Close the connections; requests that still wait for their turn are not made."""
        self._gate.stop("the service was closed")
        self._client.close()


def pieces(response: "httpx.Response") -> Iterator[bytes]:
    """Read the body of an open response in decoded pieces of at most a megabyte.

    What is compressed never grows large before it is counted. Raises httpx.HTTPError when the
    connection fails, or the body is damaged or encoded in another way than gzip or deflate.
    """
    import httpx

    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        yield from response.iter_raw()
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError("unknown encoding")
    # 32: a gzip or a zlib header, whichever is there.
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for raw in response.iter_raw():
            piece = decoder.decompress(raw, _PIECE_BYTES)
            while piece:
                yield piece
                piece = decoder.decompress(decoder.unconsumed_tail, _PIECE_BYTES)
            if decoder.unused_data:
                raise httpx.DecodingError("something follows the body")
    except zlib.error as error:
        raise httpx.DecodingError("damaged") from error
    if not decoder.eof:
        raise httpx.DecodingError("the body ends too early")


def no_answer(error: Exception, url: str) -> Answer:
    """Make an answer of a transport error: of its kind, for the message may hold an address."""
    return Answer(b"", None, type(error).__name__, url, datetime.now(UTC))


def _secrets(token: str) -> list[tuple[re.Pattern[bytes], bytes]]:
    """Patterns of a token, if any, also one that a server cuts short, and what replaces them.

    A quarter of a token identifies it; less may be the header that all JSON web tokens share, and
    those in signed addresses are needed. Each search has a fixed beginning: quick in images.
    """
    if not token:
        return []
    # Quotes and tags end it: what remains is still a VOTable.
    rest = rb"[^\s<>\"']"
    beginning = re.escape(token[: max(_MIN_TOKEN_LETTERS, len(token) // 4)].encode())
    return [
        (re.compile(rb"Bearer\s+" + rest + rb"+"), b"Bearer ***"),
        (re.compile(beginning + rest + rb"*"), b"***"),
    ]


def _may_pass(error: Exception) -> bool | float:
    """Whether stamina tries again; at once (0) where the gate waits for the server's time."""
    if not isinstance(error, TryAgain):
        return False
    held = error.answer.retry_after_s and error.answer.http_status not in (200, 206)
    return 0.0 if held else True


def _origin(url: "httpx.URL") -> tuple[str, str, int | None]:
    """Scheme, host and port: secrets do not go from https to http either."""
    return url.scheme, url.host, url.port

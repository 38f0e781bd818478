"""The HTTP client against servers that are slow, broken, hostile or tired, over real sockets."""

import gzip
import logging
import socket
import threading
import time
import zlib
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from galaxymill.decoding.decode import PayloadError
from galaxymill.surveys.base import BATCH, Cutout, Target, cutout_of
from galaxymill.web import http
from galaxymill.web.answer import TryAgain, Verdict
from galaxymill.web.http import Http, pieces
from galaxymill.web.network import Network, ServiceError
from galaxymill.web.workers import map_bounded

TOKEN = "s3cr3t-t0k3n"
TARGETS = [Target(f"g{index}", 150.0, 2.0, 0.262, 32) for index in range(200)]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(http, "_WAIT_MAX_S", 0.02)


class Server:
    """Answers every request by ``handle(socket, request)``; keeps what came and when."""

    def __init__(self, handle):
        self.requests, self.times = [], []
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with client:
            text = b""
            while True:
                try:
                    more = client.recv(65536)
                except OSError:
                    return
                if not more:
                    return
                text += more
                if b"\r\n\r\n" not in text:
                    continue
                self.times.append(time.monotonic())
                self.requests.append(text.decode())
                try:
                    if self._handle(client, text.decode()) == "hang up":
                        return
                except OSError:
                    return
                text = b""

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def serving(handle):
    server = Server(handle)
    try:
        yield server
    finally:
        server.close()


def response(body=b"pixels", status="200 OK", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


def always(*responses):
    """Answer with one after the other, the last one ever after."""
    number = iter(range(10**9))

    def handle(client, request):
        client.sendall(responses[min(next(number), len(responses) - 1)])

    return handle


@contextmanager
def client(url="", headers=None, max_bytes=10_000_000, **network):
    limits = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 3, **network}
    opened = Http(Network(**limits), url, headers, max_bytes)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def asking(handle, *args, **options):
    """A server and a client of it."""
    with serving(handle) as server, client(server.url, *args, **options) as opened:
        yield server, opened


def get(handle, path="/a?b=c", **options):
    with asking(handle, **options) as (server, opened):
        return opened.get(path), server


def picture(opened):
    """Work that asks once for each target."""

    def work(target):
        answer = opened.get(f"/{target.object_id}")
        return cutout_of(
            answer, target, "ok" if answer.http_status == 200 else "failed", answer.reason
        )

    return work


# Time


def drip(*parts, pause_s=0.05):
    """Send parts at once, but the last one byte by byte and for ever."""

    def handle(client, request):
        for part in parts[:-1]:
            client.sendall(part)
        for index in range(100_000):
            client.sendall(parts[-1][index % len(parts[-1]) :][:1])
            time.sleep(pause_s)

    return handle


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\0", b"x"),
    ],
)
def test_a_drip_is_cut_off_in_the_time_for_one_request(parts):
    start = time.monotonic()
    answer, server = get(drip(*parts), timeout_s=1, attempts=1)
    # By the rules of each read alone it would take for ever.
    assert 0.9 < time.monotonic() - start < 30
    assert (answer.http_status, answer.payload) == (None, b"")
    assert answer.reason == "ReadTimeout"
    assert len(server.requests) == 1


def test_waiting_for_ones_turn_is_no_time_for_the_request():
    with serving(always(response())) as server:
        limits = {"requests_per_second": 2, "timeout_s": 1, "connections": 4}
        with client(server.url, **limits) as opened:
            cutouts = list(opened.map_bounded(picture(opened), TARGETS[:4]))
    assert [cutout.status for cutout in cutouts] == ["ok"] * 4


def test_a_stream_may_take_its_time_once_it_has_begun():
    def handle(client, request):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.2)
            client.sendall(b"x")

    with asking(handle, timeout_s=1) as (_server, opened):
        with opened.stream("GET", "/") as answer:
            assert b"".join(pieces(answer)) == b"x" * 8
        assert opened.once("GET", "/").reason == "ReadTimeout"


# Size


def test_a_long_answer_is_cut_and_never_good():
    answer, _ = get(always(response(b"x" * 100_000)), max_bytes=1000)
    assert (answer.http_status, answer.payload, answer.cut) == (200, b"x" * 1000, True)
    cutout = cutout_of(answer.judged(lambda _: Verdict("ok"), set()), TARGETS[0])
    assert (cutout.status, cutout.payload) == ("failed", None)
    assert cutout.reason == "the answer is longer than 1000 bytes"


def test_an_answer_of_just_the_size_is_whole():
    answer, _ = get(always(response(b"x" * 1000)), max_bytes=1000)
    assert (len(answer.payload), answer.cut) == (1000, False)


def test_an_endless_answer_is_cut():
    def handle(client, request):
        client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            client.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    answer, _ = get(handle, max_bytes=1_000_000)
    assert (len(answer.payload), answer.cut) == (1_000_000, True)


def test_endless_headers_are_refused():
    def handle(client, request):
        client.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            client.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")

    answer, _ = get(handle, attempts=1)
    assert (answer.http_status, answer.reason) == (None, "RemoteProtocolError")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip", "GZIP"])
def test_a_bomb_is_cut_by_its_decoded_size(encoding):
    """What is decoded at a time is bounded too."""
    code = zlib.compressobj(1, wbits=zlib.MAX_WBITS | (16 if "zip" in encoding.lower() else 0))
    bomb = b"".join(code.compress(bytes(10_000_000)) for _ in range(4)) + code.flush()
    with serving(always(response(bomb, Content_Encoding=encoding))) as server:
        with client(server.url) as opened, opened.stream("GET", "/") as answer:
            assert max(map(len, pieces(answer))) <= 1_000_000
        with client(server.url, max_bytes=3_000_000) as opened:
            answer = opened.get("/")
    assert (len(answer.payload), answer.cut) == (3_000_000, True)


def test_gzip_is_decoded_though_it_was_not_asked_for():
    body = gzip.compress(b"pixels" * 10_000, mtime=0)
    answer, server = get(always(response(body, Content_Encoding="gzip")))
    assert answer.payload == b"pixels" * 10_000
    assert "accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"pixels" * 1000, mtime=0)[:-9]),
        ("gzip", gzip.compress(b"pixels" * 1000, mtime=0) + b"more"),
        ("gzip", b"pixels"),
        ("gzip", b""),
        ("deflate", b"\xff\xff\xff"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"pixels", mtime=0), mtime=0)),
        ("br", b"pixels"),
        ("zstd", b"pixels"),
    ],
    ids=["short", "more", "no gzip", "empty", "no deflate", "twice", "br", "zstd"],
)
def test_what_cannot_be_decoded_is_a_failure_and_asked_again(encoding, body):
    answer, server = get(always(response(body, Content_Encoding=encoding)))
    assert (answer.http_status, answer.payload) == (None, b"")
    assert answer.reason == "DecodingError"
    assert len(server.requests) == 3


def test_a_short_body_is_asked_again():
    def handle(client, request, left=[2]):  # noqa: B006
        left[0] -= 1
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
        client.sendall(head + (b"pix" if left[0] else b"pixels"))
        return "hang up"

    answer, server = get(handle)
    assert (answer.http_status, answer.payload) == (200, b"pixels")
    assert len(server.requests) == 2


def test_bytes_behind_the_body_do_no_harm_to_the_next_request():
    def handle(client, request):
        client.sendall(response(b"pixels") + b"and more")

    with asking(handle, connections=1) as (_server, opened):
        payloads = {opened.get(f"/{index}").payload for index in range(5)}
    assert payloads == {b"pixels"}


# Pace


@pytest.mark.parametrize("rate", [50, 200])
def test_no_two_requests_are_closer_than_the_rate_allows(rate):
    with asking(always(response()), requests_per_second=rate, connections=8) as (server, opened):
        assert len(list(opened.map_bounded(picture(opened), TARGETS[:rate]))) == rate
    span = server.times[-1] - server.times[0]
    # The first may be long on its way to a busy server.
    assert (rate - 1) / span <= 1.2 * rate


def test_a_redirect_is_a_request_too():
    with asking(
        always(response(b"", "302 Found", Location="/again")), requests_per_second=20, attempts=1
    ) as (server, opened):
        assert opened.get("/").reason == "TooManyRedirects"
    assert len(server.requests) == 6
    # The server may see the first one late.
    assert server.times[-1] - server.times[0] > 0.8 * 5 / 20


def test_retry_after_holds_everybody_back_and_then_there_is_no_rush():
    def handle(client, request):
        if len(server.requests) == 3:
            client.sendall(response(b"", "429 Too Many Requests", Retry_After="0.5"))
        else:
            client.sendall(response())

    with asking(handle, requests_per_second=50) as (server, opened):
        cutouts = list(opened.map_bounded(picture(opened), TARGETS[:20]))
    assert {cutout.status for cutout in cutouts} == {"ok"}
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert max(gaps) > 0.4
    assert sorted(gaps)[len(gaps) // 2] > 0.01


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("2.5", 2.5),
        ("0", 0),
        ("-5", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_past_date(value, seconds):
    assert http.retry_after_s(value) == seconds


@pytest.mark.parametrize("zone", ["GMT", "+0000", ""])
def test_retry_after_as_a_date(zone):
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    value = format_datetime(in_an_hour).replace("+0000", zone)
    assert 3590 <= http.retry_after_s(value) <= 3600


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "1e999", "Wed, 99 Oct 2015", "\x00"])
def test_an_odd_retry_after_says_nothing(value):
    assert http.retry_after_s(value) is None


# Stops


@contextmanager
def within(seconds):
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def test_the_breaker_stops_everybody_at_once_though_some_sleep(monkeypatch):
    """Threads that wait for another try, and for minutes, are woken."""
    monkeypatch.setattr(http, "_WAIT_MAX_S", 60)
    got = []
    with serving(always(response(b"", "503 Busy"))) as server:
        limits = {"connections": 8, "stop_after": 8, "attempts": 20}
        with client(server.url, **limits) as opened, within(10):
            with pytest.raises(ServiceError, match=r"8 requests in a row failed, .* HTTP 503"):
                got.extend(opened.map_bounded(picture(opened), TARGETS))
            with pytest.raises(ServiceError, match="8 requests in a row failed"):
                opened.get("/more")
    assert got == []
    assert len(server.requests) < 20


def test_a_stop_wakes_those_whom_the_server_told_to_wait():
    def handle(client, request):
        if "/g0 " in request:
            # When the other request is on its way.
            time.sleep(0.3)
            client.sendall(response(b"", "503 Busy", Retry_After="60"))
        else:
            time.sleep(0.7)
            client.sendall(response(b"", "401 Unauthorized"))

    with (
        asking(handle, connections=2) as (_server, opened),
        within(10),
        pytest.raises(ServiceError, match="HTTP 401"),
    ):
        list(opened.map_bounded(picture(opened), TARGETS[:2]))


def test_a_long_retry_after_stops_at_once():
    with (
        asking(always(response(b"", "503 Busy", Retry_After="86400")), connections=4) as (
            server,
            opened,
        ),
        within(10),
        pytest.raises(ServiceError, match="the server asks to wait for 86400 s"),
    ):
        list(opened.map_bounded(picture(opened), TARGETS))
    assert len(server.requests) <= 4


def test_what_is_under_way_at_a_stop_still_counts():
    """The slow answer comes after the breaker has opened."""

    def handle(client, request):
        if "/g0 " in request:
            time.sleep(0.5)
            client.sendall(response())
        else:
            client.sendall(response(b"", "503 Busy"))

    got = []
    with (
        asking(handle, connections=4, stop_after=4) as (_server, opened),
        pytest.raises(ServiceError),
    ):
        got.extend(opened.map_bounded(picture(opened), TARGETS))
    assert [(cutout.target, cutout.status) for cutout in got] == [(TARGETS[0], "ok")]


def test_one_good_answer_ends_the_row():
    bad, good = response(b"", "503 Busy"), response()
    with asking(always(*[*[bad] * 4, good] * 8), connections=1, stop_after=5, attempts=10) as (
        _server,
        opened,
    ):
        cutouts = list(opened.map_bounded(picture(opened), TARGETS[:8]))
    assert {cutout.status for cutout in cutouts} == {"ok"}


def test_a_row_of_429_stops_too():
    with (
        asking(always(response(b"", "429 Too Many Requests")), stop_after=10) as (server, opened),
        pytest.raises(ServiceError, match="HTTP 429"),
    ):
        list(opened.map_bounded(picture(opened), TARGETS))
    assert len(server.requests) < 20


REFUSED = response(b"", "404 Not Found")


@pytest.mark.parametrize(("max_failed", "asked"), [(0.5, 8), (1, 30)])
def test_refusals_from_the_first_stop_unless_all_may_fail(max_failed, asked):
    with asking(always(REFUSED), connections=1, max_failed=max_failed) as (server, opened):
        stops = pytest.raises(ServiceError, match="first 8 galaxies were all refused with HTTP 404")
        with stops if asked == 8 else nullcontext():
            list(opened.map_bounded(picture(opened), TARGETS[:30]))
    assert len(server.requests) == asked


@pytest.mark.parametrize(
    "first", [[response()], [REFUSED, response()], [response(b"", "403 Forbidden")] * 4]
)
def test_refusals_of_some_stop_nothing(first):
    """Neither after a good answer, nor while the refusals are of several kinds."""
    responses = [*first, *[REFUSED] * 7, response(), REFUSED]
    with asking(always(*responses), connections=1) as (_server, opened):
        assert len(list(opened.map_bounded(picture(opened), TARGETS[:50]))) == 50


def test_what_is_asked_for_by_itself_is_refused_by_itself():
    with asking(always(response(), REFUSED), connections=1) as (_server, opened):
        opened.get("/this")
        for _ in range(7):
            opened.get("/other", group="A/typo")
            assert opened.get("/this", group="A/r").http_status in (200, 404)
        with pytest.raises(ServiceError, match="first 8 A/typo requests were all refused"):
            opened.get("/other", group="A/typo")


# Verdicts

JPEG = b"\xff\xd8\xff"
PAGE = b"<html><title>Down for maintenance</title></html>"


def judge(answer):
    """Good is what ends with 'good'; what has no end may get one."""
    if answer.http_status != 200:
        return None
    if answer.payload.endswith(b"good"):
        return Verdict("ok")
    if answer.payload.endswith(b"no"):
        return Verdict("failed", "never heard of it", refused=True)
    raise PayloadError("no good", truncated=answer.payload.endswith(b"..."))


@pytest.mark.parametrize(
    ("bodies", "status", "requests"),
    [
        ([b"good"], "ok", 1),
        ([b"", b"good"], "ok", 2),
        ([PAGE, JPEG + b"...", b"good"], "ok", 3),
        ([PAGE], "failed", 3),
        ([b""], "failed", 3),
        ([JPEG + b"..."], "failed", 3),
        ([JPEG + b"other"], "invalid", 2),
        ([PAGE, JPEG + b"other", JPEG + b"other"], "invalid", 3),
        ([JPEG + b"one", JPEG + b"two", JPEG + b"three"], "failed", 3),
        ([JPEG + b"one", JPEG + b"two", JPEG + b"one"], "invalid", 3),
        ([b"no"], "failed", 1),
    ],
)
def test_what_was_not_asked_for_is_tried_again(bodies, status, requests):
    """It is failed, until the same image that is another one has come twice."""
    with asking(always(*map(response, bodies))) as (server, opened):
        cutout = cutout_of(opened.get("/a", judge=judge), TARGETS[0])
    assert (cutout.status, len(server.requests)) == (status, requests)
    assert cutout.payload == (bodies[-1] if status in ("ok", "invalid") else None)
    assert (cutout.reason == "") is (status == "ok")


def test_the_reason_quotes_a_text_and_no_other_bytes():
    reasons = []
    for body in (PAGE, b"a\n b", b"\x00\x01", b"\xe4\xf6", b"", b"x" * 1000):
        with asking(always(response(body)), attempts=1) as (_server, opened):
            reasons.append(opened.get("/a", judge=judge).why)
    quoted = f"no good: '{'x' * 60}'"
    assert reasons == [
        f"no good: '{PAGE.decode()[:60]}'",
        "no good: 'a b'",
        *["no good"] * 3,
        quoted,
    ]


def test_no_content_is_the_service_s_word():
    with asking(always(b"HTTP/1.1 204 No Content\r\n\r\n")) as (server, opened):
        cutout = cutout_of(opened.get("/a", judge=judge), TARGETS[0])
    assert (cutout.status, cutout.http_status, cutout.payload) == ("no_coverage", 204, None)
    assert len(server.requests) == 1


def judged(opened):
    return lambda target: cutout_of(opened.get(f"/{target.object_id}", judge=judge), target)


def test_a_row_of_pages_stops_and_says_what_they_are():
    with (
        asking(always(response(PAGE)), stop_after=10, connections=2) as (server, opened),
        pytest.raises(ServiceError, match=r"10 requests in a row failed.*'<html><title>Down for"),
    ):
        list(opened.map_bounded(judged(opened), TARGETS))
    assert len(server.requests) <= 12


@pytest.mark.parametrize("body", [JPEG + b"...", JPEG + b"other"])
def test_a_row_of_images_that_are_no_good_stops_nothing(body):
    with asking(always(response(body)), stop_after=4, connections=2) as (_server, opened):
        cutouts = list(opened.map_bounded(judged(opened), TARGETS[:20]))
    assert len(cutouts) == 20


def test_a_page_that_asks_to_wait_is_no_rush(monkeypatch):
    """Only error statuses hold everybody back; a page is tried again as others are."""
    monkeypatch.setattr(http, "_WAIT_MAX_S", 0.2)
    page = response(PAGE, Retry_After="3600")
    with asking(always(page, page, response(b"good"))) as (server, opened), within(5):
        assert opened.get("/a", judge=judge).verdict.status == "ok"
    assert server.times[-1] - server.times[0] > 0.2


def test_401_stops_with_the_first():
    with (
        asking(always(response(b"", "401 Unauthorized")), connections=2) as (server, opened),
        pytest.raises(ServiceError, match="HTTP 401: the server wants credentials"),
    ):
        list(opened.map_bounded(picture(opened), TARGETS))
    assert len(server.requests) <= 2


def test_closing_sends_those_away_who_wait():
    """As when the consumer fails: nobody waits ten minutes for a turn."""
    with serving(always(response())) as server:
        before = threading.active_count()
        with client(server.url, requests_per_second=0.001, connections=8) as opened:
            cutouts = opened.map_bounded(picture(opened), TARGETS)
            next(cutouts)
            cutouts.close()
        deadline = time.monotonic() + 2
        while threading.active_count() > before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() <= before + 2
    assert len(server.requests) == 1


def test_retries_wait_and_then_give_up():
    tries = []

    def fail(opened, answer):
        for attempt in opened.retries():
            with attempt:
                tries.append(attempt)
                raise TryAgain(answer)

    with client("http://127.0.0.1:9", attempts=4) as opened:
        answer = opened.once("GET", "/")
        with pytest.raises(TryAgain) as caught:
            fail(opened, answer)
    assert len(tries) == 4
    assert caught.value.answer is answer


# Threads


@pytest.mark.parametrize("threads", [1, 5, BATCH])
def test_no_more_than_a_batch_is_ever_under_way(threads):
    begun, kept, most = [], [], []

    def work(target):
        begun.append(target)
        time.sleep(0.001)
        return Cutout(target, "ok")

    for cutout in map_bounded(work, TARGETS, threads):
        time.sleep(0.001)
        most.append(len(begun) - len(kept))
        kept.append(cutout.target)
    assert sorted(kept, key=TARGETS.index) == TARGETS
    assert max(most) <= threads


def test_no_targets_no_threads():
    before = threading.active_count()
    assert list(map_bounded(lambda target: Cutout(target, "ok"), iter([]), 8)) == []
    assert threading.active_count() == before


def test_a_fault_of_the_program_is_raised_as_it_is():
    def work(target):
        raise KeyError(target.object_id)

    with pytest.raises(KeyError):
        list(map_bounded(work, TARGETS, 4))


# Secrets


def headers_of(server):
    return [request.lower() for request in server.requests]


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Cookie"])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 T", "308 P"])
def test_a_redirect_elsewhere_never_receives_a_secret(name, status):
    with serving(always(response())) as other:
        moved = response(b"", status, Location=f"{other.url}/elsewhere")
        with asking(always(moved), {name: f"Bearer {TOKEN}"}) as (server, opened):
            assert opened.get("/a").payload == b"pixels"
            assert opened.ask("POST", "/a", content=b"list").payload == b"pixels"
    assert len(server.requests) == len(other.requests) == 2
    assert all(TOKEN in request for request in headers_of(server))
    assert not any(TOKEN in request for request in headers_of(other))


def test_another_name_of_the_same_machine_receives_no_secret():
    with asking(always(response()), {"Authorization": TOKEN}) as (server, opened):
        for url in (
            f"http://localhost:{server.port}/a",
            f"http://127.0.0.1:{server.port}@localhost:{server.port}/",
            "//localhost/path",
        ):
            opened.once("GET", url)
        opened.get(f"{server.url}/whole")
    with_secret = [request.split(" ")[1] for request in server.requests if TOKEN in request]
    assert with_secret in (["/whole"], ["/path", "/whole"])


def test_a_redirect_to_itself_keeps_the_secret():
    with asking(
        always(response(b"", "302 Found", Location="/there"), response()), {"Authorization": TOKEN}
    ) as (server, opened):
        assert opened.get("/").http_status == 200
    assert [TOKEN in request for request in headers_of(server)] == [True, True]


def test_no_secret_and_no_server_in_answers_errors_and_logs(caplog):
    caplog.set_level(logging.INFO)
    said = []
    answers = [
        response(b"", "503 Busy"),
        response(b"", "404 Gone"),
        response(b"", "302 Found", Location="http://[bad"),
        b"garbage\r\n\r\n",
        response(),
    ]
    for sent in answers:
        with asking(always(sent), {"Authorization": TOKEN}, stop_after=2) as (server, opened):
            try:
                answer = opened.get("/a?b=c")
                said.append(repr(answer))
                said.append(repr(cutout_of(answer, TARGETS[0], "failed", answer.reason)))
            except ServiceError as error:
                said.append(str(error))
            assert str(server.port) not in "".join(said)
    said.extend(record.getMessage() for record in caplog.records if record.name == "galaxymill")
    assert not any(TOKEN in text for text in said)
    assert not any(TOKEN in record.getMessage() for record in caplog.records)

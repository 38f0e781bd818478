"""A published file comes whole, is resumed where it broke off, and is refused when it is wrong."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from galaxymill.downloads.download import download
from galaxymill.downloads.settings import DownloadSettings
from galaxymill.errors import UserError

BODY = np.random.default_rng(1).bytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = 1_500_000


class Mirror:
    """Serves one file over real sockets; ``faults`` are answers that come before good ones.

    A fault is a status with headers, or a number of bytes after which the connection breaks
    (negative: after which nothing more comes).
    """

    def __init__(self, body=BODY, *faults, ranges=True, tag='"v1"', length=True, headers=()):
        self.body, self.faults, self.asked = body, list(faults), []
        self.ranges, self.tag, self.length, self.headers = ranges, tag, length, dict(headers)
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                mirror.answer(self)

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/record/table.parquet"

    def answer(self, to):
        self.asked.append({name.lower(): value for name, value in to.headers.items()})
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, tuple):
            return self.send(to, fault[0], fault[1], b"")
        headers = {**({"ETag": self.tag} if self.tag else {}), **self.headers}
        start = self.start(to)
        if start is None:
            return self.send(to, 200, headers, self.body, fault)
        if start >= len(self.body):
            return self.send(to, 416, {"Content-Range": f"bytes */{len(self.body)}"}, b"")
        place = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        return self.send(to, 206, {**headers, "Content-Range": place}, self.body[start:], fault)

    def start(self, to):
        asked = to.headers.get("Range")
        if not (self.ranges and asked) or to.headers.get("If-Range", self.tag) != self.tag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def send(self, to, status, headers, body, fault=None):
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name, value)
        if self.length:
            to.send_header("Content-Length", str(len(body)))
        else:
            to.close_connection = True
        to.end_headers()
        to.wfile.write(body if fault is None else body[: abs(fault)])
        to.wfile.flush()
        if fault is not None:
            if fault < 0:
                time.sleep(60)
            to.close_connection = True


@contextmanager
def serving(*args, **options):
    mirror = Mirror(*args, **options)
    threading.Thread(target=mirror.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield mirror
    finally:
        mirror.server.shutdown()
        mirror.server.server_close()


@pytest.fixture(autouse=True)
def _short_waits(short_waits):
    pass


@pytest.fixture
def out(tmp_path):
    return tmp_path / "downloads" / "table.parquet"


def part(out):
    return out.parent / f".{out.name}.part"


def left(out):
    """What lies beside the file when all is over."""
    return sorted(path.name for path in out.parent.iterdir())


def refused(url, out, **known):
    with pytest.raises(UserError) as refusal:
        download(DownloadSettings(url=url, **known), out)
    assert str(refusal.value).startswith(f"{url}: ")
    assert not out.exists()
    return str(refusal.value)


def begun(mirror, out, size=HALF, **known):
    """Break off after ``size`` bytes, as a kill does; give the settings to go on with."""
    source = DownloadSettings(url=mirror.url, **known)
    mirror.faults = [size, *[(503, {})] * 5]
    with pytest.raises(UserError, match="HTTP 503"):
        download(source, out)
    assert part(out).read_bytes() == mirror.body[:size]
    mirror.faults, mirror.asked = [], []
    return source


@pytest.mark.parametrize("known", [{}, {"md5": MD5}, {"sha256": SHA256.upper()}])
def test_the_file_comes_as_it_is_served(out, known):
    with serving() as mirror:
        download(DownloadSettings(url=mirror.url, **known), out)
    assert out.read_bytes() == BODY
    assert left(out) == [out.name]
    assert len(mirror.asked) == 1
    assert "range" not in mirror.asked[0]


def test_without_a_checksum_the_log_gives_one(out, caplog):
    with serving() as mirror, caplog.at_level("INFO", "galaxymill"):
        download(DownloadSettings(url=mirror.url), out)
    assert f"sha256: {SHA256}" in caplog.text


def test_a_file_that_is_there_is_not_asked_for_again(out):
    with serving() as mirror:
        for _ in range(2):
            download(DownloadSettings(url=mirror.url, md5=MD5), out)
        assert len(mirror.asked) == 1
        # Who does not know what it should be cannot tell.
        download(DownloadSettings(url=mirror.url), out)
    assert len(mirror.asked) == 2


def test_another_checksum_brings_another_file(out):
    with serving(b"old") as mirror:
        download(DownloadSettings(url=mirror.url), out)
        mirror.body = BODY
        download(DownloadSettings(url=mirror.url, md5=MD5), out)
    assert out.read_bytes() == BODY


def test_a_killed_download_asks_for_the_rest_alone(out):
    code = "from galaxymill.cli import main; main()"
    with serving(BODY, -HALF) as mirror:
        words = [sys.executable, "-c", code, "download", mirror.url, str(out), "--sha256", SHA256]
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (part(out).exists() and part(out).stat().st_size > HALF // 2):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = part(out).stat().st_size
        assert 0 < kept <= HALF
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == BODY
    assert left(out) == [out.name]
    assert [asked.get("range") for asked in mirror.asked] == [None, f"bytes={kept}-"]
    assert mirror.asked[1]["if-range"] == '"v1"'


def test_a_connection_that_breaks_is_taken_up_again(out):
    """As often as it breaks, as long as something comes."""
    with serving(BODY, *[100_000] * 3, *[1_000_000] * 2) as mirror:
        download(DownloadSettings(url=mirror.url, md5=MD5), out)
    assert out.read_bytes() == BODY
    starts = [None, *(f"bytes={n}00000-" for n in (1, 2, 3, 13, 23))]
    assert [asked.get("range") for asked in mirror.asked] == starts


def test_a_file_that_changed_meanwhile_comes_whole(out):
    with serving() as mirror:
        source = begun(mirror, out)
        mirror.body, mirror.tag = BODY[::-1], '"v2"'
        download(source, out)
    assert out.read_bytes() == BODY[::-1]
    assert mirror.asked[0]["if-range"] == '"v1"'


@pytest.mark.parametrize(
    ("tag", "headers", "known", "resumes"),
    [
        (None, {"Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT"}, {}, True),
        (None, {}, {"md5": MD5}, True),
        (None, {}, {}, False),
        ('W/"v1"', {}, {}, False),
    ],
)
def test_what_cannot_be_told_apart_is_not_pieced_together(out, tag, headers, known, resumes):
    with serving(tag=tag, headers=headers) as mirror:
        source = begun(mirror, out, **known)
        mirror.start = lambda to: HALF if "Range" in to.headers else None
        download(source, out)
    assert out.read_bytes() == BODY
    assert ("range" in mirror.asked[0]) == resumes


def test_the_part_of_another_address_is_left(out):
    with serving() as mirror, serving(BODY[::-1]) as other:
        begun(mirror, out)
        download(DownloadSettings(url=other.url), out)
    assert "range" not in other.asked[0]
    assert out.read_bytes() == BODY[::-1]


def test_a_server_without_ranges_starts_over(out):
    with serving(ranges=False) as mirror:
        source = begun(mirror, out, md5=MD5)
        download(source, out)
    assert mirror.asked[0]["range"] == f"bytes={HALF}-"
    assert out.read_bytes() == BODY


def test_a_part_that_is_whole_is_not_asked_for(out):
    """The kill came between the last byte and the name."""
    with serving() as mirror:
        source = begun(mirror, out, md5=MD5)
        part(out).write_bytes(BODY)
        download(source, out)
    assert mirror.asked == []
    assert out.read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(out):
    with serving() as mirror:
        source = begun(mirror, out, md5=MD5)
        mirror.body = BODY[: HALF // 2]
        with pytest.raises(UserError, match="expected"):
            download(source, out)
    assert [asked.get("range") for asked in mirror.asked] == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("place", ["bytes 7-2999999/3000000", "bytes", "items 0-1/2"])
def test_a_range_that_was_not_asked_for_is_not_used(out, place):
    with serving() as mirror:
        source = begun(mirror, out, md5=MD5)
        mirror.faults = [(206, {"Content-Range": place, "ETag": '"v1"'})]
        download(source, out)
    assert out.read_bytes() == BODY


def test_a_server_that_sends_ranges_unasked_is_given_up(out):
    with serving(BODY, *[(206, {"Content-Range": "bytes 7-8/9"})] * 9) as mirror:
        message = refused(mirror.url, out)
    assert "another part than was asked for in the last of 5 tries" in message
    assert len(mirror.asked) == 5


@pytest.mark.parametrize(("kind", "good"), [("md5", MD5), ("sha256", SHA256)])
def test_a_wrong_checksum_names_both_and_keeps_nothing(out, kind, good):
    wrong = "0" * len(good)
    with serving() as mirror:
        message = refused(mirror.url, out, **{kind: wrong})
    assert f"its {kind} is {good}, but {wrong} is expected" in message
    assert left(out) == []


def test_an_old_file_stays_when_the_new_one_is_wrong(out):
    out.parent.mkdir()
    out.write_bytes(b"old")
    with serving() as mirror, pytest.raises(UserError, match="expected"):
        download(DownloadSettings(url=mirror.url, md5="0" * 32), out)
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("length", [True, False])
def test_a_file_that_is_too_long_is_refused(out, length):
    with serving(length=length) as mirror:
        message = refused(mirror.url, out, bytes=1_000_000)
    assert "is longer than 1000000 bytes" in message
    assert "--bytes" in message
    assert left(out) == []


def test_a_file_of_just_the_size_is_taken(out):
    with serving(length=False) as mirror:
        download(DownloadSettings(url=mirror.url, bytes=len(BODY)), out)
    assert out.read_bytes() == BODY


def test_an_empty_file_is_a_file(out):
    with serving(b"") as mirror:
        download(DownloadSettings(url=mirror.url), out)
    assert out.read_bytes() == b""


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(out, status):
    with serving(BODY, (status, {})) as mirror:
        assert f"HTTP {status}; see whether the address is right" in refused(mirror.url, out)
    assert len(mirror.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_fault_that_may_pass_is_asked_again(out, status):
    with serving(BODY, (status, {}), (status, {"Retry-After": "0.1"})) as mirror:
        download(DownloadSettings(url=mirror.url, md5=MD5), out)
    assert out.read_bytes() == BODY
    assert len(mirror.asked) == 3


def test_nobody_at_home(out):
    with serving() as mirror:
        pass
    assert "ConnectError in the last of 5 tries; what has come is kept" in refused(mirror.url, out)


def test_a_redirect_is_followed(out):
    with serving() as mirror, serving(BODY, *[(302, {"Location": mirror.url})] * 2) as record:
        download(DownloadSettings(url=record.url, md5=MD5), out)
    assert out.read_bytes() == BODY


def test_redirects_for_ever_end(out):
    with serving() as mirror:
        mirror.faults = [(302, {"Location": mirror.url})] * 99
        assert "TooManyRedirects" in refused(mirror.url, out)


def test_what_the_server_compressed_is_refused(out):
    with serving(headers={"Content-Encoding": "gzip"}) as mirror:
        assert "the server sends it as gzip" in refused(mirror.url, out)


def test_an_archives_own_compression_is_the_files(out):
    with serving(headers={"Content-Encoding": "gzip"}) as mirror:
        url = mirror.url.replace("table.parquet", "table.csv.gz?download=1")
        download(DownloadSettings(url=url, md5=MD5), out)
    assert out.read_bytes() == BODY


def test_a_damaged_note_begins_anew(out):
    with serving() as mirror:
        source = begun(mirror, out, md5=MD5)
        part(out).with_name(f"{part(out).name}.json").write_text('"')
        download(source, out)
    assert "range" not in mirror.asked[0]
    assert out.read_bytes() == BODY


def test_two_writers_ask_once(out):
    code = "from galaxymill.cli import main; main()"
    with serving() as mirror:
        words = [sys.executable, "-c", code, "download", mirror.url, str(out), "--md5", MD5]
        processes = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(60) for process in processes] == [0, 0]
    assert len(mirror.asked) == 1
    assert out.read_bytes() == BODY


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ftp://example.org/a"], "url"),
        (["file:///etc/passwd"], "url"),
        (["https://me:s3cr3t@example.org/a"], "must hold no user or password"),
        (["https://example.org/a", "--md5", "abc"], "md5"),
        (["https://example.org/a", "--md5", MD5, "--sha256", SHA256], "not both"),
    ],
)
def test_the_command_refuses_with_one_message(galaxymill, tmp_path, words, told):
    done = galaxymill("download", words[0], tmp_path / "a", *words[1:])
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert told in done.stderr
    assert "s3cr3t" not in done.stderr


def test_the_command_shows_how_far_it_is(galaxymill, out):
    with serving() as mirror:
        done = galaxymill("download", mirror.url, out, "--md5", MD5, "--bytes", len(BODY))
    assert done.returncode == 0, done.stderr
    assert "download table.parquet: 3 of 3 MB" in done.stderr
    assert "Traceback" not in done.stderr

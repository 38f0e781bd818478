"""A fetch that is killed, interrupted or stopped, and goes on: nothing lost, little asked twice."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galaxymill.storage.origin import read_record
from galaxymill.surveys.base import BATCH, Cutout, cutout_of
from galaxymill.surveys.fetch import cutouts_origin, fetch, targets
from galaxymill.surveys.part_file import open_part
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.web.http import Http
from galaxymill.web.network import Network, ServiceError

pytestmark = pytest.mark.usefixtures("short_waits")

GALAXIES = 100
SIZE = 96
CONNECTIONS = 16
TOKEN = "s3cr3t-t0k3n"


class Viewer:
    """The Legacy viewer; counts what is asked for each galaxy, and may act on a request."""

    def __init__(self, server, make_fits):
        self.url = server.url_for("").rstrip("/")
        self.asked = []
        self.act = lambda number: None
        # Half of the pixels are noise: a payload takes a while to write.
        noise = np.random.default_rng(1).normal(0, 0.1, (3, SIZE, SIZE)).astype(np.float32)
        self._make = lambda ra: make_fits(noise, ra=ra)
        self._small = make_fits()
        blank = io.BytesIO()
        Image.new("RGB", (SIZE, SIZE)).save(blank, "JPEG")
        server.expect_request("/viewer/jpeg-cutout").respond_with_data(blank.getvalue())
        self._lock = threading.Lock()
        server.expect_request("/viewer/fits-cutout").respond_with_handler(self._answer)

    def _answer(self, request):
        ra = request.args["ra"]
        with self._lock:
            self.asked.append(ra)
            number = len(self.asked)
        answer = self.act(number)
        if answer is not None:
            return answer
        # One in ten is off the footprint, one in ten is another size.
        index = round((float(ra) - 150) * 1000)
        if index % 10 == 3:
            return Response(b"", 500)
        return Response(self._small if index % 10 == 7 else self._make(float(ra)))

    def counts(self):
        """How often each galaxy was asked for as FITS."""
        return Counter(self.asked)


@pytest.fixture
def viewer(make_fits):
    # Its line a request is no news.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with HTTPServer(threaded=True) as server:
        yield Viewer(server, make_fits)


@pytest.fixture
def tile(write_tile):
    return write_tile([{"object_id": f"g{i}", "ra": 150 + i / 1000} for i in range(GALAXIES)])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "cutouts" / "g0-k0-p4.parquet"


def part_of(out):
    return out.parent / f".{out.name}.part"


def settings_of(viewer):
    return LegacySettings(server=viewer.url, size=SIZE)


def fetch_here(viewer, tile, out, **network):
    limits = {"requests_per_second": 1000, "connections": CONNECTIONS, "attempts": 3}
    fetch(tile, out, "legacy", settings_of(viewer), Network(**{**limits, **network}))


@contextmanager
def fetching(viewer, tile, out):
    """Run the stage in a process of its own; nothing of it outlives the test."""
    flags = ["--set", f"server={viewer.url}", "--set", f"size={SIZE}"]
    for limit in ("requests_per_second=1000", f"connections={CONNECTIONS}", "attempts=3"):
        flags += ["--network", limit]
    code = "from galaxymill.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "fetch", str(tile), str(out), "--service", "legacy", *flags],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows(path):
    return pq.read_table(path).drop_columns("fetched_at")


def test_killed_at_any_moment_it_goes_on_and_the_product_is_the_same(viewer, tile, out, tmp_path):
    """Kills among the first, amid all, with a torn record, and with the last under way."""
    begun = out.parent / "whole.parquet"
    fetch_here(viewer, tile, begun)
    alone = viewer.counts()
    viewer.asked.clear()

    for after in (5, 40):
        asked_before = len(viewer.asked)
        with fetching(viewer, tile, out) as process:
            pid = process.pid

            def kill(number, after=asked_before + after, pid=pid):
                if number == after:
                    os.kill(pid, signal.SIGKILL)

            viewer.act = kill
            assert process.wait(60) == -signal.SIGKILL
        assert not out.exists()

    os.truncate(part_of(out), part_of(out).stat().st_size - 1000)
    with fetching(viewer, tile, out) as process:
        pid = process.pid

        def kill_at_the_last(number, pid=pid):
            if viewer.counts().keys() == alone.keys():
                os.kill(pid, signal.SIGKILL)

        viewer.act = kill_at_the_last
        assert process.wait(60) == -signal.SIGKILL
    viewer.act = lambda number: None
    assert list(out.parent.glob(f".{out.name}.*.tmp"))
    assert not out.exists()

    with fetching(viewer, tile, out) as process:
        assert process.wait(60) == 0
    assert rows(out).equals(rows(begun))
    assert read_record(out) == read_record(begun)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, "whole.parquet"]

    again = viewer.counts() - alone
    assert len(again) <= 3 * BATCH + 1
    assert len(again) <= 3 * (CONNECTIONS + CONNECTIONS // 2) + 1
    # For another size each of the four runs may ask twice.
    assert max(viewer.counts().values()) <= 2 * 4


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_quickly_and_keeps_what_is_here(viewer, tile, out, kind):
    """Though requests are under way that would take a minute."""
    stuck = threading.Event()
    hold = threading.Event()

    def act(number):
        if number > 50:
            stuck.set()
            hold.wait(30)

    viewer.act = act
    with fetching(viewer, tile, out) as process:
        assert stuck.wait(60)
        # Until the answers that have come are kept.
        time.sleep(0.3)
        process.send_signal(kind)
        start = time.monotonic()
        code = process.wait(20)
        assert time.monotonic() - start < 15
        assert code != 0
    hold.set()
    assert not out.exists()
    viewer.act = lambda number: None
    viewer.asked.clear()
    fetch_here(viewer, tile, out)
    assert len(viewer.counts()) <= GALAXIES - 50 + CONNECTIONS
    assert pq.read_table(out, columns=["object_id"]).num_rows == GALAXIES


def test_a_broken_server_stops_the_job_and_a_rerun_asks_for_the_rest(viewer, tile, out):
    viewer.act = lambda number: Response(b"busy", 503) if number > 60 else None
    with pytest.raises(ServiceError) as caught:
        fetch_here(viewer, tile, out, stop_after=20)
    message = str(caught.value)
    kept = int(re.search(r"(\d+) galaxies are kept: run again to go on from there", message)[1])
    assert "20 requests in a row failed, the last with HTTP 503" in message
    assert viewer.url.rpartition(":")[2] not in message
    assert 60 - CONNECTIONS - 20 <= kept <= 60
    # Those under way when it stops, and who had their turn already.
    assert len(viewer.asked) <= 60 + 20 + 2 * CONNECTIONS
    assert not out.exists()

    had, viewer.act = set(viewer.asked[:60]), lambda number: None
    viewer.asked.clear()
    fetch_here(viewer, tile, out)
    assert len(viewer.counts()) == GALAXIES - kept
    assert len(had & viewer.counts().keys()) <= CONNECTIONS + CONNECTIONS // 2
    status = Counter(pq.read_table(out)["status"].to_pylist())
    assert status == {"ok": 80, "no_coverage": 10, "invalid": 10}


def test_nobody_listening_stops_the_job_and_settles_nothing(viewer, tile, out):
    nobody = LegacySettings(server="http://127.0.0.1:9", size=SIZE)
    start = time.monotonic()
    with pytest.raises(ServiceError, match="40 requests in a row failed, the last with Connect"):
        fetch(tile, out, "legacy", nobody, Network(requests_per_second=1000))
    assert time.monotonic() - start < 15
    fetch_here(viewer, tile, out)
    assert len(viewer.counts()) == GALAXIES


class _Killed(Exception):
    pass


def leave_part(tile, out, settings):
    """Leave an answer to the first galaxy behind, as a killed job does."""
    first = next(targets(tile, settings))
    key = cutouts_origin(tile, "legacy", settings).to_dict()
    with suppress(_Killed), open_part(out, key) as part:
        part.add(Cutout(first, "ok", b"pixels", 200, "", "/kept"))
        raise _Killed


@pytest.mark.parametrize(("layer", "used"), [("ls-dr9", True), ("ls-dr10", False)])
def test_only_a_part_of_the_same_request_is_used(viewer, tile, out, layer, used):
    leave_part(tile, out, LegacySettings(server="http://elsewhere", size=SIZE, layer=layer))
    fetch_here(viewer, tile, out)
    assert len(viewer.counts()) == GALAXIES - used
    assert (pq.read_table(out)["url"][0].as_py() == "/kept") is used


def test_a_part_of_another_tile_is_not_used(viewer, tile, out, write_tile):
    leave_part(tile, out, settings_of(viewer))
    other = write_tile([{"object_id": f"g{i}", "ra": 150 + i / 1000} for i in range(3)])
    fetch_here(viewer, other, out)
    assert len(viewer.counts()) == 3


def test_no_token_in_products_parts_logs_and_errors(viewer, tile, out, monkeypatch, caplog):
    """A service with a secret, killed in the middle of its work."""
    from galaxymill.surveys import fetch as stage

    class Secretive:
        def __init__(self, settings, network):
            headers = {"Authorization": f"Bearer {os.environ['GALAXYMILL_TEST_TOKEN']}"}
            self._http = Http(network, settings.server, headers)

        def fetch(self, targets):
            return self._http.map_bounded(self._cutout, targets)

        def close(self):
            self._http.close()

        def _cutout(self, target):
            answer = self._http.get(f"/viewer/fits-cutout?ra={target.ra:.3f}")
            return cutout_of(answer, target, "ok" if not answer.reason else "failed", answer.reason)

    caplog.set_level(logging.INFO)
    monkeypatch.setenv("GALAXYMILL_TEST_TOKEN", TOKEN)
    entry = stage.SERVICES["legacy"]
    monkeypatch.setitem(stage.SERVICES, "legacy", replace(entry, open=Secretive))
    viewer.act = lambda number: Response(b"busy", 503) if number > 60 else None
    with pytest.raises(ServiceError) as caught:
        fetch_here(viewer, tile, out, stop_after=20)
    part = part_of(out).read_bytes()
    viewer.act = lambda number: None
    fetch_here(viewer, tile, out)
    kept = [part, out.read_bytes(), str(caught.value).encode(), caplog.text.encode()]
    kept += [column.encode() for column in pq.read_table(out)["url"].to_pylist()]
    assert b"viewer" in part
    assert not any(TOKEN.encode() in text for text in kept)

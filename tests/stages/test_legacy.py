"""The Legacy service over real sockets: what the viewer may answer, and what becomes of it."""

import io
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image
from werkzeug import Response

from galaxymill import __version__
from galaxymill.errors import UserError
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services.legacy import LegacyService, LegacySettings
from galaxymill.surveys.validate import check_payload
from galaxymill.web.network import Network, ServiceError

pytestmark = pytest.mark.usefixtures("short_waits")

TARGET = Target("g0", 150.0, 2.0, 0.262, 32)
PATH = "/viewer/fits-cutout"
FAST = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 3}


@pytest.fixture
def viewer(server):
    return server


JPEG_PATH = "/viewer/jpeg-cutout"


def picture(size=32, value=None):
    """A JPEG of noise, or of one value."""
    noise = np.random.default_rng(1).integers(0, 255, (size, size, 3), np.uint8)
    pixels = noise if value is None else np.full_like(noise, value)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def answers(viewer, *responses, path=PATH):
    """Answer one request after the other, the last one ever after; give those that came."""
    came = []

    def handle(request):
        came.append(request)
        status, body, headers = responses[min(len(came), len(responses)) - 1]
        return Response(body, status, headers)

    viewer.expect_request(path).respond_with_handler(handle)
    return came


def ask(url, *targets, settings=None, **network):
    model = LegacySettings(server=url.rstrip("/"), size=32, **(settings or {}))
    service = LegacyService(model, Network(**{**FAST, **network}))
    try:
        return list(service.fetch(targets or [TARGET]))
    finally:
        service.close()


def ask_one(viewer, *responses, **network):
    came = answers(viewer, *responses)
    (cutout,) = ask(viewer.url_for(""), **network)
    return cutout, came


def test_ok(viewer, make_fits):
    payload = make_fits()
    cutout, came = ask_one(viewer, (200, payload, {}))
    assert (cutout.status, cutout.reason, cutout.http_status) == ("ok", "", 200)
    assert cutout.payload == payload
    assert cutout.target == TARGET
    expected = {"ra": "150.0000000", "dec": "2.0000000", "layer": "ls-dr9", "pixscale": "0.262"}
    assert came[0].args.to_dict() == {**expected, "size": "32", "bands": "grz"}


def test_user_agent_names_a_contact(viewer, make_fits):
    _, came = ask_one(viewer, (200, make_fits(), {}), contact="stars@example.org")
    assert came[0].headers["User-Agent"] == f"galaxymill/{__version__} (stars@example.org)"


def test_url_is_kept_without_the_server(viewer, make_fits):
    cutout, _ = ask_one(viewer, (200, make_fits(), {}))
    assert cutout.url.startswith(f"{PATH}?ra=150.0000000&")
    assert str(viewer.port) not in cutout.url


def test_429_is_asked_again_after_as_long_as_it_says(viewer, make_fits):
    start = time.monotonic()
    responses = [(429, b"slow down", {"Retry-After": "0.4"}), (200, make_fits(), {})]
    cutout, came = ask_one(viewer, *responses)
    assert cutout.status == "ok"
    assert len(came) == 2
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("wait", ["-5", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "0", ""])
def test_an_odd_retry_after_is_no_obstacle(viewer, make_fits, wait):
    responses = [(429, b"slow down", {"Retry-After": wait}), (200, make_fits(), {})]
    cutout, came = ask_one(viewer, *responses)
    assert cutout.status == "ok"
    assert len(came) == 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_asked_again(viewer, make_fits, status):
    cutout, came = ask_one(viewer, (status, b"", {}), (200, make_fits(), {}))
    assert (cutout.status, cutout.http_status) == ("ok", 200)
    assert len(came) == 2


@pytest.mark.parametrize("before", [[], [(503, b"", {})]])
def test_500_and_a_blank_picture_is_no_coverage(viewer, before):
    """The viewer's own word: one picture is asked for beside the FITS that is not there."""
    pictures = answers(viewer, (200, picture(value=0), {}), path=JPEG_PATH)
    cutout, came = ask_one(viewer, *before, (500, b"server error", {}))
    assert (cutout.status, cutout.http_status, cutout.payload) == ("no_coverage", 500, None)
    assert cutout.reason == "HTTP 500, and the picture is blank: off the footprint"
    assert cutout.url.startswith(f"{PATH}?")
    assert (len(came), len(pictures)) == (len(before) + 1, 1)
    fits_args, jpeg_args = came[-1].args.to_dict(), pictures[0].args.to_dict()
    assert fits_args == {**jpeg_args, "bands": "grz"}


@pytest.mark.parametrize(
    ("shown", "pictures"),
    [
        ((500, b"", {}), 3),
        ((503, b"", {}), 3),
        ((404, b"", {}), 3),
        ((200, b"<html>", {}), 3),
        ((200, b"", {}), 3),
        ("half a blank picture", 3),
        ("blank and of another size", 3),
        ("the sky", 1),
    ],
    ids=str,
)
def test_500_without_a_word_is_failed(viewer, shown, pictures):
    """An outage of both, and one of FITS alone; a picture of the sky is not asked for again."""
    kinds = {
        "half a blank picture": picture(value=0)[:-20],
        "blank and of another size": picture(31, 0),
        "the sky": picture(),
    }
    shown = (200, kinds[shown], {}) if isinstance(shown, str) else shown
    drawn = answers(viewer, shown, path=JPEG_PATH)
    cutout, came = ask_one(viewer, (500, b"server error", {}))
    assert (cutout.status, cutout.http_status, cutout.reason) == ("failed", 500, "HTTP 500")
    assert (len(came), len(drawn)) == (3, pictures)


def test_an_outage_that_passes_settles_nothing(viewer, make_fits):
    answers(viewer, (500, b"", {}), path=JPEG_PATH)
    cutout, _ = ask_one(viewer, (500, b"", {}), (500, b"", {}), (200, make_fits(), {}))
    assert cutout.status == "ok"


def test_a_single_500_is_no_verdict(viewer):
    cutout, came = ask_one(viewer, (500, b"", {}), attempts=1)
    assert cutout.status == "failed"
    assert len(came) == 1


def test_inside_a_configured_footprint_500_is_a_fault(viewer, tmp_path):
    bricks = tmp_path / "bricks.csv"
    bricks.write_text("ra1,ra2,dec1,dec2\n149,151,1,3\n")
    came = answers(viewer, (500, b"server error", {}))
    (cutout,) = ask(viewer.url_for(""), settings={"footprint": bricks})
    assert (cutout.status, cutout.http_status, cutout.reason) == ("failed", 500, "HTTP 500")
    assert len(came) == 3


@pytest.mark.parametrize("status", [404, 503])
def test_a_fault_with_a_long_body_is_a_fault(viewer, status):
    cutout, _ = ask_one(viewer, (status, b"x" * 4_000_000, {}))
    assert (cutout.status, cutout.http_status) == ("failed", status)


@pytest.mark.parametrize("status", [201, 203, 206])
def test_success_of_another_kind_is_named(viewer, status):
    cutout, _ = ask_one(viewer, (status, b"", {}))
    named = "empty answer" if status == 206 else f"HTTP {status}"
    assert (cutout.status, cutout.reason) == ("failed", named)


def test_a_picture_is_no_fits(viewer):
    cutout, came = ask_one(viewer, (200, picture(), {}))
    assert (cutout.status, cutout.reason) == ("invalid", "not a FITS file")
    assert len(came) == 2


def test_a_redirect_to_nowhere_is_one_galaxy_s_fault(viewer):
    cutout, _ = ask_one(viewer, (302, b"", {"Location": "http://xn--a/"}))
    assert cutout.status == "failed"


def test_a_host_that_cannot_be_is_a_mistake_of_the_user():
    with pytest.raises(UserError, match="http://xn--a: no connection can be made"):
        ask("http://xn--a")


@pytest.mark.parametrize("form", ["fits", "jpeg"])
@pytest.mark.parametrize("galaxies", [3, 100])
def test_an_unknown_layer_stops_with_its_name(viewer, write_tile, tmp_path, form, galaxies):
    asked = answers(viewer, (200, b"no such layer", {}), path=f"/viewer/{form}-cutout")
    tile = write_tile([{"object_id": f"g{i}"} for i in range(galaxies)])
    server = viewer.url_for("").rstrip("/")
    settings = LegacySettings(server=server, size=32, layer="ls-dr99", format=form)
    with pytest.raises(ServiceError, match=r"layer=ls-dr99\).*'no such layer'"):
        fetch(tile, tmp_path / "cutouts.parquet", "legacy", settings, Network(**FAST))
    assert len(asked) <= 8 + 6


def test_503_to_the_end_is_failed(viewer):
    cutout, came = ask_one(viewer, (503, b"busy", {}))
    assert (cutout.status, cutout.http_status, cutout.reason) == ("failed", 503, "HTTP 503")
    assert cutout.payload is None
    assert len(came) == 3


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_not_asked_again(viewer, status):
    cutout, came = ask_one(viewer, (status, b"Need ra,dec keywords", {}))
    assert (cutout.status, cutout.http_status) == ("failed", status)
    assert len(came) == 1


def test_text_is_failed_and_quoted(viewer):
    cutout, came = ask_one(viewer, (200, b"<html>We are\n moving</html>", {}))
    assert (cutout.status, cutout.payload) == ("failed", None)
    assert cutout.reason == "not a FITS file: '<html>We are moving</html>'"
    assert len(came) == 3


def test_an_unknown_layer_is_not_asked_for_again(viewer):
    cutout, came = ask_one(viewer, (200, b"no such layer", {}))
    assert (cutout.status, cutout.reason) == ("failed", "'no such layer'")
    assert len(came) == 1


def test_an_empty_answer_is_failed(viewer):
    cutout, _ = ask_one(viewer, (200, b"", {}))
    assert (cutout.status, cutout.payload, cutout.reason) == ("failed", None, "empty answer")


@pytest.mark.parametrize(
    ("asked", "absent"), [(("r", "Y"), "Y"), (("Y",), "Y"), (("u", "g", "r", "i"), "u, i")]
)
def test_an_unknown_band_replaced_in_silence_is_not_ok(viewer, make_fits, asked, absent):
    """The viewer then sends its own bands, and says so in the header alone."""
    answers(viewer, (200, make_fits(bands="grz"), {}))
    (cutout,) = ask(viewer.url_for(""), settings={"bands": asked})
    assert (cutout.status, cutout.reason) == ("partial", f"no band {absent}")


def test_bands_that_were_not_asked_for_are_partial(viewer, make_fits):
    cutout, _ = ask_one(viewer, (200, make_fits(bands="gri"), {}))
    assert (cutout.status, cutout.reason) == ("partial", "no band z")


def test_an_empty_band_is_partial_and_kept(viewer, make_fits):
    data = np.arange(3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
    data[2] = 0
    cutout, _ = ask_one(viewer, (200, make_fits(data), {}))
    assert (cutout.status, cutout.reason) == ("partial", "band z is empty")
    assert cutout.payload == make_fits(data)


def test_another_place_is_invalid(viewer, make_fits):
    cutout, _ = ask_one(viewer, (200, make_fits(ra=150.0 + 0.6 * 0.262 / 3600), {}))
    assert cutout.status == "invalid"
    assert "pixels from the galaxy" in cutout.reason


@pytest.mark.parametrize("times", [1, 3])
def test_a_cut_answer_is_asked_for_again(viewer, make_fits, times):
    whole = (200, make_fits(), {})
    cutout, came = ask_one(viewer, *[(200, make_fits()[:9000], {})] * times, whole)
    cut = ("failed", "FITS data end too early", None)
    assert (cutout.status, cutout.reason, cutout.payload) == (
        ("ok", "", make_fits()) if times == 1 else cut
    )
    assert len(came) == min(times + 1, 3)


def test_a_time_out_is_failed(viewer):
    def sleep(request):
        time.sleep(0.5)
        return Response(b"late")

    viewer.expect_request(PATH).respond_with_handler(sleep)
    (cutout,) = ask(viewer.url_for(""), timeout_s=0.1, attempts=2)
    assert (cutout.status, cutout.http_status, cutout.reason) == ("failed", None, "ReadTimeout")


@contextmanager
def breaking(answer, reset):
    """A server that sends ``answer`` and hangs up, with a TCP reset or in good order."""
    connections = Counter()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                connections["n"] += 1
                client.recv(4096)
                client.sendall(answer)
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nSIMPLE  =",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"\x00\xff not http\r\n\r\n",
    ],
)
def test_a_broken_connection_is_failed_after_all_attempts(answer, reset):
    with breaking(answer, reset) as (url, connections):
        (cutout,) = ask(url)
    assert (cutout.status, cutout.payload) == ("failed", None)
    assert "127.0.0.1" not in cutout.reason
    assert connections["n"] == 3


@pytest.mark.parametrize("place", ["http://[bad", "ftp://x/", "http://127.0.0.1:99999/", "http://"])
def test_a_redirect_to_nowhere_is_failed(place):
    answer = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
    with breaking(answer.encode("ascii"), reset=False) as (url, _):
        (cutout,) = ask(url, attempts=1)
    assert (cutout.status, cutout.payload) == ("failed", None)


def test_nobody_listening_is_failed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (cutout,) = ask(f"http://127.0.0.1:{port}")
    assert (cutout.status, cutout.reason) == ("failed", "ConnectError")


def test_rate_is_kept(viewer, make_fits):
    """At most 20 requests in any second, and not much fewer."""
    times = []

    def handle(request):
        times.append(time.monotonic())
        return Response(make_fits())

    viewer.expect_request(PATH).respond_with_handler(handle)
    targets = [Target(f"g{i}", 150.0, 2.0, 0.262, 32) for i in range(40)]
    ask(viewer.url_for(""), *targets, requests_per_second=20, connections=8)
    assert len(times) == 40
    assert 1.9 <= times[-1] - times[0] < 3
    for start in times:
        assert sum(start <= moment < start + 0.95 for moment in times) <= 20


def test_every_target_is_answered_once(viewer, make_fits):
    came = answers(viewer, (200, make_fits(), {}))
    targets = [Target(f"g{i}", 150.0, 2.0, 0.262, 32) for i in range(30)]
    cutouts = ask(viewer.url_for(""), *targets, connections=5)
    assert sorted(cutout.target.object_id for cutout in cutouts) == sorted(
        target.object_id for target in targets
    )
    assert len(came) == 30


def test_fetch_keeps_rows_bytes_and_order(viewer, make_fits, write_tile, tmp_path):
    """Every third is off the footprint, every fifth slow; all rows are there, in their order."""
    ras = [150.0 + 0.01 * index for index in range(70)]
    sent = {f"{ra:.7f}": make_fits(ra=ra) for ra in ras}

    def handle(request):
        index = list(sent).index(request.args["ra"])
        time.sleep(0.02 if index % 5 == 0 else 0)
        return Response(b"", 500) if index % 3 == 0 else Response(sent[request.args["ra"]])

    viewer.expect_request(PATH).respond_with_handler(handle)
    answers(viewer, (200, picture(value=0), {}), path=JPEG_PATH)
    tile = write_tile([{"object_id": f"g{i:02d}", "ra": ra} for i, ra in enumerate(ras)])
    settings = LegacySettings(server=viewer.url_for("").rstrip("/"), size=32)
    out = tmp_path / "cutouts.parquet"
    fetch(tile, out, "legacy", settings, Network(**FAST))
    rows = pq.read_table(out).to_pylist()
    assert [row["object_id"] for row in rows] == [f"g{i:02d}" for i in range(70)]
    for index, row in enumerate(rows):
        assert row["status"] == ("ok" if index % 3 else "no_coverage")
        assert row["payload"] == (sent[f"{ras[index]:.7f}"] if index % 3 else None)
        assert row["sha256"] == (sha256(row["payload"]).hexdigest() if index % 3 else None)
        assert row["url"].startswith(PATH)
        assert (row["pixel_scale"], row["size"]) == (0.262, 32)
    footer = b"".join(pq.read_metadata(out).metadata.values())
    assert str(viewer.port).encode() not in footer


def test_digest_does_not_depend_on_server_or_time(viewer, make_fits, write_tile, tmp_path):
    from galaxymill.storage.origin import read_record

    answers(viewer, (200, make_fits(), {}))
    tile = write_tile([{"object_id": "g0"}])
    records = []
    for host in ("127.0.0.1", "localhost"):
        settings = LegacySettings(server=f"http://{host}:{viewer.port}", size=32)
        fetch(tile, tmp_path / f"{host}.parquet", "legacy", settings, Network(**FAST))
        records.append(read_record(tmp_path / f"{host}.parquet"))
    assert records[0] == records[1]


def test_a_contact_of_any_letters_is_sent(viewer, make_fits):
    _, came = ask_one(viewer, (200, make_fits(), {}), contact="Jürgen Müller, Köln")
    assert "galaxymill/" in came[0].headers["User-Agent"]


@pytest.mark.parametrize("where", [(0.0, 0.0), (359.99999, -89.9), (180.0, 89.9)])
def test_places_at_the_seams_of_the_sky(viewer, make_fits, where):
    payload = make_fits(ra=where[0], dec=where[1])
    assert check_payload(payload, Target("g", *where, 0.262, 32), "grz").status == "ok"


def test_a_dead_server_fails_the_job_and_keeps_nothing(write_tile, tmp_path):
    tile = write_tile([{"object_id": f"g{i}"} for i in range(3)])
    settings = LegacySettings(server="http://127.0.0.1:9", size=32)
    network = Network(attempts=1, requests_per_second=1000)
    out = tmp_path / "cutouts.parquet"
    with pytest.raises(UserError, match=r"3 of 3 galaxies could not be had: 3 failed: .*Connect"):
        fetch(tile, out, "legacy", settings, network)
    assert not out.exists()


@pytest.mark.parametrize(
    ("galaxies", "told"), [(3, "3 of 3 galaxies could not be had: 3 failed"), (30, "first 8")]
)
def test_a_404_for_every_galaxy_is_no_product(viewer, write_tile, tmp_path, galaxies, told):
    answers(viewer, (404, b"never heard of it", {}))
    tile = write_tile([{"object_id": f"g{i}"} for i in range(galaxies)])
    settings = LegacySettings(server=viewer.url_for("").rstrip("/"), size=32)
    out = tmp_path / "cutouts.parquet"
    with pytest.raises(ServiceError, match=rf"{told}.* HTTP 404"):
        fetch(tile, out, "legacy", settings, Network(**FAST))
    assert not out.exists()
    fetch(tile, out, "legacy", settings, Network(**FAST, max_failed=1))
    assert pq.read_table(out)["http_status"].to_pylist() == [404] * galaxies


def ask_picture(viewer, *responses):
    came = answers(viewer, *responses, path=JPEG_PATH)
    (cutout,) = ask(viewer.url_for(""), settings={"format": "jpeg"})
    return cutout, came


def test_a_picture(viewer):
    cutout, came = ask_picture(viewer, (200, picture(), {}))
    assert (cutout.status, cutout.reason, cutout.payload) == ("ok", "", picture())
    expected = {"ra": "150.0000000", "dec": "2.0000000", "layer": "ls-dr9", "pixscale": "0.262"}
    assert came[0].args.to_dict() == {**expected, "size": "32"}
    assert cutout.url.startswith(f"{JPEG_PATH}?")


@pytest.mark.parametrize("value", [0, 128, (10, 200, 30)])
def test_a_blank_picture_is_no_coverage(viewer, value):
    cutout, _ = ask_picture(viewer, (200, picture(value=value), {}))
    assert (cutout.status, cutout.http_status, cutout.payload) == ("no_coverage", 200, None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (picture(31), "image is 31×31, not 32"),
        (picture(31, 0), "image is 31×31, not 32"),
    ],
)
def test_another_picture_is_invalid(viewer, body, reason):
    cutout, came = ask_picture(viewer, (200, body, {}))
    assert (cutout.status, cutout.payload, len(came)) == ("invalid", body, 2)
    assert cutout.reason.startswith(reason)


@pytest.mark.parametrize("body", [picture()[:900], b"<html>", b""])
def test_no_picture_is_failed(viewer, body):
    cutout, came = ask_picture(viewer, (200, body, {}))
    assert (cutout.status, cutout.payload, len(came)) == ("failed", None, 3)
    assert cutout.reason


def test_500_is_no_word_on_the_footprint_of_pictures(viewer):
    cutout, came = ask_picture(viewer, (500, b"server error", {}))
    assert (cutout.status, cutout.reason) == ("failed", "HTTP 500")
    assert len(came) == 3


def with_extensions(image, **extensions):
    """Append HDUs as the viewer does: each with the image's header and an IMAGETYP of its own."""
    with fits.open(io.BytesIO(image)) as hdus:
        header = hdus[0].header.copy()
        for kind, data in extensions.items():
            header["IMAGETYP"] = kind
            hdus.append(fits.ImageHDU(data, header))
        file = io.BytesIO()
        hdus.writeto(file)
    return file.getvalue()


INVVAR, MASKBITS = np.ones((3, 32, 32), np.float32), np.zeros((32, 32), np.int32)
BOTH = {"invvar": True, "maskbits": True}


def ask_extensions(viewer, payload, **settings):
    came = answers(viewer, (200, payload, {}))
    (cutout,) = ask(viewer.url_for(""), settings=settings)
    return cutout, came


def test_extensions_are_asked_for_and_kept(viewer, make_fits):
    payload = with_extensions(make_fits(), INVVAR=INVVAR, MASKBITS=MASKBITS)
    cutout, came = ask_extensions(viewer, payload, **BOTH)
    assert (cutout.status, cutout.reason, cutout.payload) == ("ok", "", payload)
    assert came[0].query_string.endswith(b"&bands=grz&invvar&maskbits")


def test_extensions_in_any_order_and_case(viewer, make_fits):
    payload = with_extensions(make_fits(), maskbits=MASKBITS[None], other=INVVAR, invvar=INVVAR)
    cutout, _ = ask_extensions(viewer, payload, **BOTH)
    assert cutout.status == "ok"


def test_one_band_with_its_inverse_variance(viewer, make_fits):
    image = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    payload = with_extensions(make_fits(image, bands="r"), INVVAR=INVVAR[0])
    cutout, came = ask_extensions(viewer, payload, bands=("r",), invvar=True)
    assert cutout.status == "ok"
    assert came[0].query_string.endswith(b"&bands=r&invvar")


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ({}, "no INVVAR; no MASKBITS"),
        ({"INVVAR": INVVAR}, "no MASKBITS"),
        ({"MASKBITS": MASKBITS}, "no INVVAR"),
        ({"INVVAR": INVVAR[:2], "MASKBITS": MASKBITS}, "no INVVAR"),
        ({"INVVAR": INVVAR[0], "MASKBITS": MASKBITS}, "no INVVAR"),
        ({"INVVAR": INVVAR, "MASKBITS": MASKBITS[:31]}, "no MASKBITS"),
    ],
)
def test_extensions_left_out_in_silence_are_partial(viewer, make_fits, extensions, reason):
    payload = with_extensions(make_fits(), **extensions)
    cutout, _ = ask_extensions(viewer, payload, **BOTH)
    assert (cutout.status, cutout.reason, cutout.payload) == ("partial", reason, payload)


def test_an_empty_band_and_no_extension_are_both_told(viewer, make_fits):
    data = np.arange(3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
    data[2] = 0
    cutout, _ = ask_extensions(viewer, make_fits(data), invvar=True)
    assert (cutout.status, cutout.reason) == ("partial", "band z is empty; no INVVAR")


def test_a_cut_extension_is_failed(viewer, make_fits):
    payload = with_extensions(make_fits(), INVVAR=INVVAR)
    cutout, came = ask_extensions(viewer, payload[:-2880], invvar=True)
    assert (cutout.status, cutout.reason) == ("failed", "FITS data end too early")
    assert len(came) == 3


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"XTENSION= 'IMAGE   '" + b" " * 5000])
def test_bytes_that_are_no_extension_do_no_harm(viewer, make_fits, tail):
    cutout, _ = ask_extensions(viewer, make_fits() + tail, invvar=True)
    assert cutout.status in ("partial", "invalid", "failed")


@pytest.mark.parametrize("name", ["invvar", "maskbits"])
def test_pictures_have_no_extensions(name):
    with pytest.raises(UserError, match=f"{name}: only with format fits"):
        LegacySettings.from_flags(["format=jpeg", f"{name}=true"], "fetch")


def test_extensions_count_as_bytes():
    assert LegacySettings(maskbits=True).payload_bytes(100) == 160_000
    assert LegacySettings(**BOTH).payload_bytes(100) == 280_000
    assert LegacySettings(format="jpeg").payload_bytes(100) == 30_000
    with pytest.raises(UserError, match="at most 36 MB"):
        LegacySettings.from_flags(["size=2500", "invvar=true", "maskbits=true"], "fetch")


def test_what_settings_say_of_pictures():
    fluxes, pictures = LegacySettings(), LegacySettings(format="jpeg")
    assert (fluxes.sends_pictures, fluxes.zero_point) == (False, 22.5)
    assert (pictures.sends_pictures, pictures.zero_point) == (True, None)


def test_a_region_off_the_footprint_stops_nothing(viewer):
    """FITS are 500 there, JPEGs blank: the server works."""
    answers(viewer, (500, b"server error", {}))
    pictures = answers(viewer, (200, picture(value=0), {}), path=JPEG_PATH)
    targets = [Target(f"g{i}", 150.0, 2.0, 0.262, 32) for i in range(6)]
    cutouts = ask(viewer.url_for(""), *targets, stop_after=4, connections=1)
    assert {cutout.status for cutout in cutouts} == {"no_coverage"}
    assert len(pictures) == 6


@pytest.mark.parametrize(
    "answer",
    [(500, b"", {}), (503, b"", {}), (404, b"", {}), (200, picture(), {}), (200, b"<html>", {})],
)
def test_a_broken_server_stops_the_job(viewer, answer):
    """Also one that can draw the sky as JPEG, but not send it as FITS."""
    answers(viewer, (500, b"server error", {}))
    answers(viewer, answer, path=JPEG_PATH)
    targets = [Target(f"g{i}", 150.0, 2.0, 0.262, 32) for i in range(6)]
    with pytest.raises(ServiceError, match=r"\d requests in a row failed, the last with HTTP 50"):
        ask(viewer.url_for(""), *targets, stop_after=4, connections=1)

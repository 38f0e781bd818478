"""The service sia against archives that differ: many SODA services, files, secrets in addresses."""

import gzip
import io
import logging
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from werkzeug import Response

from galaxymill.surveys.base import MAX_PAYLOAD_BYTES, Target
from galaxymill.surveys.fetch import fetch
from galaxymill.web.network import Network, ServiceError

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from ivoa_server import (
    FAST,
    HERE,
    SCALE,
    Image,
    ask,
    expected,
    fault,
    hook,
    images,
    planes,
    serve,
    settings,
    stop,
)

pytestmark = pytest.mark.usefixtures("short_waits")

LONG_TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "".join(f"{i:04x}" for i in range(0, 60000, 600))
THERE = Target("there", 151.0, 2.0, SCALE, 32)
ONE_BY_ONE = FAST | {"connections": 1}
ROUTES = pytest.mark.parametrize("tap", [True, False], ids=["tap", "sia2"])


@pytest.fixture(autouse=True, scope="module")
def _servers():
    yield
    stop()


def there(bands="gr", **keys):
    """Images of another place."""
    return [Image(f"ivo://archive/b?{b}", b, THERE.ra, THERE.dec, **keys) for b in bands]


def file_of(*hdus):
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file)
    return file.getvalue()


# Which SODA service


def test_two_datalinks_that_agree_serve_a_collection():
    row = [Image(f"ivo://a?{i}", "g", 150.0 + i / 20, 2.0) for i in range(8)]
    targets = [Target(f"g{i}", 150.0 + i / 20, 2.0, SCALE, 32) for i in range(8)]
    with serve(*row) as archive:
        assert {cutout.status for cutout in ask(archive, *targets, bands="g")} == {"ok"}
        assert (archive.count("links"), archive.count("soda")) == (2, 8)


def test_collections_have_services_of_their_own():
    other = there(collection="RAWS", soda="/soda/raws")
    targets = [HERE, THERE, Target("more", 151.0, 2.0, SCALE, 32)]
    with serve(*images(), *other) as archive:
        cutouts = ask(archive, *targets, network=ONE_BY_ONE)
        assert {cutout.status for cutout in cutouts} == {"ok"}
        assert (archive.count("links"), archive.count("soda")) == (4, 6)


def test_an_address_for_each_dataset():
    own = [Image(f"ivo://a?{b}", b, 150.0, 2.0, soda=f"/soda/{b}") for b in "gri"]
    with serve(*own) as archive:
        (cutout,) = ask(archive, bands="g,r,i")
        assert cutout.status == "ok"
        assert archive.count("links") == 3


def test_a_dataset_of_another_service_in_one_collection():
    """The common service does not know it: its own DataLink is asked, once."""
    targets = [HERE, THERE, Target("more", 151.0, 2.0, SCALE, 32)]
    with serve(*images(), *there(soda="/soda/other")) as archive:
        cutouts = ask(archive, *targets, network=ONE_BY_ONE)
        assert {cutout.status for cutout in cutouts} == {"ok"}
        assert (archive.count("links"), archive.count("soda")) == (4, 2 + 4 + 2)


def test_a_dataset_without_soda_beside_others_that_have_it():
    with serve(*images(), *there(soda="")) as archive:
        cutouts = ask(archive, HERE, THERE, network=ONE_BY_ONE)
        assert {cutout.status for cutout in cutouts} == {"ok"}
        assert archive.count("file") == 2
        by_id = {cutout.target.object_id: cutout for cutout in cutouts}
        image = archive.images[2]
        np.testing.assert_array_equal(planes(by_id["there"])[0][0], expected(image, THERE).data)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_that_its_own_datalink_does_not_explain(status):
    def refuse(service, values):
        odd = service == "soda" and values["ID"].startswith("ivo://archive/b")
        return Response("UsageFault: odd", status) if odd else None

    again = Target("again", 151.0, 2.0, SCALE, 32)
    with serve(*images(), *there(), hooks=[refuse]) as archive:
        cutouts = ask(archive, HERE, THERE, again, network=ONE_BY_ONE)
        assert [cutout.status for cutout in cutouts] == ["ok", "failed", "failed"]
        assert cutouts[1].reason == f"HTTP {status}: UsageFault: odd"
        assert (archive.count("links"), archive.count("soda")) == (3, 4)


@ROUTES
def test_a_datalink_service_beside_the_list_of_images(tap):
    with serve(*images(), datalink=False, estsize=900_000, describes_links=True) as archive:
        (cutout,) = ask(archive, tap=tap)
        assert cutout.status == "ok"
        assert [archive.count(name) for name in ("links", "soda", "file")] == [2, 2, 0]


def test_semantics_and_addresses_of_every_form():
    """Terms in full; addresses that start from the document's."""

    def other(service, values):
        if service != "links":
            return None
        answer = archive.links(values, None)
        core = b"http://www.ivoa.net/rdf/datalink/core#"
        plain = answer.data.replace(archive.url("/").encode(), b"/")
        longer = re.sub(rb'arraysize="\d+"', b'arraysize="*"', plain)
        answer.data = longer.replace(b">#", b">" + core)
        return answer

    for soda, asked in (("/soda/sync", "soda"), ("", "file")):
        with serve(*images(soda=soda), hooks=[other]) as archive:
            (cutout,) = ask(archive)
            assert (cutout.status, archive.count(asked)) == ("ok", 2)


def test_a_column_of_bands_that_is_not_there():
    with serve(*images()) as archive:
        (cutout,) = ask(archive, tap=False, band_column="filtr")
        assert (cutout.status, cutout.http_status) == ("failed", 200)
        assert "no column filtr" in cutout.reason
        assert "em_min, em_max, filter" in cutout.reason


# Faults that pass, and credentials


@ROUTES
@pytest.mark.parametrize(
    ("status", "headers"), [(503, {}), (429, {"Retry-After": "0"}), (500, {"Retry-After": "0"})]
)
def test_a_busy_archive_that_says_so_in_a_votable(tap, status, headers):
    def once(service, values):
        if service not in ("tap", "sia") or archive.count(service) > 1:
            return None
        answer = fault("restarting, try again", status)
        answer.headers.update(headers)
        return answer

    with serve(*images(), hooks=[once]) as archive:
        (cutout,) = ask(archive, tap=tap)
        assert cutout.status == "ok"


@pytest.mark.parametrize("service", ["soda", "links", "file"])
def test_a_dataset_that_is_not_public_is_failed(service):
    def private(asked, values):
        closed = asked == service and "archive/b" in unquote(archive.asked[-1][2].url)
        return Response("proprietary", 401) if closed else None

    soda = "" if service == "file" else "/soda/sync"
    with serve(*images(soda=soda), *there(soda=soda), hooks=[private]) as archive:
        cutouts = ask(archive, THERE, HERE, network=ONE_BY_ONE)
        assert [cutout.status for cutout in cutouts] == ["failed", "ok"]
        assert cutouts[0].http_status == 401
        assert "HTTP 401: proprietary" in cutouts[0].reason


def test_many_refusals_in_a_row_stop_the_job():
    """Although the lists of images, which anybody may see, come in between."""
    targets = [Target(f"g{i}", 150.0, 2.0, SCALE, 32) for i in range(20)]
    network = ONE_BY_ONE | {"stop_after": 5}
    with serve(*images(), hooks=[hook("soda", Response("private", 401))]) as archive:
        with pytest.raises(ServiceError, match=r"5 SODA requests .* HTTP 401: .* credentials"):
            ask(archive, *targets, tap=False, network=network)
        assert archive.count("soda") == 5


# Secrets


@ROUTES
@pytest.mark.parametrize("said", [f"Bearer {LONG_TOKEN}", LONG_TOKEN, f"{LONG_TOKEN[:150]}..."])
def test_a_long_token_that_a_server_repeats(said, tap, monkeypatch, write_tile, tmp_path, caplog):
    """Wherever the message is cut, no part of it is left."""
    monkeypatch.setenv("MY_TOKEN", LONG_TOKEN)
    caplog.set_level(logging.DEBUG)

    def echo(service, values):
        if service == "soda" and "151.0" in values["CIRCLE"]:
            return Response(f"{'x' * 150} {said}", 400)
        return None

    tile = write_tile([{"object_id": "a"}, {"object_id": "b", "ra": 151.0}])
    with serve(*images(), *there(), token=LONG_TOKEN, hooks=[echo]) as archive:
        known = settings(archive, tap, token_variable="MY_TOKEN")
        fetch(tile, tmp_path / "c.parquet", "sia", known, Network(**FAST))
        rows = pq.read_table(tmp_path / "c.parquet").to_pylist()
        assert [row["status"] for row in rows] == ["ok", "failed"]
        assert rows[1]["reason"].endswith("***")
        assert LONG_TOKEN[100:120] not in repr(rows) + caplog.text

        archive.hooks.append(hook("tap" if tap else "sia", fault(f"{'x' * 150} {said}")))
        try:
            told = ask(archive, tap=tap, token_variable="MY_TOKEN")[0].reason
        except ServiceError as error:
            told = str(error)
        assert told.endswith("***")


@pytest.mark.parametrize("soda", ["/soda/s3cret/sync?sig=s3cret", ""])
def test_signed_addresses_are_not_shown(soda):
    with serve(*images(soda=soda), sent={"SIG"}) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "ok"
        assert "s3cret" in "".join(request.url for _, _, request in archive.asked)
        assert "s3cret" not in cutout.url
        assert "archive" in cutout.url


# Files


def test_the_science_image_that_fills_the_square():
    """Not the first, not a weight map; and a chip that does not reach is not the whole answer."""
    (image,) = images("g")
    chips = [
        fits.ImageHDU(image.data[:, part].copy(), image.wcs[:, part].to_header(), name=name)
        for name, part in (("CCD1", slice(0, 95)), ("CCD2", slice(95, 200)))
    ]
    near = fits.ImageHDU(image.data[:, :60].copy(), image.wcs[:, :60].to_header(), name="CCD0")
    weight = fits.ImageHDU(image.data * 0, image.wcs.to_header(), name="WEIGHT_MAP")
    flags = fits.ImageHDU(image.data.astype("i4"), image.wcs.to_header())
    blind = fits.ImageHDU(image.data.copy(), name="GUIDER")
    payload = file_of(weight, flags, near, blind, *chips)
    with serve(image, hooks=[hook("soda", Response(payload))]) as archive:
        (cutout,) = ask(archive, bands="g")
        assert (cutout.status, cutout.reason) == ("partial", "reaches over the edge of the image")
        wanted = expected(image).data
        wanted[:, : 95 - expected(image).origin_original[0]] = np.nan
        np.testing.assert_array_equal(planes(cutout)[0][0], wanted)


def test_masks_alone_are_no_image():
    (image,) = images("g")
    payload = file_of(fits.ImageHDU(image.data, image.wcs.to_header(), name="MASK"))
    with serve(image, hooks=[hook("soda", Response(payload))]) as archive:
        (cutout,) = ask(archive, bands="g")
        assert cutout.status == "invalid"
        assert cutout.reason == "no image of two dimensions but masks and weights"


def test_files_that_are_longer_than_an_answer_are_not_fetched():
    with serve(*images(), datalink=False, estsize=MAX_PAYLOAD_BYTES // 1000 + 1) as archive:
        (cutout,) = ask(archive)
        assert (cutout.status, archive.count("file")) == ("failed", 0)


def test_gzipped_files():
    def packed(service, values):
        if service != "file":
            return None
        plain = archive.file(values, archive.asked[-1][2])
        return Response(gzip.compress(plain.data, mtime=0), mimetype="application/gzip")

    with serve(*images(), datalink=False, hooks=[packed]) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "ok"
        np.testing.assert_array_equal(planes(cutout)[0][0], expected(archive.images[0]).data)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (
            gzip.compress(bytes(MAX_PAYLOAD_BYTES + 1), mtime=0),
            "unpacked, the file is longer than 36 MB",
        ),
        (gzip.compress(bytes(9999), mtime=0)[:-9], "the gzip file ends too early"),
        (b"\x1f\x8bnonsense", "a damaged gzip file"),
    ],
    ids=["too long", "cut off", "damaged"],
)
def test_gzipped_files_that_are_no_good(payload, reason):
    answer = hook("file", Response(payload))
    with serve(*images(), datalink=False, hooks=[answer]) as archive:
        (cutout,) = ask(archive)
        assert (cutout.status, cutout.reason) == ("failed", reason)

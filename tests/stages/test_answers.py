"""Each cell of the table in docs/fetch.md, "What an answer means", over real sockets."""

import io
import json
import re
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from werkzeug import Response

from galaxymill.surveys.base import Target
from galaxymill.surveys.registry import SERVICES
from galaxymill.web.network import Network

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
import test_euclid as euclid
import test_hsc as hsc
import test_panstarrs as panstarrs

pytestmark = pytest.mark.usefixtures("short_waits")

DOCS = Path(__file__).resolve().parents[2] / "docs" / "fetch.md"
DATA = np.random.default_rng(1).normal(0.01, 0.01, (3, 32, 32)).astype(np.float32)
PAGE = b"<html>Down for maintenance</html>"
OUTSIDE = json.dumps({"title": "No data", "description": "outside the survey coverage"}).encode()
CASES = {
    "what was asked for": "good",
    "408, 425, 429, 5xx, no answer, a broken connection": "fault",
    "HTTP 500, and the JPEG of the same place is blank": "500 blank",
    "HTTP 500, and the JPEG of the same place shows the sky": "500 sky",
    "a page of text or an empty body with HTTP 200": "page",
    "an image or archive that is cut short": "short",
    "twice the same image, of another size, place, scale or unit": "other",
    "an image that is blank": "blank",
    "HTTP 204, no content": "204",
    "a list or archive without an image of this place": "unlisted",
    'HTTP 400 or 404 that says "outside the coverage"': "outside",
    "HTTP 400, 403, 404 (not tried again)": "refused",
    'the text "no such layer" (not tried again)': "no layer",
}
ONCE = {"good", "blank", "204", "unlisted", "outside", "refused", "no layer"}


def cells():
    """(column, case, what the docs say) of the table."""
    lines = DOCS.read_text().split("## What an answer means")[1].split("\n\n")[2].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    for answer, *statuses in rows:
        for column, status in zip(head[1:], statuses, strict=True):
            yield column.replace("`", ""), CASES[answer], status


class Giver:
    """Gives the answer of one case to every request; ``asked`` counts them."""

    def __init__(self, case, images):
        self.case, self.images, self.asked = case, images, 0

    def __call__(self, request=None):
        self.asked += 1
        if self.case in self.images:
            return Response(self.images[self.case])
        if self.case == "short":
            return Response(self.images["good"][: len(self.images["good"]) * 2 // 3])
        if self.case == "fault":
            return Response(b"", (500, 503, 429)[self.asked % 3])
        if self.case == "page":
            return Response((PAGE, b"")[self.asked % 2])
        if self.case == "refused":
            return Response(b"never heard of it", 404)
        if self.case == "outside":
            return Response(OUTSIDE, 404)
        if self.case == "no layer":
            return Response(b"no such layer")
        return Response(b"", 204 if self.case == "204" else 500)


def jpeg(size=32, value=None):
    pixels = np.random.default_rng(1).integers(0, 255, (size, size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(file, "JPEG")
    return file.getvalue()


def pictures(size=32):
    return {"good": jpeg(size), "other": jpeg(size + 1), "blank": jpeg(size, 0)}


def ask(service, at, target, **settings):
    entry = SERVICES[service]
    chosen = entry.settings(**{"server": at.url_for("").rstrip("/"), "size": 32, **settings})
    network = Network(requests_per_second=1000, timeout_s=5, attempts=3, connections=1)
    with closing(entry.open(chosen, network)) as source:
        (cutout,) = source.fetch([target])
    return cutout


TARGET = Target("g0", 150.0, 2.0, 0.262, 32)


def legacy_fits(server, case, make_fits):
    images = {"good": make_fits(), "other": make_fits(ra=151.0), "blank": make_fits(DATA * 0)}
    giver = Giver(case, images)
    server.expect_request("/viewer/fits-cutout").respond_with_handler(giver)
    shown = {"500 blank": jpeg(value=0), "500 sky": jpeg()}.get(case)
    answer = Response(b"", 500) if shown is None else Response(shown)
    server.expect_request("/viewer/jpeg-cutout").respond_with_response(answer)
    return ask("legacy", server, TARGET), giver


def legacy_jpeg(server, case, make_fits):
    giver = Giver(case, pictures())
    server.expect_request("/viewer/jpeg-cutout").respond_with_handler(giver)
    return ask("legacy", server, TARGET, format="jpeg"), giver


def sdss(server, case, make_fits):
    giver = Giver(case, pictures(64))
    server.expect_request("/dr18/SkyServerWS/ImgCutout/getjpeg").respond_with_handler(giver)
    return ask("sdss", server, Target("g0", 150.0, 2.0, 0.396, 64), size=64), giver


def hips2fits(server, case, images, **settings):
    giver = Giver(case, images)
    server.expect_request("/hips-image-services/hips2fits").respond_with_handler(giver)
    return ask("hips2fits", server, TARGET, hips=("A/r",), **settings), giver


def hips2fits_fits(server, case, make_fits):
    images = {
        "good": make_fits(DATA[0], bands="r"),
        "other": make_fits(DATA[0], bands="r", scale=0.3),
        "blank": make_fits(DATA[0] * np.float32(np.nan), bands="r"),
    }
    return hips2fits(server, case, images, bands=("r",))


def hips2fits_picture(server, case, make_fits):
    return hips2fits(server, case, pictures(), format="jpeg")


def panstarrs_fits(server, case, make_fits):
    hdu, odd, blank = (panstarrs.sky(150.0, 2.0, "g") for _ in range(3))
    del odd.header["EXPTIME"]
    blank.data[:] = np.nan
    images = zip(
        ("good", "other", "blank"), map(panstarrs.as_bytes, (hdu, odd, blank)), strict=True
    )
    giver = Giver(case, dict(images))
    listed = "" if case == "unlisted" else panstarrs.row("150.0", "2.0", "g")
    names = Response(panstarrs.HEADER + listed)
    server.expect_request("/cgi-bin/ps1filenames.py").respond_with_response(names)
    server.expect_request("/cgi-bin/fitscut.cgi").respond_with_handler(giver)
    target = Target("g0", 150.0, 2.0, 0.25, 32)
    return ask("panstarrs", server, target, bands=("g",)), giver


def hsc_archive(server, case, make_fits):
    def image(fluxmag0=hsc.FLUXMAG0, value=None):
        hdus = hsc.image(150.0, 2.0, 1, fluxmag0=fluxmag0)
        if value is not None:
            hdus[1].data[:] = value
        return hsc.tar([hsc.member(2, "g", hsc.as_bytes(hdus))])

    archives = {
        "good": image(),
        "other": image(fluxmag0=-1.0),
        "blank": image(value=np.nan),
        "unlisted": hsc.tar([]),
    }
    giver = Giver(case, archives)
    server.expect_request(re.compile("/das_cutout/.*")).respond_with_handler(giver)
    return ask("hsc", server, hsc.TARGETS[0], bands=("g",)), giver


def euclid_ranges(server, case, make_fits):
    cards = {} if case == "other" else {"MAGZERO": 24.6}
    data = euclid.pixels(1) * np.float32(np.nan if case == "blank" else 1)
    body = euclid.written([euclid.image(data, 0, **cards)])
    giver = Giver(case, {})

    def bucket(request):
        start, stop = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
        stop = min(stop, len(body) - 1)
        place = {"Content-Range": f"bytes {start}-{stop}/{len(body)}"}
        if case in ("good", "blank", "other", "short"):
            giver.asked += 1
            return Response(body[start : stop + 1 - 1000 * (case == "short")], 206, place)
        return giver()

    world = euclid.World(server.url_for("").rstrip("/"), {})
    world.show(1, bands=["VIS"])

    def sia(request):
        # A single image of anywhere is asked for without a place.
        rows = [] if case == "unlisted" and "POS" in request.args else world.rows
        return Response(euclid.votable(rows), content_type="application/x-votable+xml")

    server.expect_request("/SIA").respond_with_handler(sia)
    server.expect_request(re.compile(f"/{euclid.BUCKET}/.*")).respond_with_handler(bucket)
    settings = {"server": f"{world.url}/SIA", "s3": f"{world.url}/{{bucket}}", "size": 64}
    return ask("euclid", server, euclid.at(300, 300), bands=("VIS",), **settings), giver


SERVE = {
    "legacy FITS": legacy_fits,
    "legacy JPEG": legacy_jpeg,
    "sdss": sdss,
    "hips2fits FITS": hips2fits_fits,
    "hips2fits picture": hips2fits_picture,
    "panstarrs": panstarrs_fits,
    "hsc": hsc_archive,
    "euclid": euclid_ranges,
}


@pytest.mark.parametrize(("column", "case", "status"), [cell for cell in cells() if cell[2] != "–"])
def test_the_table_of_the_docs(server, make_fits, monkeypatch, column, case, status):
    monkeypatch.setenv("HSC_SSP_USER", "local")
    monkeypatch.setenv("HSC_SSP_PASSWORD", "secret")
    cutout, giver = SERVE[column](server, case, make_fits)
    assert cutout.status == status, cutout.reason
    assert (cutout.reason == "") is (status == "ok")
    if case in ONCE | {"500 blank"} and column != "euclid":
        assert giver.asked <= 1
    if status == "failed" and case not in ONCE and (column, case) != ("euclid", "page"):
        assert giver.asked == 3
    assert (cutout.payload is None) is (status not in ("ok", "partial", "invalid")) or (
        column in ("panstarrs", "hsc", "euclid") and status == "invalid"
    )


def test_every_service_and_every_case_is_in_the_table():
    found = list(cells())
    assert {column for column, _, _ in found} == SERVE.keys()
    assert {case for _, case, _ in found} == set(CASES.values())
    assert {status for _, _, status in found} == {
        *("ok", "partial", "no_coverage"),
        "invalid",
        "failed",
        "–",
    }

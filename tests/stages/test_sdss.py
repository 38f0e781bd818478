"""The SDSS service over real sockets: what SkyServer may answer, and what becomes of it."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from werkzeug import Response

from galaxymill.errors import UserError
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services.sdss import SdssService, SdssSettings
from galaxymill.web.network import Network

pytestmark = pytest.mark.usefixtures("short_waits")

PATH = "/dr18/SkyServerWS/ImgCutout/getjpeg"
TARGET = Target("g0", 150.0, 2.0, 0.396, 64)
FAST = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 2}
RNG = np.random.default_rng(1)


def jpeg(size=64, value=None):
    if value is None:
        pixels = RNG.integers(0, 255, (size, size, 3), np.uint8)
    else:
        pixels = np.full((size, size, 3), value, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def draw(server, path=PATH):
    """SkyServer: a picture as large as asked for, within its limits; gives the requests."""
    came = []

    def handle(request):
        came.append(request.args.to_dict())
        width, height = (int(request.args[side]) for side in ("width", "height"))
        assert 64 <= width == height <= 2048
        return Response(jpeg(width), content_type="image/jpeg")

    server.expect_request(path).respond_with_handler(handle)
    return came


def ask_one(server, target=TARGET, **settings):
    model = SdssSettings(server=server.url_for("").rstrip("/"), **settings)
    service = SdssService(model, Network(**FAST))
    try:
        (cutout,) = service.fetch([target])
    finally:
        service.close()
    return cutout


def test_ok(server):
    came = draw(server)
    cutout = ask_one(server)
    assert (cutout.status, cutout.reason, cutout.http_status) == ("ok", "", 200)
    size = {"width": "64", "height": "64"}
    assert came == [{"ra": "150.0000000", "dec": "2.0000000", "scale": "0.396", **size}]
    assert cutout.target == TARGET
    assert cutout.url.startswith(f"{PATH}?ra=150.0000000&")
    assert Image.open(io.BytesIO(cutout.payload)).size == (64, 64)


def test_another_release(server):
    draw(server, PATH.replace("dr18", "dr17"))
    assert ask_one(server, release="dr17").status == "ok"


@pytest.mark.parametrize("size", [16, 40, 63, 64, 65, 2048])
def test_too_few_pixels_are_asked_for_as_64_of_the_same_field(server, size):
    came = draw(server)
    cutout = ask_one(server, Target("g0", 150.0, 2.0, 0.262, size), size=max(size, 64))
    assert cutout.status == "ok"
    got = cutout.target
    assert got.size == max(size, 64)
    assert got.size * got.pixel_scale == pytest.approx(size * 0.262)
    assert (int(came[0]["width"]), float(came[0]["scale"])) == (
        got.size,
        pytest.approx(got.pixel_scale, rel=1e-5),
    )
    assert Image.open(io.BytesIO(cutout.payload)).size == (got.size, got.size)


@pytest.mark.parametrize("value", [0, 255, (9, 120, 30)])
def test_one_colour_is_no_coverage(server, value):
    server.expect_request(PATH).respond_with_data(jpeg(value=value))
    cutout = ask_one(server)
    assert (cutout.status, cutout.http_status, cutout.payload) == ("no_coverage", 200, None)
    assert cutout.reason == "the picture is blank: off the footprint"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (jpeg(65), "image is 65×65, not 64"),
        (jpeg(32, value=0), "image is 32×32, not 64"),
    ],
)
def test_another_picture_is_invalid(server, body, reason):
    server.expect_request(PATH).respond_with_data(body)
    cutout = ask_one(server)
    assert (cutout.status, cutout.payload) == ("invalid", body)
    assert cutout.reason.startswith(reason)


@pytest.mark.parametrize("body", [b"", b'{"ErrorCode": 400}', jpeg()[:700]])
def test_no_picture_is_failed(server, body):
    server.expect_request(PATH).respond_with_data(body)
    cutout = ask_one(server)
    assert (cutout.status, cutout.payload) == ("failed", None)
    assert cutout.reason


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (404, 1), (500, 2), (503, 2)])
def test_an_error_is_failed(server, status, asked):
    came = []

    def handle(request):
        came.append(request)
        return Response(b"error", status)

    server.expect_request(PATH).respond_with_handler(handle)
    cutout = ask_one(server)
    assert (cutout.status, cutout.reason) == ("failed", f"HTTP {status}")
    assert len(came) == asked


@pytest.mark.parametrize("flag", ["size=63", "size=2049", "release=18", "release=dr18/x"])
def test_settings_that_skyserver_cannot_meet(flag):
    with pytest.raises(UserError, match=flag.partition("=")[0]):
        SdssSettings.from_flags([flag], "fetch")


def test_what_settings_say():
    settings = SdssSettings()
    assert (settings.sends_pictures, settings.zero_point) == (True, None)
    assert settings.host == "skyserver.sdss.org"
    assert settings.payload_bytes(100) == 30_000


def test_scale_by_radius_end_to_end(server, write_tile, tmp_path):
    """A small galaxy's field of 42.4 arcsec would be 162 pixels of 0.262; of SDSS it is 100."""
    draw(server)
    radii = {"petro_r50": 1.0, "petro_r90": 2.0}
    optional = ["petro_r50", "petro_r90"]
    tile = write_tile([{"object_id": "small", **radii}], optional)
    settings = SdssSettings(
        server=server.url_for("").rstrip("/"), size=100, pixel_scale="gz_decals"
    )
    out = tmp_path / "cutouts.parquet"
    fetch(tile, out, "sdss", settings, Network(**FAST))
    (row,) = pq.read_table(out).to_pylist()
    assert (row["status"], row["size"]) == ("ok", 100)
    assert row["size"] * row["pixel_scale"] == pytest.approx(42.4)

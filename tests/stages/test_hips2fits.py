"""The hips2fits service over real sockets: real HiPS of a small sky, resampled by reproject."""

import io
import json
import warnings
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from reproject import reproject_interp
from reproject.hips import hips_as_dask_array, reproject_to_hips
from scipy.ndimage import center_of_mass
from werkzeug import Response

from galaxymill.decoding.decode import read_fits
from galaxymill.errors import UserError
from galaxymill.storage.origin import read_record
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services.hips2fits import Hips2FitsService, Hips2FitsSettings
from galaxymill.web.network import Network, ServiceError

pytestmark = pytest.mark.usefixtures("short_waits")

PATH = "/hips-image-services/hips2fits"
SCALE = 60.0
TILE = 256
SOURCES = {"middle": (150.0, 2.0), "corner": (150.8141, 2.9718)}
FLUXES = {"g": 1.0, "r": 3.0}
HIPS = tuple(f"SIM/P/{band}" for band in FLUXES)
SETTINGS = {"hips": HIPS, "bands": tuple(FLUXES), "size": 32, "pixel_scale": SCALE}
FAST = {"requests_per_second": 1000, "timeout_s": 20, "attempts": 2}


def grid(ra, dec, size):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [(size + 1) / 2] * 2
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


@pytest.fixture(scope="module")
def hips(tmp_path_factory):
    """A HiPS a band, of round sources on a field of 3 degrees; by name."""
    folder, field = tmp_path_factory.mktemp("hips"), grid(150.0, 2.0, 200)
    y, x = np.mgrid[:200, :200]
    sky = np.zeros((200, 200), np.float32)
    for ra, dec in SOURCES.values():
        at_x, at_y = field.all_world2pix(ra, dec, 0)
        sky += np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 2.0**2))
    surveys = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, flux in zip(HIPS, FLUXES.values(), strict=True):
            path = folder / name.replace("/", "_")
            reproject_to_hips(
                (sky * flux, field),
                coord_system_out="equatorial",
                reproject_function=reproject_interp,
                output_directory=path,
                level=3,
                tile_size=TILE,
            )
            surveys[name] = loaded(path, field)
    return surveys


def loaded(path, field):
    """The tiles of a HiPS that the field spans, as one image in the HEALPix projection."""
    array, wcs = hips_as_dask_array(path)
    corners = field.pixel_to_world([0, 0, 199, 199], [0, 199, 0, 199])
    part = tuple(
        slice(at.min() // TILE * TILE, (at.max() // TILE + 1) * TILE)
        for at in wcs.world_to_array_index(corners)
    )
    return np.asarray(array[part]), wcs[part]


@pytest.fixture
def cds(server, hips):
    """hips2fits as it answers; gives the requests that came."""
    return serve(server, hips)


def serve(server, hips, own_grid=False):
    came = []

    def handle(request):
        came.append(request)
        if request.args["hips"] not in hips:
            return refusal(400, "Bad HiPS", "no survey of this name")
        return image(request.args, hips[request.args["hips"]], own_grid)

    server.expect_request(PATH).respond_with_handler(handle)
    return came


def refusal(status, title, description=""):
    said = json.dumps({"title": title, "description": description})
    return Response(said, status, content_type="application/json")


def image(args, hips, own_grid):
    """Resample bilinearly, as hips2fits does; NaN where the HiPS is empty."""
    header = fits.Header(json.loads(args["wcs"]))
    if own_grid:
        header["CRPIX1"], header["CRPIX2"] = header["NAXIS1"] / 2, header["NAXIS2"] / 2
    shape = header["NAXIS2"], header["NAXIS1"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data, _ = reproject_interp(hips, header, shape_out=shape, order="bilinear")
    file = io.BytesIO()
    if args["format"] == "fits":
        fits.PrimaryHDU(np.asarray(data, np.float32), WCS(header).to_header()).writeto(file)
        return Response(file.getvalue(), content_type="image/fits")
    cuts = [float(args[name].rstrip("%")) for name in ("min_cut", "max_cut")]
    low, high = np.percentile(np.nan_to_num(data), cuts)
    grey = np.clip(np.nan_to_num((data - low) / ((high - low) or 1)), 0, 1)[::-1]
    picture = Image.fromarray((255 * grey).astype(np.uint8))
    picture.save(file, {"jpg": "JPEG", "png": "PNG"}[args["format"]])
    return Response(file.getvalue())


def ask(server, *targets, network=FAST, **settings):
    model = Hips2FitsSettings(server=server.url_for("").rstrip("/"), **{**SETTINGS, **settings})
    service = Hips2FitsService(model, Network(**network))
    try:
        return list(service.fetch(targets))
    finally:
        service.close()


def ask_one(server, target, **settings):
    (cutout,) = ask(server, target, **settings)
    return cutout


def target(where="corner", size=32):
    return Target(where, *SOURCES[where], SCALE, size)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("where", SOURCES)
def test_the_source_is_in_the_middle_in_every_band(server, cds, where, size):
    cutout = ask_one(server, target(where, size))
    assert (cutout.status, cutout.reason, cutout.http_status) == ("ok", "", 200)
    image = read_fits(cutout.payload)
    assert list(image.planes) == ["g", "r"]
    for plane in image.planes.values():
        assert plane.shape == (size, size)
        assert np.abs(np.array(center_of_mass(plane)) - (size - 1) / 2).max() < 0.05
    assert image.pixel_scale == pytest.approx(SCALE)
    np.testing.assert_allclose(image.centre, SOURCES[where], atol=1e-9)


def test_the_query_is_astroquery_s_for_our_grid(server, cds):
    cutout = ask_one(server, target())
    assert [request.args["hips"] for request in cds] == list(HIPS)
    assert [request.args["format"] for request in cds] == ["fits", "fits"]
    wcs = json.loads(cds[0].args["wcs"])
    wanted = {"CTYPE1": "RA---TAN", "CRPIX1": 16.5, "CRPIX2": 16.5, "NAXIS1": 32, "NAXIS2": 32}
    assert wcs | wanted == wcs
    assert cutout.url.startswith(f"{PATH}?wcs=")
    assert str(server.port) not in cutout.url


def test_another_grid_is_invalid(server, hips):
    """That of hips2fits itself is half a pixel off in x and in y."""
    serve(server, hips, own_grid=True)
    cutout = ask_one(server, target())
    assert cutout.status == "invalid"
    assert cutout.reason == "band g: centre is 0.7 pixels from the galaxy"


def test_another_scale_is_invalid(server, hips):
    def handle(request):
        header = fits.Header(json.loads(request.args["wcs"]))
        header["CDELT1"], header["CDELT2"] = 1.1 * header["CDELT1"], 1.1 * header["CDELT2"]
        args = {**request.args, "wcs": json.dumps(dict(header))}
        return image(args, hips[request.args["hips"]], own_grid=False)

    server.expect_request(PATH).respond_with_handler(handle)
    cutout = ask_one(server, target())
    assert cutout.status == "invalid"
    assert "pixel scale is" in cutout.reason


def test_values_are_as_served_without_zero_points(server, cds):
    header, planes = opened(ask_one(server, target()))
    assert "BUNIT" not in header
    np.testing.assert_allclose(planes[1], 3 * planes[0], rtol=1e-5, atol=1e-6)
    assert 0.8 < planes[0].max() < 1


def test_zero_points_make_nanomaggies(server, cds):
    _, served = opened(ask_one(server, target()))
    header, planes = opened(ask_one(server, target(), zero_points=(30, 20.5)))
    factors = (np.array([30, 20.5]) * u.ABmag).to_value(u.Jy) / 3.6307805477e-6
    assert header["BUNIT"] == "nanomaggy"
    np.testing.assert_allclose(planes, served * factors[:, None, None], rtol=1e-5)


def opened(cutout):
    with fits.open(io.BytesIO(cutout.payload)) as hdus:
        return hdus[0].header.copy(), hdus[0].data.copy()


def test_all_bands_empty_is_no_coverage(server, cds):
    cutout = ask_one(server, Target("far", 200.0, -60.0, SCALE, 32))
    assert (cutout.status, cutout.payload) == ("no_coverage", None)
    assert cutout.reason == "no band g, r: off the coverage"


def test_an_empty_band_is_partial(server, hips):
    serve(server, {**hips, HIPS[1]: (np.full((8, 8), np.nan), grid(0, 0, 8))})
    cutout = ask_one(server, target())
    assert (cutout.status, cutout.reason) == ("partial", "no band r")
    assert list(read_fits(cutout.payload).planes) == ["g"]


def test_a_band_out_of_coverage_is_partial(server, hips):
    def handle(request):
        if request.args["hips"] == HIPS[0]:
            return refusal(404, "No data", "The position is outside of the survey coverage")
        return image(request.args, hips[request.args["hips"]], own_grid=False)

    server.expect_request(PATH).respond_with_handler(handle)
    cutout = ask_one(server, target())
    assert (cutout.status, cutout.reason) == ("partial", "no band g")


def test_an_unknown_hips_is_failed_and_named(server, cds):
    cutout = ask_one(server, target(), hips=("SIM/P/g", "SIM/P/typo"))
    assert (cutout.status, cutout.http_status) == ("failed", 400)
    assert cutout.reason == "band r: HTTP 400: Bad HiPS"
    assert len(cds) == 2


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"<html>gone</html>", "HTTP 404"),
        (400, b"[" * 19_000, "HTTP 400"),
        (400, b'["title"]', "HTTP 400"),
        (400, b'{"title": {"a": 1}}', "HTTP 400: {'a': 1}"),
        (400, b'{"title": "half \\ud800\\n of it"}', "HTTP 400: half of it"),
        (400, json.dumps({"title": "x" * 999}).encode(), f"HTTP 400: {'x' * 199}…"),
        (400, b'{"title": "' + b"x" * 99_999 + b'"}', "HTTP 400"),
        (500, b'{"title": "Server error"}', "HTTP 500: Server error"),
        (500, b'{"title": "out of coverage"}', "HTTP 500: out of coverage"),
    ],
)
def test_what_is_said_is_kept_within_bounds(server, status, body, reason):
    server.expect_request(PATH).respond_with_data(body, status)
    cutout = ask_one(server, target())
    assert (cutout.status, cutout.http_status) == ("failed", status)
    assert cutout.reason == f"band g: {reason}"
    cutout.reason.encode()


@pytest.mark.parametrize("title", ["Position out of coverage", "No coverage here"])
def test_out_of_coverage_in_words_is_no_coverage(server, title):
    server.expect_request(PATH).respond_with_handler(lambda request: refusal(400, title))
    assert ask_one(server, target()).status == "no_coverage"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", "failed"), (b"no FITS", "failed"), (b"SIMPLE  =" + b"x" * 9000, "invalid")],
)
def test_other_bytes_are_failed_or_invalid(server, body, status):
    server.expect_request(PATH).respond_with_data(body)
    cutout = ask_one(server, target())
    assert (cutout.status, cutout.payload) == (status, body if status == "invalid" else None)
    assert cutout.reason.startswith("band g: ")


def test_an_unknown_hips_stops_with_its_name(server, cds, write_tile, tmp_path):
    tile = write_tile([{"object_id": f"g{i}", "ra": 150 + i / 100} for i in range(50)])
    plain = {**SETTINGS, "hips": ("SIM/P/typo", HIPS[1])}
    settings = Hips2FitsSettings(server=server.url_for("").rstrip("/"), **plain)
    with pytest.raises(
        ServiceError, match=r"hips=SIM/P/typo,SIM/P/r.*first 8 .*HTTP 400: Bad HiPS"
    ):
        fetch(tile, tmp_path / "cutouts.parquet", "hips2fits", settings, Network(**FAST))
    assert len(cds) <= 8 + 6


@pytest.mark.parametrize("change", [{"CTYPE1": "X", "CTYPE2": "Y"}, {"CRVAL1": 151.0}, {"SIZE": 9}])
def test_another_image_is_invalid(server, change):
    header = grid(*SOURCES["corner"], 32).to_header()
    size = change.pop("SIZE", 32)
    header.update(change)
    file = io.BytesIO()
    fits.PrimaryHDU(np.ones((size, size), np.float32), header).writeto(file)
    server.expect_request(PATH).respond_with_data(file.getvalue())
    assert ask_one(server, target()).status == "invalid"


@pytest.mark.parametrize(("form", "called"), [("jpeg", "jpg"), ("png", "png")])
def test_pictures(server, cds, form, called):
    cutout = ask_one(server, target(), hips=("SIM/P/g",), format=form)
    assert (cutout.status, cutout.reason) == ("ok", "")
    assert [request.args["format"] for request in cds] == [called]
    picture = np.asarray(Image.open(io.BytesIO(cutout.payload)).convert("L"), float)
    assert np.abs(np.array(center_of_mass(picture**2)) - 15.5).max() < 0.2


def test_a_blank_picture_is_no_coverage(server, cds):
    far = Target("far", 200.0, -60.0, SCALE, 32)
    cutout = ask_one(server, far, hips=("SIM/P/g",), format="jpeg")
    assert (cutout.status, cutout.payload) == ("no_coverage", None)


def test_a_picture_refused(server, cds):
    cutout = ask_one(server, target(), hips=("SIM/P/typo",), format="png")
    assert (cutout.status, cutout.reason) == ("failed", "HTTP 400: Bad HiPS")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "hips: this key is required"),
        (["hips=A/g,A/r"], r"hips: 2 for 3 bands g,r,z; give one a band, in their order"),
        (["hips=A/g,A/r,A/z", "zero_points=22.5"], "zero_points: 1 for 3 bands"),
        (
            ["hips=A/g,A/r,A/z", "zero_points=22.5,nan,30"],
            r"zero_points.1: .* a finite number",
        ),
        (["hips=A/g,A/r", "format=jpeg"], "format jpeg takes a single hips and no zero_points"),
        (["hips=A/color", "format=png", "zero_points=22.5"], "format png takes a single hips"),
    ],
)
def test_settings_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(UserError, match=message):
        Hips2FitsSettings.from_flags(flags, "fetch")


def test_what_settings_say():
    fluxes = Hips2FitsSettings(**SETTINGS)
    assert (fluxes.requests(10), fluxes.sends_pictures, fluxes.zero_point) == (20, False, None)
    assert Hips2FitsSettings(**SETTINGS, zero_points=(30, 30)).zero_point == 22.5
    picture = Hips2FitsSettings(hips="CDS/P/DES-DR2/color", format="jpeg")
    assert (picture.requests(10), picture.sends_pictures, picture.zero_point) == (10, True, None)
    assert picture.host == "alasky.cds.unistra.fr"


def test_fetch_answers_every_galaxy(server, cds, write_tile, tmp_path):
    rows = [{"object_id": key, "ra": ra, "dec": dec} for key, (ra, dec) in SOURCES.items()]
    tile = write_tile([*rows, {"object_id": "far", "ra": 200.0, "dec": -60.0}])
    settings = Hips2FitsSettings(server=server.url_for("").rstrip("/"), **SETTINGS)
    out = tmp_path / "cutouts.parquet"
    fetch(tile, out, "hips2fits", settings, Network(**FAST))
    statuses = Counter(pq.read_table(out)["status"].to_pylist())
    assert statuses == {"ok": 2, "no_coverage": 1}
    parameters = read_record(out, "fetch").origin["parameters"]
    assert "zero_point" not in parameters
    assert parameters["hips"] == list(HIPS)

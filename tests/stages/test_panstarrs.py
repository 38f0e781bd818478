"""The Pan-STARRS service over real sockets: the table of file names, the cutouts, their faults."""

import io
import re
import threading

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from pydantic import ValidationError
from werkzeug import Response

from galaxymill.decoding.decode import read_fits
from galaxymill.surveys.base import Target
from galaxymill.surveys.services.panstarrs import PanstarrsService, PanstarrsSettings, linear_flux
from galaxymill.web.network import Network

pytestmark = pytest.mark.usefixtures("short_waits")

SCALE = 0.25
SIZE = 32
EXPTIME = 700.0
HEADER = "projcell subcell ra dec filter mjd type filename shortname badflag\n"
FAST = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 3}
TARGETS = [Target(f"g{index}", 150.0 + 0.01 * index, 2.0, SCALE, SIZE) for index in range(4)]


def row(ra, dec, band, cell="1784.059", badflag=0, kind="stack", filename=None):
    name = f"rings.v3.skycell.{cell}.stk.{band}.unconv.fits"
    path = filename or f"/rings.v3.skycell/{cell.replace('.', '/')}/{name}"
    return f"{cell.replace('.', ' ')} {ra} {dec} {band} 0.0 {kind} {path} {name} {badflag}\n"


def all_rows(positions, bands):
    return "".join(row(ra, dec, band) for ra, dec in positions for band in bands)


def image(ra, dec, seed, side=SIZE + 4):
    """A cutout as fitscut makes it: linear counts, the galaxy half a pixel off the middle."""
    data = np.random.default_rng(seed).normal(100, 10, (side, side)).astype(np.float32)
    hdu = fits.PrimaryHDU(data)
    for axis, (kind, value, sign) in enumerate((("RA---", ra, -1), ("DEC--", dec, 1)), start=1):
        hdu.header[f"CTYPE{axis}"] = f"{kind}TAN"
        hdu.header[f"CRVAL{axis}"] = value
        hdu.header[f"CRPIX{axis}"] = side / 2 + 1
        hdu.header[f"CD{axis}_{axis}"] = sign * SCALE / 3600
    hdu.header["EXPTIME"] = EXPTIME
    return hdu


def sky(ra, dec, band):
    return image(ra, dec, [round(ra * 1000), ord(band)])


def as_bytes(hdu):
    file = io.BytesIO()
    hdu.writeto(file)
    return file.getvalue()


def serve(server, table=all_rows, images=sky):
    """Answer both scripts; ``images`` gives an HDU, bytes or a Response."""
    came = {"names": [], "cuts": []}

    def names(request):
        positions = [line.split() for line in request.files["file"].read().decode().splitlines()]
        came["names"].append((request.form.to_dict(), positions))
        answer = table(positions, request.form["filters"])
        return answer if isinstance(answer, Response) else Response(HEADER + answer)

    def cutout(request):
        came["cuts"].append(request.args.to_dict())
        band = re.search(r"\.stk\.(\w)\.", request.args["red"])[1]
        answer = images(float(request.args["ra"]), float(request.args["dec"]), band)
        if isinstance(answer, Response):
            return answer
        return Response(answer if isinstance(answer, bytes) else as_bytes(answer))

    server.expect_request("/cgi-bin/ps1filenames.py", method="POST").respond_with_handler(names)
    server.expect_request("/cgi-bin/fitscut.cgi").respond_with_handler(cutout)
    return came


def ask(server, targets=TARGETS, network=None, **settings):
    options = PanstarrsSettings(server=server.url_for("").rstrip("/"), size=SIZE, **settings)
    service = PanstarrsService(options, Network(**{**FAST, **(network or {})}))
    try:
        cutouts = {cut.target.object_id: cut for cut in service.fetch(targets)}
    finally:
        service.close()
    assert sorted(cutouts) == sorted(target.object_id for target in targets)
    assert not any(str(server.port) in cut.url + cut.reason for cut in cutouts.values())
    return cutouts


def ask_one(server, **settings):
    return ask(server, TARGETS[:1], **settings)["g0"]


def expected(hdu, target, size=SIZE):
    """Nanomaggies: magnitude 25 is one count a second, 22.5 is one nanomaggy."""
    place = SkyCoord(target.ra, target.dec, unit="deg")
    counts = Cutout2D(hdu.data, place, size, WCS(hdu.header), mode="partial").data
    magnitudes = -2.5 * np.log10(counts / EXPTIME) + 25
    return 10 ** (0.4 * (22.5 - magnitudes))


def test_ok_values_are_those_of_an_independent_cut(server):
    came = serve(server)
    cutouts = ask(server)
    assert {cut.status for cut in cutouts.values()} == {"ok"}
    for target in TARGETS:
        planes = read_fits(cutouts[target.object_id].payload).planes
        assert list(planes) == ["g", "r", "i"]
        for band, plane in planes.items():
            hdu = sky(target.ra, target.dec, band)
            np.testing.assert_allclose(plane, expected(hdu, target), rtol=1e-5)
    ((form, positions),) = came["names"]
    assert form == {"filters": "gri", "type": "stack"}
    assert positions == [[f"{target.ra:.7f}", "2.0000000"] for target in TARGETS]
    assert len(came["cuts"]) == 12
    first = next(cut for cut in came["cuts"] if cut["ra"] == "150.0000000")
    assert (first["size"], first["format"]) == ("36", "fits")
    assert first["red"].startswith("/rings.v3.skycell/1784/059/rings.v3.skycell.1784.059.stk.")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_asinh_scaling_is_undone(dtype):
    """Forward as the archive describes it: v = a asinh((L − BOFFSET) / (2 BSOFTEN))."""
    header = {"BOFFSET": 12.5, "BSOFTEN": 83.2}
    flux = np.concatenate([-np.logspace(6, -3, 50), np.logspace(-3, 6, 50)])
    alpha = 2.5 * np.log10(np.e)
    scaled = alpha * np.arcsinh((flux - header["BOFFSET"]) / (2 * header["BSOFTEN"]))
    np.testing.assert_allclose(
        linear_flux(scaled.astype(dtype), header),
        flux,
        rtol=1e-12 if dtype == np.float64 else 1e-5,
        atol=1e-10 if dtype == np.float64 else 1e-4,
    )
    np.testing.assert_array_equal(linear_flux(flux, {}), flux)
    odd = linear_flux(np.array([np.nan, np.inf, -np.inf, 1e9]), header)
    assert np.isnan(odd).all()


def test_a_stack_that_is_still_scaled_is_made_linear(server):
    def images(ra, dec, band):
        hdu = sky(ra, dec, band)
        scaled = 2.5 / np.log(10) * np.arcsinh((hdu.data.astype(np.float64) - 5) / (2 * 40))
        packed = np.round((scaled - 1) / 1e-4).astype(np.int16)
        packed[20, 20] = -32768
        packed_hdu = fits.PrimaryHDU(packed, do_not_scale_image_data=True)
        cards = {"BSCALE": 1e-4, "BZERO": 1.0, "BLANK": -32768, "BSOFTEN": 40.0, "BOFFSET": 5.0}
        packed_hdu.header.update({**cards, **WCS(hdu.header).to_header(), "EXPTIME": EXPTIME})
        return as_bytes(packed_hdu)

    serve(server, images=images)
    cutout = ask_one(server, bands=("g",))
    plane = read_fits(cutout.payload).planes["g"]
    wanted = expected(sky(150.0, 2.0, "g"), TARGETS[0])
    blank = np.isnan(plane)
    assert blank.sum() == 1
    np.testing.assert_allclose(plane[~blank], wanted[~blank], rtol=2e-3)
    assert cutout.status == "ok"


def test_positions_are_matched_however_they_are_echoed(server):
    targets = [Target("a", 359.9999999, -2.0, SCALE, SIZE), Target("b", 0.5, 2.0, SCALE, SIZE)]
    turned = {"0.5000000": "0.5", "359.9999999": "0.0"}

    def table(positions, bands):
        return all_rows(((turned[ra], float(dec)) for ra, dec in positions[::-1]), bands)

    serve(server, table, lambda ra, dec, band: image(ra, dec, 1))
    assert {cut.status for cut in ask(server, targets).values()} == {"ok"}


def test_a_header_only_table_is_no_coverage(server):
    came = serve(server, lambda positions, bands: "")
    cutouts = ask(server)
    assert {(cut.status, cut.payload) for cut in cutouts.values()} == {("no_coverage", None)}
    assert came["cuts"] == []


def test_missing_bands_and_galaxies(server):
    def table(positions, bands):
        first, _, *rest = positions
        return all_rows([first], "gi") + all_rows(rest, bands)

    serve(server, table)
    cutouts = ask(server)
    assert (cutouts["g0"].status, cutouts["g0"].reason) == ("partial", "no band r")
    assert [cutouts[f"g{n}"].status for n in (1, 2, 3)] == ["no_coverage", "ok", "ok"]


def test_all_bands_are_of_the_first_skycell_with_the_most(server):
    def table(positions, bands):
        ((ra, dec),) = positions
        first = [row(ra, dec, band, "1784.058") for band in "gr"]
        bad = [row(ra, dec, band, "1784.057", badflag=1) for band in bands]
        warp = [row(ra, dec, band, "1784.056", kind="warp") for band in bands]
        rest = [row(ra, dec, band, cell) for band in bands for cell in ("1784.060", "1784.061")]
        return "".join([*first, *bad, *warp, *rest])

    came = serve(server, table)
    assert ask_one(server).status == "ok"
    assert {re.search(r"\d{4}\.\d{3}", cut["red"])[0] for cut in came["cuts"]} == {"1784.060"}


@pytest.mark.parametrize("name", ["../../etc/passwd", "http://elsewhere/x.fits", "/a&b=c.fits"])
def test_odd_file_names_are_not_asked_for(server, name):
    came = serve(server, lambda positions, bands: row("150", "2", "g", filename=name))
    assert ask_one(server).status == "no_coverage"
    assert came["cuts"] == []


@pytest.mark.parametrize(
    "table",
    ["", "<html>sorry</html>", "\xff\x00", HEADER + "1 2 3\n", HEADER + row("x", "2", "g")],
)
def test_another_table_is_failed(server, table):
    came = serve(server, lambda positions, bands: Response(table))
    cutouts = ask(server)
    assert {cut.status for cut in cutouts.values()} == {"failed"}
    assert cutouts["g0"].reason.startswith("file names: ")
    assert len(came["names"]) == 3
    assert came["cuts"] == []


def test_503_then_ok(server):
    busy = {"names": True, "cut": True}

    def table(positions, bands):
        return Response(status=503) if busy.pop("names", False) else all_rows(positions, bands)

    def images(ra, dec, band):
        return Response(status=503) if busy.pop("cut", False) else sky(ra, dec, band)

    serve(server, table, images)
    assert {cut.status for cut in ask(server).values()} == {"ok"}


def test_503_to_the_end_is_failed(server):
    came = serve(server, images=lambda *at: Response(status=503))
    cutout = ask_one(server)
    assert (cutout.status, cutout.http_status) == ("failed", 503)
    assert (cutout.reason, cutout.payload) == ("band g: HTTP 503", None)
    assert len(came["cuts"]) == 3


def test_no_table_is_failed(server):
    serve(server, lambda positions, bands: Response(status=500))
    cutouts = ask(server)
    assert {(cut.status, cut.http_status) for cut in cutouts.values()} == {("failed", 500)}


def damaged(kind):
    hdu = sky(150.0, 2.0, "r")
    if kind == "no exposure":
        del hdu.header["EXPTIME"]
    if kind == "exposure":
        hdu.header["EXPTIME"] = -1.0
    if kind == "scale":
        hdu.header["CD1_1"], hdu.header["CD2_2"] = -1e-4, 1e-4
    if kind == "galactic":
        hdu.header["CTYPE1"], hdu.header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    if kind == "no wcs":
        del hdu.header["CTYPE*"]
    content = as_bytes(hdu)
    return {"cut": content[:4000], "text": b"Error: no image", "empty": b""}.get(kind, content)


KINDS = ["cut", "text", "empty", "no exposure", "exposure", "scale", "galactic", "no wcs"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_image_is_no_image(server, kind):
    serve(server, images=lambda ra, dec, band: damaged(kind) if band == "r" else sky(ra, dec, band))
    cutout = ask_one(server)
    assert cutout.status == ("failed" if kind in ("cut", "text", "empty") else "invalid")
    assert cutout.reason.startswith("band r: ")


@pytest.mark.parametrize("padding", [np.nan, 0, None])
def test_a_square_beyond_the_skycell_is_partial(server, padding):
    def images(ra, dec, band):
        hdu = sky(ra, dec, band)
        if padding is None:
            hdu.data = hdu.data[:25]
        else:
            hdu.data[25:] = padding
        return hdu

    serve(server, images=images)
    cutout = ask_one(server)
    assert cutout.status == "partial"
    assert cutout.reason == "band g, r, i ends inside the square"
    plane = read_fits(cutout.payload).planes["g"]
    np.testing.assert_allclose(plane[:20], expected(sky(150, 2, "g"), TARGETS[0])[:20], rtol=1e-5)


def test_an_empty_band_is_partial(server):
    def images(ra, dec, band):
        hdu = sky(ra, dec, band)
        hdu.data[:] = np.nan if band == "i" else hdu.data
        return hdu

    serve(server, images=images)
    assert ask_one(server).reason == "band i is empty"


def test_galaxies_are_asked_for_in_batches(server):
    came = serve(server, lambda positions, bands: "")
    ask(server, [Target(f"g{n}", n / 10, 2.0, SCALE, SIZE) for n in range(150)])
    assert [len(positions) for _, positions in came["names"]] == [64, 64, 22]
    settings = PanstarrsSettings()
    assert [settings.requests(count) for count in (0, 1, 64, 65)] == [0, 4, 193, 197]


def test_connections_are_used_at_once(server):
    together = threading.Barrier(4, timeout=10)

    def images(ra, dec, band):
        together.wait()
        return image(ra, dec, 1)

    serve(server, images=images)
    targets = [Target(f"g{n}", n / 10, 2.0, SCALE, SIZE) for n in range(8)]
    cutouts = ask(server, targets, bands=("g",), network={"connections": 4})
    assert {cut.status for cut in cutouts.values()} == {"ok"}


def test_a_galaxy_too_large_is_invalid(server):
    came = serve(server)
    cutouts = ask(server, [Target("large", 150.0, 2.0, 5.0, 200), TARGETS[0]])
    assert [cutouts[name].status for name in ("large", "g0")] == ["invalid", "ok"]
    assert len(came["cuts"]) == 3


@pytest.mark.parametrize("settings", [{"bands": "u,g"}, {"bands": "g,g"}, {"pixel_scale": 4.0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(ValidationError):
        PanstarrsSettings(**settings)

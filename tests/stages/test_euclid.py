"""Cutouts of Euclid's mosaics over real sockets: an S3 server (moto), and a small SIA2 server."""

import io
import json
import re
import threading
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from moto.server import ThreadedMotoServer
from pyarrow import parquet
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galaxymill.decoding.decode import read_fits
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.mosaics import range_reader
from galaxymill.surveys.mosaics.range_reader import BlockCache
from galaxymill.surveys.services import euclid
from galaxymill.surveys.services.euclid import EuclidService, EuclidSettings
from galaxymill.web import http
from galaxymill.web.network import Network, ServiceError

SIDE = 600
SCALE = 0.1
CENTRE = (57.9, -51.3)
BUCKET = "nasa-irsa-euclid-q1"
ZERO_POINTS = {"VIS": 24.6, "Y": 29.8}
MIDDLE = (SIDE - 1) / 2
FAST = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 3, "connections": 4}
FILES = {"VIS": "VIS", "Y": "NIR-Y"}


def wcs_of(offset):
    """Tiles share one tangent point; they are ``offset`` pixels to the west of the first."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = CENTRE
    wcs.wcs.crpix = [(SIDE + 1) / 2 - offset, (SIDE + 1) / 2]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


def key_of(tile, band, made="20241018T142710.276838Z"):
    name = f"EUC_MER_BGSUB-MOSAIC-{FILES[band]}_TILE{tile}-ACBD03_{made}_00.00.fits"
    return f"q1/MER/{tile}/{name}"


def pixels(seed):
    return np.random.default_rng(seed).normal(1, 1, (SIDE, SIDE)).astype(np.float32)


def written(hdus):
    file = io.BytesIO()
    fits.HDUList(hdus).writeto(file)
    return file.getvalue()


def image(data, offset, **cards):
    return fits.PrimaryHDU(data, fits.Header({**wcs_of(offset).to_header(), **cards}))


def extension(data, offset, **cards):
    header = fits.Header({**wcs_of(offset).to_header(), **cards})
    return [fits.PrimaryHDU(), fits.ImageHDU(data, header)]


def make_files():
    """Tiles 1 and 2 overlap; tile 3 holds scaled integers; the others are unusable."""
    files = {}
    for tile, offset in ((1, 0), (2, 450)):
        for seed, (band, zero_point) in enumerate(ZERO_POINTS.items()):
            hdu = image(pixels(10 * tile + seed), offset, MAGZERO=zero_point)
            files[key_of(tile, band)] = written([hdu])
    counts = (pixels(3) * 1000).astype(np.int16)
    counts[300] = -32768
    scaled = extension(counts, 0, BSCALE=0.001, BZERO=2.5, BLANK=-32768)
    files[key_of(3, "VIS")] = written(scaled)
    files[key_of(3, "Y")] = written([image(pixels(4).astype(np.float64), 0)])
    files[key_of(4, "VIS")] = files[key_of(1, "VIS")]
    files[key_of(4, "Y")] = written([image(pixels(5), 0.5, MAGZERO=24.0)])
    packed = fits.CompImageHDU(pixels(6), wcs_of(0).to_header())
    files[key_of(5, "VIS")] = written([fits.PrimaryHDU(), packed])
    files[key_of(6, "VIS")] = b"<html>not a mosaic</html>" * 5000
    files[key_of(7, "VIS")] = b"SIMPLE  =                    T".ljust(80) * 9000
    files[key_of(8, "VIS")] = files[key_of(1, "VIS")][:800_000]
    files[key_of(9, "VIS")] = written([image(pixels(7), 0, MAGZERO="unknown")])
    return files


@pytest.fixture(scope="module")
def s3():
    """A real S3 server with the mosaics, and their bytes."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}/{BUCKET}"
    files = make_files()
    public = {"x-amz-acl": "public-read"}
    httpx.put(url, headers=public).raise_for_status()
    for key, body in files.items():
        httpx.put(f"{url}/{key}", content=body, headers=public).raise_for_status()
    yield f"http://{host}:{port}", files
    server.stop()


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(http, "_WAIT_MAX_S", 0.05)
    monkeypatch.setattr(range_reader, "_BLOCK_BYTES", 48_000)


@dataclass
class World:
    """What the servers were asked, and what they shall answer."""

    url: str
    files: dict
    rows: list = field(default_factory=list)
    ranges: list = field(default_factory=list)
    sia: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    sia_answers: list = field(default_factory=list)

    def show(self, *tiles, bands=("VIS", "Y"), **change):
        for tile in tiles:
            for band in bands:
                row = {"access_url": f"{self.url}/{BUCKET}/{key_of(tile, band)}"}
                cloud = {"aws": {"bucket_name": BUCKET, "key": key_of(tile, band), "region": "x"}}
                row |= {"cloud_access": json.dumps(cloud), "dataproduct_subtype": "science"}
                self.rows.append(row | {"energy_bandpassname": band} | change)

    def ask(self, *targets, network=FAST, **settings):
        settings = {"server": f"{self.url}/SIA", "s3": f"{self.url}/{{bucket}}"} | settings
        service = EuclidService(EuclidSettings(size=64, **settings), Network(**network))
        try:
            return list(service.fetch(targets))
        finally:
            service.close()

    def bytes_read(self):
        return sum(stop - start + 1 for _, start, stop in self.ranges)


def votable(rows, status="OK", message=""):
    names = ["access_url", "cloud_access", "dataproduct_subtype", "energy_bandpassname"]
    fields = "".join(f'<FIELD name="{n}" datatype="char" arraysize="*"/>' for n in names)
    cells = "".join(
        "<TR>" + "".join(f"<TD><![CDATA[{row.get(n, '')}]]></TD>" for n in names) + "</TR>"
        for row in rows
    )
    table = f"<TABLE>{fields}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE>"
    if status == "ERROR":
        table = ""
    return (
        '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="{status}">{message}</INFO>'
        f"{table}</RESOURCE></VOTABLE>"
    )


@pytest.fixture(scope="module")
def front():
    """A server before the S3 server, and the client that asks on."""
    with HTTPServer(threaded=True) as server, httpx.Client() as client:
        yield server, client


@pytest.fixture
def world(s3, front):
    """SIA2 at /SIA; all else goes on to the S3 server, unless a fault is to be shown first."""
    moto, files = s3
    server, client = front
    world = World(server.url_for("").rstrip("/"), files)

    def sia(request):
        world.sia.append(request.args.to_dict())
        if world.sia_answers:
            return world.sia_answers.pop(0)
        rows = world.rows if "POS" in request.args else [{"access_url": "another"}]
        return Response(votable(rows), content_type="application/x-votable+xml")

    def bucket(request):
        span = request.headers["Range"]
        start, stop = re.fullmatch(r"bytes=(\d+)-(\d+)", span).groups()
        world.ranges.append((request.path.rpartition("/")[2], int(start), int(stop)))
        if world.faults:
            return world.faults.pop(0)(request)
        answer = client.get(f"{moto}{request.path}", headers={"Range": span})
        sent = {k: v for k, v in answer.headers.items() if k in ("content-range", "etag")}
        return Response(answer.content, answer.status_code, sent)

    server.expect_request("/SIA").respond_with_handler(sia)
    server.expect_request(re.compile(f"/{BUCKET}/.*")).respond_with_handler(bucket)
    yield world
    server.clear()


def at(x, y, name="g0", size=64, scale=SCALE):
    """A galaxy at a pixel of tile 1."""
    ra, dec = wcs_of(0).all_pix2world(x, y, 0)
    return Target(name, float(ra), float(dec), scale, size)


def expected(data, target, zero_point, offset=0, size=64):
    """What astropy cuts out of the local file, in nanomaggies."""
    place = SkyCoord(target.ra, target.dec, unit="deg")
    cut = Cutout2D(data, place, size, wcs_of(offset), mode="partial", fill_value=np.nan)
    return cut.data * 10 ** (0.4 * (22.5 - zero_point))


def expect(cutout, band, data):
    np.testing.assert_allclose(read_fits(cutout.payload).planes[band], data, rtol=2e-6)


def test_pixels_are_those_of_astropy(world):
    world.show(1)
    targets = [at(60 + 47 * i, 540 - 51 * i, f"g{i}") for i in range(10)]
    cutouts = world.ask(*targets)
    assert {cutout.target for cutout in cutouts} == set(targets)
    for cutout in cutouts:
        assert (cutout.status, cutout.reason, cutout.http_status) == ("ok", "", 206)
        assert cutout.url == f"/{key_of(1, 'VIS').rpartition('/')[2]}"
        for seed, (band, zero_point) in enumerate(ZERO_POINTS.items()):
            expect(cutout, band, expected(pixels(10 + seed), cutout.target, zero_point))


def test_straight_from_the_s3_server(world, s3):
    world.show(1)
    (cutout,) = world.ask(at(300, 300), s3=f"{s3[0]}/{{bucket}}")
    assert (cutout.status, cutout.reason) == ("ok", "")
    assert world.ranges == []


def test_irsas_own_files_give_the_same_row(world):
    world.show(1)
    rows = [world.ask(at(300, 300), source=source)[0] for source in ("s3", "irsa")]
    assert rows[0].payload == rows[1].payload
    assert rows[0].url == rows[1].url


def test_little_is_read_and_each_header_once(world):
    """Ten galaxies side by side need the same rows, which are read once for each band."""
    world.show(1)
    cutouts = world.ask(*(at(60 + 50 * i, 300 + i, f"g{i}") for i in range(10)))
    assert {cutout.status for cutout in cutouts} == {"ok"}
    assert len(set(world.ranges)) == len(world.ranges)
    assert sum(start == 0 for _, start, _ in world.ranges) == 2
    # Rows 268 to 341: five blocks of twenty rows, at most.
    assert len(world.ranges) <= 2 * (1 + 5)
    whole = len(world.files[key_of(1, "VIS")]) + len(world.files[key_of(1, "Y")])
    assert world.bytes_read() < 0.25 * whole
    assert len(world.sia) == 1


def test_the_lookup_covers_every_galaxy(world):
    world.show(1)
    targets = [at(50, 50, "a"), at(550, 550, "b")]
    world.ask(*targets)
    (asked,) = world.sia
    assert asked["COLLECTION"] == "euclid_DpdMerBksMosaic"
    kind, *numbers = asked["POS"].split()
    ra, dec, radius = map(float, numbers)
    assert kind == "CIRCLE"
    for target in targets:
        apart = SkyCoord(ra, dec, unit="deg").separation(
            SkyCoord(target.ra, target.dec, unit="deg")
        )
        assert apart.deg < radius < 0.02


@pytest.mark.parametrize(("x", "tile", "offset"), [(515, 1, 0), (535, 2, 450)])
def test_where_tiles_overlap_the_one_with_the_farther_edge_is_cut(world, x, tile, offset):
    world.show(1, 2)
    (cutout,) = world.ask(at(x, 300))
    assert (cutout.status, cutout.reason) == ("ok", "")
    assert f"TILE{tile}-" in cutout.url
    expect(cutout, "VIS", expected(pixels(10 * tile), cutout.target, 24.6, offset))


def test_every_tile_is_opened_once_for_all_cells(world, monkeypatch):
    monkeypatch.setattr("galaxymill.surveys.services.euclid._CELL_DEG", 0.004)
    world.show(1, 2)
    cutouts = world.ask(*(at(40 + 50 * i, 40 + 25 * i, f"g{i:02d}") for i in range(20)))
    assert {cutout.status for cutout in cutouts} == {"ok"}
    assert sorted(cutout.target.object_id for cutout in cutouts) == [f"g{i:02d}" for i in range(20)]
    assert len(world.sia) > 1
    assert sum(start == 0 for _, start, _ in world.ranges) == 4


def test_scaled_integers_in_an_extension(world):
    world.show(3)
    (cutout,) = world.ask(at(300, 300), mosaic_zero_point=25)
    with fits.open(io.BytesIO(world.files[key_of(3, "VIS")])) as hdus:
        expect(cutout, "VIS", expected(hdus[1].data, cutout.target, 25))
    assert np.isnan(read_fits(cutout.payload).planes["VIS"]).any(axis=1).sum() == 1
    expect(cutout, "Y", expected(pixels(4), cutout.target, 25))


def test_without_a_zero_point_there_is_no_flux(world):
    world.show(3)
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.payload) == ("invalid", None)
    assert "give mosaic_zero_point" in cutout.reason


def test_the_edge_is_partial_and_beyond_is_no_coverage(world):
    world.show(1)
    cutouts = {c.target.object_id: c for c in world.ask(at(10, 300, "edge"), at(-60, 300, "off"))}
    edge, off = cutouts["edge"], cutouts["off"]
    assert (edge.status, edge.reason) == ("partial", "band VIS, Y ends inside the square")
    expect(edge, "VIS", expected(pixels(10), edge.target, 24.6))
    assert (off.status, off.payload) == ("no_coverage", None)


def test_no_tile_at_all_is_no_coverage(world):
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.reason) == ("no_coverage", "no mosaic here")
    assert world.ranges == []


def test_a_collection_that_is_nowhere_stops_the_job(world):
    world.sia_answers = [Response(votable([]))] * 2
    with pytest.raises(ServiceError, match="no image of collection 'euclid_Nope' anywhere"):
        world.ask(at(300, 300), collection="euclid_Nope")


def test_a_band_that_is_not_there_is_partial(world):
    world.show(1, bands=["VIS"])
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.reason) == ("partial", "no band Y")
    expect(cutout, "VIS", expected(pixels(10), cutout.target, 24.6))


def test_another_pixel_scale_is_the_same_field_on_the_mosaics_pixels(world):
    world.show(1)
    (cutout,) = world.ask(at(300, 300, size=40, scale=0.2), pixel_scale=0.2)
    assert (cutout.status, cutout.reason) == ("ok", "")
    expect(cutout, "VIS", expected(pixels(10), cutout.target, 24.6, size=80))


def test_rows_of_other_products_and_older_mosaics_are_passed_over(world):
    world.show(1)
    for kind in ("noise", "flag"):
        world.show(6, dataproduct_subtype=kind)
    old = key_of(1, "VIS", "20240101T000000.000000Z")
    world.show(1, cloud_access=json.dumps({"aws": {"bucket_name": BUCKET, "key": old}}))
    world.show(1, cloud_access=json.dumps({"aws": {"bucket_name": "evil/x?", "key": old}}))
    world.show(1, cloud_access="not JSON")
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.reason) == ("ok", "")


@pytest.mark.parametrize(
    ("name", "band"),
    [("VIS", "VIS"), ("NIR_Y", "Y"), ("NIR-H", "H"), ("DECAM_g", "g"), ("DES-G", "g"), ("r", "r")],
)
def test_names_of_bands(name, band):
    assert euclid._band(name) == band


def test_the_band_may_stand_in_the_files_name_alone(world):
    world.show(1, energy_bandpassname="")
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.reason) == ("ok", "")


@pytest.mark.parametrize(
    ("tile", "reason"),
    [
        (4, "band Y is not on the pixels of VIS"),
        (5, "compressed"),
        (7, "FITS header has no end"),
        (8, "FITS file ends too early|FITS data end too early"),
        (9, "unusable header"),
    ],
)
def test_an_unusable_mosaic_is_invalid(world, tile, reason):
    world.show(tile, bands=["VIS", "Y"] if tile == 4 else ["VIS"])
    (cutout,) = world.ask(at(300, 500))
    assert (cutout.status, cutout.payload) == ("invalid", None)
    assert re.search(reason, cutout.reason)


def test_a_page_instead_of_a_mosaic_is_failed(world):
    world.show(6, bands=["VIS"])
    (cutout,) = world.ask(at(300, 500))
    assert (cutout.status, cutout.reason.partition(": ")[2]) == ("failed", "not a FITS file")
    assert len(world.ranges) == 3


def test_a_range_that_was_not_asked_for_is_asked_for_again(world):
    world.show(1)
    world.faults = [lambda request: part(request, shift=2880)]
    assert world.ask(at(300, 300))[0].status == "ok"


def test_a_key_that_is_not_there_is_failed_and_asked_for_once(world):
    world.show(77)
    cutouts = world.ask(at(300, 300), at(310, 310, "g1"))
    assert [(c.status, c.http_status) for c in cutouts] == [("failed", 404)] * 2
    assert len(world.ranges) == 1


def test_one_band_that_cannot_be_read_is_failed_not_partial(world):
    world.show(1, bands=["VIS"])
    world.show(77, bands=["Y"])
    world.rows[-1]["cloud_access"] = world.rows[-1]["cloud_access"].replace("TILE77", "TILE1")
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.http_status) == ("failed", 404)


def test_503_is_asked_again(world):
    world.show(1)
    world.faults = [lambda request: Response(b"slow down", 503)]
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.reason) == ("ok", "")


def test_503_to_the_end_is_failed(world):
    world.show(1)
    world.faults = [lambda request: Response(b"slow down", 503)] * 3
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.http_status) == ("failed", 503)


def test_a_server_that_ignores_range_is_refused(world, monkeypatch):
    monkeypatch.setattr("galaxymill.surveys.services.euclid._ANSWER_BYTES", 100_000)
    world.show(1)
    world.faults = [lambda request: Response(world.files[key_of(1, "VIS")], 200)]
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.payload) == ("failed", None)
    assert "ignores Range" in cutout.reason


def part(request, shift=0, cut=0, total=SIDE * SIDE * 4):
    start, stop = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
    body = b"\0" * (stop - start + 1 - cut)
    headers = {"Content-Range": f"bytes {start + shift}-{stop + shift}/{total}"}
    return Response(body, 206, headers)


@pytest.mark.parametrize(
    "fault",
    [
        lambda request: part(request, shift=2880),
        lambda request: part(request, cut=1000),
        lambda request: part(request, total=100),
        lambda request: Response(b"\0" * 57600, 206),
        lambda request: Response(b"", 206, {"Content-Range": "bytes */*"}),
    ],
)
@pytest.mark.parametrize("when", ["header", "rows"])
def test_another_range_is_failed(world, fault, when):
    world.show(1)
    good = [] if when == "header" else [lambda request: forward(world, request)] * 2
    world.faults = [*good, *[fault] * 3]
    (cutout,) = world.ask(at(300, 300), network=FAST | {"connections": 1})
    assert (cutout.status, cutout.payload) == ("failed", None)
    assert "another range" in cutout.reason


def forward(world, request):
    start, stop = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
    body = world.files[request.path.partition(f"/{BUCKET}/")[2]]
    headers = {"Content-Range": f"bytes {start}-{stop}/{len(body)}"}
    return Response(body[start : stop + 1], 206, headers)


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (
            (votable([], "ERROR", "UsageFault: no such\n collection"), 200),
            200,
            "UsageFault: no such collection",
        ),
        (("<html>", 200), 200, "unreadable answer"),
        (("", 200), 200, "unreadable answer"),
        (("bad", 400), 400, "HTTP 400"),
    ],
)
def test_a_lookup_that_fails_is_failed(world, answer, status, reason):
    world.show(1)
    world.sia_answers = [Response(*answer)] * 3
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, cutout.http_status) == ("failed", status)
    assert cutout.reason.startswith("SIA2: ")
    assert reason in cutout.reason


def test_an_answer_that_overflows_is_asked_for_in_smaller_circles(world):
    world.show(1)
    world.sia_answers = [Response(votable(world.rows, "OVERFLOW"))]
    # Half a degree has room for both, an eighth has not.
    far = Target("far", CENTRE[0] + 0.3, CENTRE[1], SCALE, 64)
    cutouts = {c.target.object_id: c.status for c in world.ask(at(300, 300), far)}
    assert cutouts == {"g0": "ok", "far": "no_coverage"}
    radii = [float(asked["POS"].split()[-1]) for asked in world.sia]
    assert len(radii) == 3
    assert max(radii[1:]) < radii[0]


def test_an_answer_that_always_overflows_is_failed(world):
    world.sia_answers = [Response(votable([], "OVERFLOW")) for _ in range(9)]
    (cutout,) = world.ask(at(300, 300))
    assert (cutout.status, len(world.sia)) == ("failed", 4)


@pytest.mark.parametrize("ra", [0.0, 359.9999, 180.0])
@pytest.mark.parametrize("dec", [0.0, -89.9999, 89.9999, 66.0])
def test_circles_at_the_seams_of_the_sky(ra, dec):
    targets = [Target(str(i), (ra + i * 1e-4) % 360, dec, SCALE, 64) for i in range(3)]
    middle_ra, middle_dec, radius = euclid._circle(targets)
    assert radius < 0.002
    middle = SkyCoord(middle_ra, middle_dec, unit="deg")
    for target in targets:
        assert middle.separation(SkyCoord(target.ra, target.dec, unit="deg")).deg < radius


def test_a_block_that_many_want_is_read_once_and_old_ones_go():
    cache = BlockCache(250)
    reads = []
    gate = threading.Event()

    def read():
        gate.wait(5)
        reads.append(1)
        return b"x" * 100

    threads = [threading.Thread(target=cache.get, args=(("a", 0), read)) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    cache.get(("a", 1), read)
    cache.get(("a", 0), read)
    cache.get(("a", 2), read)
    assert len(reads) == 3
    cache.get(("a", 0), read)
    assert len(reads) == 3
    cache.get(("a", 1), read)
    assert len(reads) == 4


def test_the_stage_keeps_every_galaxy_in_its_order(world, write_tile, tmp_path):
    world.show(1)
    galaxies = [at(300, 500, "top"), at(-900, 300, "off"), at(300, 100, "low")]
    tile = write_tile([{"object_id": g.object_id, "ra": g.ra, "dec": g.dec} for g in galaxies])
    settings = EuclidSettings(size=64, server=f"{world.url}/SIA", s3=f"{world.url}/{{bucket}}")
    fetch(tile, tmp_path / "cutouts.parquet", "euclid", settings, Network(**FAST))
    rows = parquet.read_table(tmp_path / "cutouts.parquet").to_pylist()
    kept = [(row["object_id"], row["status"]) for row in rows]
    assert kept == [("top", "ok"), ("off", "no_coverage"), ("low", "ok")]
    assert not any("localhost" in row["url"] or "127.0.0.1" in row["url"] for row in rows)


def test_settings_name_the_bands_and_where_to_ask_is_operational():
    with pytest.raises(ValidationError, match=r"bands VIS, Q: allowed are H, J, VIS"):
        EuclidSettings(bands="VIS,Q")
    settings = EuclidSettings()
    assert not {"server", "s3", "source"} & set(settings.product_settings())
    assert EuclidSettings.from_flags(
        ["s3=http://127.0.0.1:1/{bucket}", "bands=VIS,Y,J,H"], "fetch"
    ).s3.endswith("{bucket}")
    assert settings.requests(10) == 10 * 2 * (256 // (48_000 // 76_800 or 1) + 1)

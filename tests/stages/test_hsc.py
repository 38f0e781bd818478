"""The HSC service over real sockets: bulk requests, streamed tar archives, and their faults."""

import base64
import io
import logging
import re
import tarfile
import threading
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from pydantic import ValidationError

from galaxymill.decoding.decode import read_fits
from galaxymill.errors import UserError
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services.hsc import HscService, HscSettings
from galaxymill.web import http
from galaxymill.web.network import Network, ServiceError

SCALE = 0.168
SIZE = 32
SECRET = "s3cret-Wört"
FAST = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 3}
FLUXMAG0 = 63095734448.0194
TARGETS = [Target(f"g{index}", 150.0 + 0.01 * index, 2.0, SCALE, SIZE) for index in range(6)]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch, tmp_path):
    monkeypatch.setattr(http, "_WAIT_MAX_S", 0.02)
    monkeypatch.setenv("HSC_SSP_USER", "local")
    monkeypatch.setenv("HSC_SSP_PASSWORD", SECRET)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def image(ra, dec, seed, side=60, shift=(3, -2), fluxmag0=FLUXMAG0):
    """A coadd cutout as the archive makes it: larger than the square, the galaxy off its middle."""
    data = np.random.default_rng(seed).normal(1, 0.3, (side, side)).astype(np.float32)
    header = fits.Header()
    for axis, (kind, value, sign) in enumerate((("RA---", ra, -1), ("DEC--", dec, 1)), start=1):
        header[f"CTYPE{axis}"] = f"{kind}TAN"
        header[f"CRVAL{axis}"] = value
        header[f"CRPIX{axis}"] = side / 2 + shift[axis - 1]
        header[f"CD{axis}_{axis}"] = sign * SCALE / 3600
    primary = fits.PrimaryHDU()
    if fluxmag0 is not None:
        primary.header["FLUXMAG0"] = fluxmag0
    return fits.HDUList([primary, fits.ImageHDU(data, header, name="IMAGE")])


@lru_cache
def sky(ra, dec, name):
    return image(ra, dec, seed=[round(ra * 1000), ord(name[-1])])


@lru_cache
def sky_bytes(ra, dec, name):
    return as_bytes(sky(ra, dec, name))


def as_bytes(hdus):
    file = io.BytesIO()
    hdus.writeto(file)
    return file.getvalue()


def expected(hdus, target, size=SIZE):
    place = SkyCoord(target.ra, target.dec, unit="deg")
    cutout = Cutout2D(hdus[1].data, place, size, WCS(hdus[1].header), mode="partial")
    return cutout.data * 1e9 / hdus[0].header.get("FLUXMAG0", FLUXMAG0)


def tar(members, ended=True):
    file = io.BytesIO()
    archive = tarfile.open(fileobj=file, mode="w")  # noqa: SIM115
    for name, content in members:
        if isinstance(content, bytes):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        else:
            content.name = name
            archive.addfile(content)
    whole = file.getvalue()
    if ended:
        archive.close()
        return file.getvalue()
    return whole


def member(line, band, content, tract=9813, rerun="pdr3_wide"):
    return f"arch-240101-120000/{line}-cutout-HSC-{band.upper()}-{tract}-{rerun}.fits", content


def rows(body):
    """The rows of an uploaded list, by line number."""
    text = re.search(rb'name="list"; filename="[^"]+"\r\n.*?\r\n\r\n(.*?)\r\n--', body, re.S)[1]
    first, *lines = text.decode().splitlines()
    assert first.startswith("#? ")
    names = first[3:].split()
    return {n: dict(zip(names, line.split(), strict=True)) for n, line in enumerate(lines, 2)}


def make(rows, images):
    """All members of an answer; ``images`` gives HDUs, or None, by place and filter."""
    members = []
    for line, row in rows.items():
        place = float(row["ra"]), float(row["dec"]), row["filter"]
        hdus = images(*place)
        if hdus is not None:
            content = sky_bytes(*place) if images is sky else as_bytes(hdus)
            members.append(member(line, row["filter"][-1], content))
    return members


@contextmanager
def archive(*answers):
    """A server that gives one answer after the other, the last one ever after.

    An answer is a status and headers, or a function from the rows to (bytes, whether they end
    well).
    """
    came = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((self.path, dict(self.headers), rows(body)))
            answer = answers[min(len(came), len(answers)) - 1]
            right = base64.b64encode(f"local:{SECRET}".encode()).decode()
            if self.headers["Authorization"] != f"Basic {right}":
                answer = (401, {})
            if isinstance(answer, tuple):
                status, headers = answer
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            content, good = answer(came[-1][2])
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(content), 7000):
                piece = content[start : start + 7000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if good:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def whole(images=sky):
    return lambda rows: (tar(make(rows, images)), True)


def ask(answers, targets=TARGETS, network=None, **settings):
    with archive(*answers) as (url, came):
        options = HscSettings(server=url, size=SIZE, **settings)
        service = HscService(options, Network(**{**FAST, **(network or {})}))
        try:
            cutouts = {cut.target.object_id: cut for cut in service.fetch(targets)}
        finally:
            service.close()
    assert sorted(cutouts) == sorted(target.object_id for target in targets)
    for cutout in cutouts.values():
        assert SECRET not in repr(cutout)
        assert "127.0.0.1" not in cutout.url + cutout.reason
    return cutouts, came


def statuses(cutouts):
    return {key: cutout.status for key, cutout in sorted(cutouts.items())}


def test_ok_values_are_those_of_an_independent_cut():
    cutouts, came = ask([whole()])
    assert set(statuses(cutouts).values()) == {"ok"}
    for target in TARGETS:
        decoded = read_fits(cutouts[target.object_id].payload)
        assert list(decoded.planes) == ["g", "r", "i"]
        for band, plane in decoded.planes.items():
            hdus = sky(target.ra, target.dec, f"HSC-{band.upper()}")
            np.testing.assert_allclose(plane, expected(hdus, target), rtol=1e-6)
    ((path, _, sent),) = came
    assert path == "/das_cutout/pdr3/cgi-bin/cutout"
    assert [row["filter"] for row in sent.values()] == ["HSC-G", "HSC-R", "HSC-I"] * 6
    assert {row["rerun"] for row in sent.values()} == {"pdr3_wide"}
    assert sent[2]["sw"] == sent[2]["sh"] == "3.360asec"


def test_a_field_in_other_pixels_is_spread_over_native_ones():
    target = Target("g", 150.0, 2.0, 2 * SCALE, 20)
    cutouts, _ = ask([whole(lambda *at: image(150.0, 2.0, 1, side=80))], [target])
    (plane, *_) = read_fits(cutouts["g"].payload).planes.values()
    assert plane.shape == (40, 40)
    assert (cutouts["g"].target.size, cutouts["g"].status) == (20, "ok")


def test_zero_point_is_that_of_the_header_or_27():
    other = 10 ** (0.4 * 30.0)
    target = TARGETS[:1]
    for fluxmag0, magnitude in ((other, 30.0), (None, 27.0)):
        images = lambda ra, dec, name, f=fluxmag0: image(ra, dec, 1, fluxmag0=f)  # noqa: E731
        cutouts, _ = ask([whole(images)], target)
        plane = read_fits(cutouts["g0"].payload).planes["g"]
        counts = expected(image(150.0, 2.0, 1, fluxmag0=1e9), target[0])
        np.testing.assert_allclose(plane, counts * 10 ** (0.4 * (22.5 - magnitude)), rtol=1e-6)
    images = lambda ra, dec, name: image(ra, dec, 1, fluxmag0=-1.0)  # noqa: E731
    assert statuses(ask([whole(images)], target)[0]) == {"g0": "invalid"}


def test_each_galaxy_keeps_its_own_reason():
    def images(ra, dec, name):
        return image(ra, dec, 1, fluxmag0=-1.0 if ra == 150.0 else -2.0)

    cutouts, _ = ask([whole(images)], TARGETS[:2], {"attempts": 1}, bands=("g",))
    assert [cutouts[key].status for key in ("g0", "g1")] == ["failed", "failed"]
    assert "FLUXMAG0 is -1.0" in cutouts["g0"].reason
    assert "FLUXMAG0 is -2.0" in cutouts["g1"].reason


def test_a_missing_band_is_partial_and_none_is_no_coverage():
    def images(ra, dec, name):
        gone = ra == 150.02 or (ra == 150.01 and name == "HSC-R")
        return None if gone else sky(ra, dec, name)

    cutouts, came = ask([whole(images)])
    assert (cutouts["g1"].status, cutouts["g1"].reason) == ("partial", "no band r")
    assert (cutouts["g2"].status, cutouts["g2"].payload) == ("no_coverage", None)
    assert list(statuses(cutouts).values()).count("ok") == 4
    assert len(came) == 1


def test_a_galaxy_on_two_tracts_takes_the_fuller_image_whatever_their_order():
    target = TARGETS[:1]
    full, empty, alike = (image(150.0, 2.0, seed) for seed in (1, 2, 3))
    empty[1].data[20:30] = np.nan
    for order in ((9812, empty), (9814, full), (9815, alike)), ((9815, alike), (9814, full)):
        members = [member(2, "g", as_bytes(hdus), tract) for tract, hdus in order]
        cutouts, _ = ask([lambda rows, m=members: (tar(m), True)], target, bands=("g",))
        plane = read_fits(cutouts["g0"].payload).planes["g"]
        np.testing.assert_allclose(plane, expected(full, target[0]), rtol=1e-6)


def test_all_bands_are_of_one_tract():
    one, other = (sky(150.0, 2.0, name) for name in ("HSC-G", "HSC-R"))
    members = [
        member(2, "g", as_bytes(one), 9812),
        member(2, "g", as_bytes(other), 9813),
        member(3, "r", as_bytes(other), 9813),
        member(4, "i", as_bytes(one), 9812),
        member(4, "i", as_bytes(other), 9813),
    ]
    cutouts, _ = ask([lambda rows: (tar(members), True)], TARGETS[:1])
    planes = read_fits(cutouts["g0"].payload).planes
    for plane in planes.values():
        np.testing.assert_allclose(plane, expected(other, TARGETS[0]), rtol=1e-6)
    del members[2]
    cutouts, _ = ask([lambda rows: (tar(members), True)], TARGETS[:1])
    assert (cutouts["g0"].status, cutouts["g0"].reason) == ("partial", "no band r")


@pytest.mark.parametrize("padding", [np.nan, 0, None])
def test_an_image_that_ends_inside_the_square_is_partial(padding):
    hdus = image(150.0, 2.0, 1)
    if padding is None:
        hdus[1].data = hdus[1].data[:35]
    else:
        hdus[1].data[35:] = padding
    cutouts, _ = ask([whole(lambda *at: hdus)], TARGETS[:1])
    assert cutouts["g0"].status == "partial"
    assert cutouts["g0"].reason == "band g, r, i ends inside the square"


@pytest.mark.parametrize("good", [True, False])
def test_a_stream_that_breaks_keeps_what_was_whole_and_asks_for_the_rest(good):
    """Also when it breaks off between two members and the connection ends in good order."""

    def broken(rows):
        members = make(rows, sky)
        return (tar(members[:8], ended=False), good)

    cutouts, came = ask([broken, whole()])
    assert set(statuses(cutouts).values()) == {"ok"}
    first, second = (request[2] for request in came)
    # Two galaxies are whole, of the third a band is missing.
    assert list(second.values()) == list(first.values())[6:]


def test_a_stream_that_breaks_again_and_again_goes_on_as_long_as_something_comes():
    def one_galaxy(rows):
        content = tar(make(rows, sky))
        return (content, True) if len(rows) == 3 else (content[: len(content) * 3 // 4], False)

    cutouts, came = ask([one_galaxy], network={"attempts": 2, "stop_after": 2})
    assert set(statuses(cutouts).values()) == {"ok"}
    assert len(came) > 2


def test_a_stream_that_never_comes_is_failed():
    cutouts, came = ask([lambda rows: (b"", True)])
    assert set(statuses(cutouts).values()) == {"failed"}
    assert cutouts["g0"].reason == "the archive ends too early"
    assert len(came) == 3


def test_text_instead_of_an_archive_is_failed():
    cutouts, _ = ask([lambda rows: (b"<html>" + b"sorry " * 200, True)])
    assert {cut.reason for cut in cutouts.values()} == {"not a tar archive"}
    assert set(statuses(cutouts).values()) == {"failed"}


def test_an_empty_archive_is_no_coverage():
    cutouts, came = ask([lambda rows: (tar([]), True)])
    assert set(statuses(cutouts).values()) == {"no_coverage"}
    assert len(came) == 1


def test_a_list_is_split_between_galaxies():
    cutouts, came = ask([whole()], rows_per_request=8)
    assert set(statuses(cutouts).values()) == {"ok"}
    assert [len(request[2]) for request in came] == [6, 6, 6]
    settings = HscSettings(rows_per_request=8)
    assert [settings.requests(count) for count in (0, 1, 2, 3, 6)] == [0, 1, 1, 2, 3]
    assert HscSettings().requests(331) == 2


def test_an_oversized_member_is_invalid_and_costs_no_memory():
    def answer(rows):
        members = make(rows, sky)
        info = tarfile.TarInfo()
        large = min(4, len(members) - 2)
        name, _ = members[large]
        info.size = 5_000_192
        head = tar(members[:large], ended=False)
        info.name = name
        return head + info.tobuf() + bytes(info.size) + tar(members[large + 1 :]), True

    cutouts, came = ask([answer])
    assert cutouts["g1"].status == "invalid"
    assert "larger than any" in cutouts["g1"].reason
    assert list(statuses(cutouts).values()).count("ok") == 5
    assert [len(asked) for _, _, asked in came] == [18, 3]


@pytest.mark.parametrize("size", [-1, 1 << 62])
def test_a_size_that_cannot_be_is_a_broken_archive(size):
    info = tarfile.TarInfo(member(2, "g", b"")[0])
    info.size = size
    cutouts, _ = ask([lambda rows: (info.tobuf(tarfile.GNU_FORMAT) + bytes(4000), True)])
    assert set(statuses(cutouts).values()) == {"failed"}


def hostile(name, link=None):
    info = tarfile.TarInfo(name)
    if link:
        info.type, info.linkname = link, "/etc/passwd"
        return name, info
    return name, b"x" * 600


@pytest.mark.parametrize(
    "stranger",
    [
        hostile("../../2-cutout-HSC-G-9813-pdr3_wide.fits"),
        hostile("/tmp/arch-1-2/2-cutout-HSC-G-9813-pdr3_wide.fits"),
        hostile("arch-1-2/../2-cutout-HSC-G-9813-pdr3_wide.fits"),
        hostile("arch-1-2/1-cutout-HSC-G-9813-pdr3_wide.fits"),
        hostile("arch-1-2/99-cutout-HSC-G-9813-pdr3_wide.fits"),
        hostile("arch-1-2/2-cutout-HSC-R-9813-pdr3_wide.fits"),
        hostile("arch-1-2/2-cutout-HSC-G-9813-pdr2_wide.fits"),
        hostile("arch-1-2/٢-cutout-HSC-G-9813-pdr3_wide.fits"),
        hostile("arch-1-2/2-cutout-HSC-G-9813-pdr3_wide.fits", tarfile.SYMTYPE),
        hostile("arch-1-2/2-cutout-HSC-G-9813-pdr3_wide.fits", tarfile.LNKTYPE),
        hostile("arch-1-2/2-cutout-HSC-G-9813-pdr3_wide.fits", tarfile.CHRTYPE),
    ],
)
def test_hostile_members_write_nothing_and_are_no_image(stranger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cutouts, _ = ask([lambda rows: (tar([stranger]), True)], TARGETS[:1])
    assert statuses(cutouts) == {"g0": "invalid"}
    cutouts, _ = ask([lambda rows: (tar([stranger, *make(rows, sky)]), True)], TARGETS[:1])
    assert statuses(cutouts) == {"g0": "ok"}
    assert list(tmp_path.rglob("*")) == []


def test_directories_and_extended_headers_are_passed_over():
    folder = tarfile.TarInfo()
    folder.type = tarfile.DIRTYPE
    header = tarfile.TarInfo("PaxHeaders/x")
    header.type, header.size = tarfile.XHDTYPE, 20_000_000

    def answer(rows):
        first = tar([("arch-240101-120000", folder)], ended=False)
        return first + header.tobuf() + bytes(20_000_256) + tar(make(rows, sky)), True

    cutouts, _ = ask([lambda rows: answer(rows)], TARGETS[:1])
    assert statuses(cutouts) == {"g0": "ok"}


def test_too_many_members_are_a_broken_archive():
    flood = tar([("arch-1-2/x", b"")] * 100)
    cutouts, _ = ask([lambda rows: (flood, True)], TARGETS[:1])
    assert cutouts["g0"].reason == "more than 49 members"


@pytest.mark.parametrize("damage", ["cut", "no image", "bytes", "wcs", "far"])
def test_a_damaged_image_is_invalid_and_the_others_are_not(damage):
    def answer(rows):
        members = make(rows, sky)
        name, content = members[1]
        hdus = image(150.0, 2.0, 1)
        if damage == "wcs":
            hdus[1].header["CD1_1"] = hdus[1].header["CD2_2"] = 0.0
        if damage == "far":
            hdus[1].header["CRVAL1"] = 151.0
        other = {
            "cut": content[:7000],
            "no image": as_bytes(hdus[:1]),
            "bytes": b"<html>" * 100,
            "wcs": as_bytes(hdus),
            "far": as_bytes(hdus),
        }
        members[1] = (name, other[damage])
        return tar(members), True

    cutouts, _ = ask([answer])
    wanted = ("partial", "no band r") if damage == "far" else ("invalid", None)
    assert cutouts["g0"].status == wanted[0]
    if wanted[1] is None:
        assert cutouts["g0"].reason.startswith("band r: ")
    assert set(list(statuses(cutouts).values())[1:]) == {"ok"}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_asked_again(status):
    cutouts, came = ask([(status, {"Retry-After": "0.1"}), whole()])
    assert set(statuses(cutouts).values()) == {"ok"}
    assert len(came) == 2


def test_503_to_the_end_is_failed():
    cutouts, came = ask([(503, {})])
    assert {(cut.status, cut.http_status) for cut in cutouts.values()} == {("failed", 503)}
    assert len(came) == 3


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_not_asked_again(status):
    cutouts, came = ask([(status, {})])
    assert {(cut.status, cut.http_status) for cut in cutouts.values()} == {("failed", status)}
    assert len(came) == 1


def test_a_wrong_password_stops_the_job_and_is_not_shown(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HSC_SSP_PASSWORD", "another-S3cret")
    with pytest.raises(ServiceError, match=r"401.*HSC_SSP_USER and HSC_SSP_PASSWORD") as caught:
        ask([whole()])
    assert "another-S3cret" not in str(caught.value) + caplog.text


def test_without_credentials_both_ways_are_named(monkeypatch):
    monkeypatch.delenv("HSC_SSP_PASSWORD")
    with pytest.raises(UserError, match=r"HSC_SSP_USER and HSC_SSP_PASSWORD .*~/\.netrc"):
        HscService(HscSettings(), Network())


def test_credentials_come_from_netrc(monkeypatch, tmp_path):
    monkeypatch.delenv("HSC_SSP_USER")
    netrc = tmp_path / "home" / ".netrc"
    netrc.parent.mkdir()
    netrc.write_text(f"machine 127.0.0.1 login local password {SECRET}\n", encoding="utf-8")
    netrc.chmod(0o600)
    cutouts, _ = ask([whole()])
    assert set(statuses(cutouts).values()) == {"ok"}
    netrc.write_text(f"machine 127.0.0.1 login local pass {SECRET} {SECRET}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"~/\.netrc cannot be read") as caught:
        ask([whole()])
    assert SECRET not in str(caught.value)


def test_fetch_keeps_every_row_and_no_secret(write_tile, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    tile = write_tile([{"object_id": f"g{i}", "ra": 150.0 + 0.01 * i} for i in range(4)])
    out = tmp_path / "cutouts.parquet"
    with archive((503, {}), whole()) as (url, _):
        settings = HscSettings(server=url, size=SIZE)
        fetch(tile, out, "hsc", settings, Network(**FAST))
    kept = pq.read_table(out).to_pylist()
    assert [(row["object_id"], row["status"]) for row in kept] == [
        (f"g{index}", "ok") for index in range(4)
    ]
    assert kept[0]["url"].startswith("/das_cutout/pdr3/cgi-bin/cutout?ra=150.0000000&")
    everything = out.read_bytes() + caplog.text.encode() + repr(settings).encode()
    assert SECRET.encode() not in everything


def test_a_galaxy_too_large_is_invalid_and_not_asked_for():
    large = Target("large", 150.0, 2.0, 5.0, 200)
    cutouts, came = ask([whole()], [large, TARGETS[0]])
    assert cutouts["large"].status == "invalid"
    assert cutouts["g0"].status == "ok"
    assert len(came[0][2]) == 3


@pytest.mark.parametrize(
    "settings", [{"bands": "u,g"}, {"bands": "g,g"}, {"size": 3000, "pixel_scale": 0.2}]
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(ValidationError):
        HscSettings(**settings)


def test_half_an_answer_can_be_left():
    """Whoever stops listening leaves no connection and no error behind."""
    with archive(whole()) as (url, _):
        service = HscService(HscSettings(server=url, size=SIZE), Network(**FAST))
        answers = service.fetch(TARGETS)
        assert next(answers).status == "ok"
        answers.close()
        service.close()

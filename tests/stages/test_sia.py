"""The service sia against an archive on real sockets: its standards, its faults, its secrets."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.wcs import WCS
from pydantic import ValidationError
from werkzeug import Response

from galaxymill.errors import UserError
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.ivoa import queries
from galaxymill.surveys.services.sia import SiaService, SiaSettings
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

TOKEN = "s3same-0pen"
ROUTES = pytest.mark.parametrize("tap", [True, False], ids=["tap", "sia2"])


@pytest.fixture(autouse=True, scope="module")
def _servers():
    yield
    stop()


# What is cut


@ROUTES
def test_ok(tap):
    with serve(*images(), *images("i")) as archive:
        (cutout,) = ask(archive, tap=tap)
        assert (cutout.status, cutout.reason, cutout.http_status) == ("ok", "", 200)
        data, header = planes(cutout)
        for plane, image in zip(data, archive.images, strict=False):
            np.testing.assert_array_equal(plane, expected(image).data)
        assert [header["BAND0"], header["BAND1"]] == ["g", "r"]
        x, y = WCS(header).celestial.all_world2pix(HERE.ra, HERE.dec, 0)
        assert np.hypot(x - 15.5, y - 15.5) < 0.71
        assert cutout.url.startswith(
            "?ID=ivo%3A%2F%2Farchive%2Fa%3Fr%261&CIRCLE=150.0000000%202.0000000%20"
        )


@ROUTES
def test_requests_are_as_few_as_they_can_be(tap):
    targets = [Target(f"g{i}", 150.0, 2.0 + i * 1e-5, SCALE, 32) for i in range(12)]
    with serve(*images()) as archive:
        cutouts = ask(archive, *targets, tap=tap)
        assert {(cutout.status, cutout.reason) for cutout in cutouts} == {("ok", "")}
        assert sorted(c.target.object_id for c in cutouts) == sorted(t.object_id for t in targets)
        counts = [archive.count(name) for name in ("tap", "sia", "links", "soda", "file")]
        assert counts == [int(tap), 0 if tap else 12, 2, 24, 0]
        assert settings(archive, tap).requests(12) == sum(counts)


def test_one_tap_query_a_thousand_galaxies(monkeypatch):
    """Cutting starts before later batches are known."""
    monkeypatch.setattr("galaxymill.surveys.services.sia.UPLOAD_ROWS", 4)
    targets = [Target(f"g{i}", 150.0, 2.0, SCALE, 32) for i in range(14)]
    with serve(*images("g")) as archive:
        cutouts = ask(archive, *targets, bands="g")
        assert [c.status for c in cutouts] == ["ok"] * 14
        names = [name for name, _, _ in archive.asked]
        assert names.count("tap") == 4
        assert "soda" in names[: len(names) - names[::-1].index("tap")]


def test_a_result_that_is_cut_short_is_asked_for_in_halves():
    targets = [Target(f"g{i}", 150.0, 2.0, SCALE, 32) for i in range(4)]
    with serve(*images(), maxrec=2) as archive:
        cutouts = ask(archive, *targets)
        assert [cutout.status for cutout in cutouts] == ["ok"] * 4
        assert archive.count("tap") == 1 + 2 + 4


@ROUTES
def test_a_galaxy_with_more_images_than_are_listed_is_failed_and_the_others_are_had(tap):
    lonely = Image("ivo://archive/lonely", "g", 151.0, 2.0)
    other = Target("other", 151.0, 2.0, SCALE, 32)
    with serve(*images("gri"), lonely, maxrec=2) as archive:
        by_id = {c.target.object_id: c for c in ask(archive, HERE, other, tap=tap, bands="g,r,i")}
        assert (by_id["g0"].status, by_id["g0"].http_status) == ("failed", 200)
        assert "more images than the archive lists: give collection" in by_id["g0"].reason
        assert by_id["other"].status == "partial"


@ROUTES
def test_the_nearest_tile_is_cut(tap):
    """Then the id decides; other collections and levels are left alone."""
    far = Image("ivo://archive/0", "g", 150.0, 2.0 + 9 / 3600)
    twin = Image("ivo://archive/1", "g", 150.0, 2.0)
    best = Image("ivo://archive/0b", "g", 150.0, 2.0)
    other = Image("ivo://archive/0a", "g", 150.0, 2.0, collection="RAWS")
    raw = Image("ivo://archive/0a", "g", 150.0, 2.0, level=1)
    with serve(far, twin, best, other, raw) as archive:
        (cutout,) = ask(archive, tap=tap, bands="g", collection="COADDS", calib_level=3)
        np.testing.assert_array_equal(planes(cutout)[0][0], expected(best).data)


@ROUTES
def test_bands_by_a_column(tap):
    with serve(*images("gri")) as archive:
        (cutout,) = ask(archive, tap=tap, bands="i,g", band_column="filter")
        data, header = planes(cutout)
        assert header["BAND0"] == "i"
        np.testing.assert_array_equal(data[0], expected(archive.images[2]).data)


def test_a_further_condition_and_quotes_reach_the_archive():
    good = Image("ivo://archive/x'1", "g", 150.0, 2.0 + 5 / 3600, collection="it's")
    with serve(Image("ivo://archive/a", "g", 150.0, 2.0, collection="it's"), good) as archive:
        where = "o.obs_publisher_did LIKE '%/x''_' OR 1 = 0"
        (cutout,) = ask(archive, bands="g", where=where, collection="it's")
        np.testing.assert_array_equal(planes(cutout)[0][0], expected(good).data)


def test_zero_points():
    with serve(*images()) as archive:
        (cutout,) = ask(archive, zero_points=31.4)
        (other,) = ask(archive, zero_points="22.5,25")
        g, r = (expected(image).data for image in archive.images)
        np.testing.assert_allclose(planes(cutout)[0][0], g * 10 ** (-0.4 * 8.9), rtol=1e-6)
        np.testing.assert_allclose(planes(other)[0], [g, r * 0.1], rtol=1e-6)


def test_another_pixel_scale_keeps_the_field():
    target = Target("g0", 150.0, 2.0, 2 * SCALE, 24)
    with serve(*images()) as archive:
        (cutout,) = ask(archive, target)
        assert cutout.status == "ok"
        np.testing.assert_array_equal(
            planes(cutout)[0][0], expected(archive.images[0], target, 48).data
        )


# Where the images end


@ROUTES
def test_missing_coverage(tap):
    away = Target("away", 151.0, 2.0, SCALE, 32)
    with serve(*images()) as archive:
        by_id = {c.target.object_id: c for c in ask(archive, HERE, away, tap=tap)}
        assert by_id["g0"].status == "ok"
        assert (by_id["away"].status, by_id["away"].payload) == ("no_coverage", None)
        assert by_id["away"].reason == "no image holds this position"


@ROUTES
def test_no_coverage_at_all(tap):
    with serve(*images()) as archive:
        (cutout,) = ask(archive, Target("away", 151.0, 2.0, SCALE, 32), tap=tap)
        assert cutout.status == "no_coverage"
        assert archive.count("soda") == 0


def test_a_missing_band_is_partial():
    with serve(*images("g")) as archive:
        (cutout,) = ask(archive)
        assert (cutout.status, cutout.reason) == ("partial", "no band r")


def test_the_edge_of_the_image_is_partial():
    target = Target("edge", 150.0, 2.0 + 17 / 3600, SCALE, 32)
    with serve(*images()) as archive:
        (cutout,) = ask(archive, target)
        assert (cutout.status, cutout.reason) == ("partial", "reaches over the edge of the image")
        for plane, image in zip(planes(cutout)[0], archive.images, strict=True):
            np.testing.assert_array_equal(plane, expected(image, target).data)
        assert np.isnan(planes(cutout)[0]).any()


@pytest.mark.parametrize(
    ("status", "band", "verdict"),
    [(204, "r", "partial"), (204, "", "no_coverage"), (200, "r", "failed"), (200, "", "failed")],
)
def test_no_overlap(status, band, verdict):
    """SODA says so by 204; nothing with 200 says nothing."""

    def empty(service, values):
        if service == "soda" and f"?{band}" in values["ID"]:
            return Response(status=status)
        return None

    with serve(*images(), hooks=[empty]) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == verdict
        assert (cutout.payload is None) == (verdict != "partial")


# How the archive fails


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refused_cutout_is_failed(status):
    refuse = hook("soda", Response("UsageFault: \x00CIRCLE is\n odd" + "!" * 9999, status))
    with serve(*images(), hooks=[refuse]) as archive:
        (cutout,) = ask(archive)
        assert (cutout.status, cutout.http_status, cutout.payload) == ("failed", status, None)
        assert cutout.reason.startswith(f"HTTP {status}: UsageFault: CIRCLE is odd!!!")
        assert len(cutout.reason) < 300
        assert archive.count("soda") == 1


@pytest.mark.parametrize("status", [200, 400])
def test_an_error_document(status):
    with serve(*images(), hooks=[hook("soda", fault("no <such> thing", status))]) as archive:
        (cutout,) = ask(archive)
        assert (cutout.status, cutout.http_status) == ("failed", status)
        assert "no <such> thing" in cutout.reason
    with serve(*images(), hooks=[hook("sia", fault("no such thing", status))]) as archive:
        (cutout,) = ask(archive, tap=False)
        assert (cutout.status, cutout.http_status) == ("failed", status)
        assert "no such thing" in cutout.reason


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_tap_error_stops_the_job(status):
    with (
        serve(*images(), hooks=[hook("tap", fault("no such column", status))]) as archive,
        pytest.raises(ServiceError, match=r"TAP: .*no such column"),
    ):
        ask(archive)
    assert archive.count("tap") == 1


def test_an_error_in_the_query_stops_the_job():
    with serve(*images()) as archive, pytest.raises(ServiceError, match=r"cannot run .*nonsense"):
        ask(archive, where="o.nonsense = 1")


def test_answers_of_earlier_batches_are_kept(monkeypatch):
    monkeypatch.setattr("galaxymill.surveys.services.sia.UPLOAD_ROWS", 3)
    kept = []

    def second(service, values):
        return fault("down") if service == "tap" and archive.count("tap") > 1 else None

    with serve(*images("g"), hooks=[second]) as archive:
        service = SiaService(settings(archive, bands="g"), Network(**FAST))
        with pytest.raises(ServiceError, match="down"):
            append_all(kept, service.fetch(replace(HERE, object_id=i) for i in "123456"))
        service.close()
    assert sorted(cutout.target.object_id for cutout in kept) == ["1", "2", "3"]


def append_all(kept, cutouts):
    for cutout in cutouts:
        kept.append(cutout)


@pytest.mark.parametrize("body", [b"", b"<html>proxy</html>", b"<VOTABLE", b"\x00\xff"])
def test_an_unreadable_table_is_failed(body):
    for service in ("sia", "links"):
        with serve(*images(), hooks=[hook(service, Response(body))]) as archive:
            (cutout,) = ask(archive, tap=False)
            assert cutout.status == "failed"
            assert "127.0.0.1" not in cutout.reason
            assert "localhost" not in cutout.reason


def test_a_table_that_claims_to_be_huge_is_refused():
    def huge(service, values):
        if service != "sia":
            return None
        answer = archive.sia(values, None)
        answer.data = answer.data.replace(b"<TABLE", b'<TABLE nrows="99999999999"', 1)
        return answer

    with serve(*images(), hooks=[huge]) as archive:
        (cutout,) = ask(archive, tap=False)
        assert (cutout.status, "unreasonable" in cutout.reason) == ("failed", True)


def test_one_bad_fits_is_invalid_and_kept():
    def bad(service, values):
        return (
            Response(b"SIMPLE  = nonsense")
            if service == "soda" and "150.001" in str(values)
            else None
        )

    targets = [HERE, Target("bad", 150.001, 2.0, SCALE, 32)]
    with serve(*images(), hooks=[bad]) as archive:
        by_id = {c.target.object_id: c for c in ask(archive, *targets)}
        assert by_id["g0"].status == "ok"
        assert by_id["bad"].status == "invalid"
        assert by_id["bad"].payload == b"SIMPLE  = nonsense"
        assert by_id["bad"].reason


def test_a_fault_that_passes_is_asked_again():
    def once(service, values):
        first = service == "soda" and archive.count("soda") == 1
        return Response("busy", 503) if first else None

    with serve(*images(), hooks=[once]) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "ok"


def test_redirects_and_gzip():
    import gzip

    def redirect(service, values):
        if service == "soda" and "HOP" not in values:
            last = archive.asked[-1][2]
            return Response("", 303, {"Location": f"{last.full_path}&HOP=1"})
        if service == "sia":
            plain = archive.sia(values, None)
            packed = gzip.compress(plain.data, mtime=0)
            return Response(packed, headers={"Content-Encoding": "gzip"}, mimetype=plain.mimetype)
        return None

    with serve(*images(), hooks=[redirect], sent={"HOP"}) as archive:
        (cutout,) = ask(archive, tap=False)
        assert cutout.status == "ok"


# DataLink


def test_ids_of_another_kind_take_one_datalink_a_dataset():
    own = [Image(f"ivo://a?{b}", b, 150.0, 2.0, known_to_soda_as=f"cadc:F/{b}.fits") for b in "gr"]
    targets = [Target(f"g{i}", 150.0, 2.0, SCALE, 32) for i in range(5)]
    with serve(*own) as archive:
        assert {cutout.status for cutout in ask(archive, *targets)} == {"ok"}
        assert (archive.count("links"), archive.count("soda")) == (2, 10)


def test_a_datalink_that_is_old_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(queries, "_LINK_FRESH_S", -1.0)
    own = Image("ivo://a", "g", 150.0, 2.0, known_to_soda_as="cadc:F/g.fits")
    with serve(own) as archive:
        cutouts = ask(archive, HERE, Target("g1", 150.0, 2.0, SCALE, 32), bands="g")
        assert [cutout.status for cutout in cutouts] == ["ok", "ok"]
        assert archive.count("links") == 2


@pytest.mark.parametrize("id_by_reference", [True, False])
def test_ids_that_stand_in_the_datalinks_address(id_by_reference):
    """As Rubin's: the links service knows a dataset by another id than obs_publisher_did."""
    own = [Image(f"ivo://a/usdac?{b}", b, 150.0, 2.0, link_id=f"ivo://a?{b}&x") for b in "gr"]
    for image in own:
        image.known_to_soda_as = image.link_id
    with serve(*own, id_by_reference=id_by_reference) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "ok"
        assert archive.count("links") == 2


def test_a_service_that_no_row_refers_to():
    def forget(service, values):
        if service != "links":
            return None
        answer = archive.links(values, None)
        answer.data = answer.data.replace(b"<TD>cut</TD>", b"<TD></TD>")
        return answer

    with serve(*images(), hooks=[forget]) as archive:
        (cutout,) = ask(archive)
        assert (cutout.status, archive.count("links")) == ("ok", 2)


def test_pos_where_circle_is_not_known():
    with serve(*images(), shape="POS") as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "ok"
        assert "&POS=CIRCLE%20150.0" in cutout.url


def test_a_given_soda_service_needs_no_datalink():
    with serve(*images()) as archive:
        soda = archive.url("/soda/sync") + "?COMPRESS=no"
        (cutout,) = ask(archive, soda=soda)
        assert (cutout.status, archive.count("links")) == ("ok", 0)


def test_a_fault_in_the_datalink_is_failed():
    with serve(*images()) as archive:
        for image in archive.images:
            image.link_id = "gone"
        archive.hooks.append(
            lambda service, values: archive.links({"ID": "x"}, None) if service == "links" else None
        )
        (cutout,) = ask(archive)
        assert (cutout.status, cutout.reason) == ("failed", "DataLink: NotFoundFault: x")


def test_small_files_without_soda_are_cut_here():
    with serve(*images(), datalink=False) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "ok"
        np.testing.assert_array_equal(planes(cutout)[0][0], expected(archive.images[0]).data)
        assert cutout.url == "ivo://archive/a?r&1"


def test_large_files_without_soda_are_not_fetched():
    with serve(*images(), datalink=False, estsize=900_000) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "failed"
        assert "too large to be fetched whole (900 MB; at most 36)" in cutout.reason
        assert archive.count("file") == 0


# Secrets and settings


@ROUTES
def test_a_token(tap, monkeypatch, write_tile, tmp_path, caplog):
    """It opens the archive, and stands nowhere."""
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)

    def echo(service, values):
        if service == "soda" and "151.5" in values["CIRCLE"]:
            return Response(f"you sent Bearer {TOKEN}", 400)
        return None

    echoed = Image("ivo://archive/echo", "g", 151.5, 2.0)
    tile = write_tile([{"object_id": "a"}, {"object_id": "b", "ra": 151.5}])
    with serve(*images(), echoed, token=TOKEN, hooks=[echo]) as archive:
        known = settings(archive, tap, token_variable="MY_TOKEN")
        fetch(tile, tmp_path / "c.parquet", "sia", known, Network(**FAST))
        rows = pq.read_table(tmp_path / "c.parquet").to_pylist()
        assert [row["status"] for row in rows] == ["ok", "failed"]
        assert "you sent Bearer ***" in rows[1]["reason"]
        assert TOKEN.encode() not in (tmp_path / "c.parquet").read_bytes()
        assert TOKEN not in repr(rows) + caplog.text + known.to_flags() + known.operational_flags()
        with pytest.raises(ServiceError, match="credentials"):
            ask(archive, tap=tap)


def test_the_token_goes_to_no_other_host(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    with serve(*images()) as other, serve(*images(), token=TOKEN) as archive:
        soda = other.url("/soda/sync") + "?COMPRESS=no"
        (cutout,) = ask(archive, soda=soda, token_variable="MY_TOKEN")
        assert cutout.status == "ok"
        assert all("Authorization" not in request.headers for _, _, request in other.asked)


def test_a_token_that_comes_back_as_an_image_is_hidden(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    said = Response(f"SIMPLE  = Bearer {TOKEN}")
    with serve(*images(), hooks=[hook("soda", said)]) as archive:
        (cutout,) = ask(archive, token_variable="MY_TOKEN")
        assert (cutout.status, cutout.payload) == ("invalid", b"SIMPLE  = Bearer ***")


def test_a_token_that_is_not_there(monkeypatch):
    monkeypatch.delenv("GALAXYMILL_RUBIN_TOKEN", raising=False)
    with pytest.raises(UserError, match="GALAXYMILL_RUBIN_TOKEN is not set"):
        SiaService(SiaSettings(preset="rubin"), Network())


def test_presets_fill_what_is_not_given():
    rubin = SiaSettings(preset="rubin", zero_points=30)
    assert rubin.zero_points == (30,)
    assert (rubin.band_column, rubin.host) == ("lsst_band", "data.lsst.cloud")
    flags = dict(word.split("=", 1) for word in _words(rubin.to_flags()))
    assert flags["where"] == "o.dataproduct_subtype = 'lsst.deep_coadd'"
    again = SiaSettings.from_flags(_words(rubin.to_flags() + " " + rubin.operational_flags()), "x")
    assert again == rubin
    assert SiaSettings(preset="cadc", collection="CFHTMEGAPIPE").tap.endswith("/argus")


def _words(flags):
    import shlex

    return [word for word in shlex.split(flags) if word != "--set"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "server is required without a preset"),
        ({"server": "https://u:p@x.org"}, "no user or password"),
        ({"server": "https://x.org", "where": "1 = 1"}, "where needs tap"),
        ({"server": "https://x.org", "bands": "g,W1"}, "no wavelength is known for band W1"),
        ({"server": "https://x.org", "zero_points": "1,2"}, "2 numbers for 3 bands"),
        ({"server": "https://x.org", "preset": "sdss"}, "preset"),
    ],
)
def test_settings_that_cannot_be(keys, message):
    with pytest.raises(ValidationError, match=message):
        SiaSettings(**keys)

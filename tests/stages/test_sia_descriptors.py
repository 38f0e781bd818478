"""The service sia and what archives tell of themselves: descriptors, links, nothing, nonsense."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import parse
from pyvo.dal.adhoc import DatalinkResults
from werkzeug import Response

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.datalink import Cutter, read_link
from galaxymill.web.network import ServiceError

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from ivoa_server import (
    DESCRIPTOR,
    FAST,
    FREE,
    HERE,
    SCALE,
    VOTABLE,
    ask,
    expected,
    fault,
    hook,
    images,
    planes,
    serve,
    stop,
)

pytestmark = pytest.mark.usefixtures("short_waits")
ONE_BY_ONE = FAST | {"connections": 1}
DACHS = Path(__file__).parents[3] / "shared/data/reports/16-sia-soda-free-parameters/dlmeta.xml"
AWAY = Target("away", 151.0, 2.0, SCALE, 32)


@pytest.fixture(autouse=True, scope="module")
def _servers():
    yield
    stop()


def expect_pixels(cutout, archive):
    assert (cutout.status, cutout.reason) == ("ok", "")
    for plane, image in zip(planes(cutout)[0], archive.images, strict=True):
        np.testing.assert_array_equal(plane, expected(image).data)


def change(service, *swaps):
    """A hook that gives the true answer of a service with some bytes replaced."""

    def changed(archive):
        def answer(asked, values):
            if asked != service:
                return None
            true = getattr(archive, service)(values, archive.asked[-1][2])
            body = true.data
            for old, new in swaps:
                body = re.sub(old, new, body, flags=re.DOTALL)
            return Response(body, mimetype=VOTABLE)

        return answer

    return changed


def asked_of_soda(archive):
    return [values for name, values, _ in archive.asked if name == "soda"]


# Parameters of SODA


@pytest.mark.parametrize("shape", ["CIRCLE", "POS"])
def test_free_parameters_are_not_sent(shape):
    with serve(*images(), further=FREE, shape=shape, id_by_reference=True) as archive:
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)
        assert all(values.keys() == {"ID", shape, "COMPRESS"} for values in asked_of_soda(archive))


@pytest.mark.parametrize(
    ("spelled", "sent"),
    [
        ('datatype="int" value="0"', "0"),
        ('datatype="double" arraysize="2" value="0 0"', "0 0"),
        ('value="1.50" datatype="double"', "1.50"),
        ("datatype='boolean' value='false'", "false"),
        ('datatype="double" arraysize="2" xtype="interval" unit="m" value="5e-7 6.0E-7"', None),
        ('datatype="char" arraysize="*" value="a &lt; b &amp; c > d"', "a < b & c > d"),
        ('datatype="char" arraysize="*" value="" ref="content_type"', "application/fits"),
        ('datatype="int" value=""', ""),
        ('datatype="double" value="NaN"', ""),
        ('datatype="float" value="" ref="content_length"><VALUES null="-1"/></PARAM', "0"),
    ],
)
def test_what_a_descriptor_fixes_is_sent_as_it_is_spelled(spelled, sent):
    """Of numbers too, for which an empty value and zero are two things."""
    end = "" if spelled.endswith("PARAM") else "/"
    with serve(*images(), further=f'<PARAM name="fixed" {spelled}{end}>') as archive:
        fields = change(
            "links", (rb'<FIELD (?![^>]*\bID=)([^>]*)name="(\w+)"', rb'<FIELD ID="\2" \1name="\2"')
        )
        archive.hooks.append(fields(archive))
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)
        wanted = "5e-7 6.0E-7" if sent is None else sent
        assert {values.get("FIXED", "") for values in asked_of_soda(archive)} == {wanted}


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        (FREE.replace("CIRCLE", "X"), "RA, DEC, SCALE, GAMMA, SMOOTH, POLYGON, PIXEL_1, KIND"),
        ('<PARAM name="polygon" datatype="double" arraysize="*" value=""/>', "POLYGON"),
    ],
)
def test_a_service_that_takes_no_circle_is_named(offered, named):
    kept = {"shape": "SIZE", "further": offered, "estsize": 900_000}
    with serve(*images(), **kept) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == "failed"
        assert f"takes SIZE, {named} and neither CIRCLE nor POS, and the file" in cutout.reason
        assert "too large to be fetched whole (900 MB" in cutout.reason
        assert archive.count("soda") + archive.count("file") == 0
    with serve(*images(), **kept | {"estsize": 100}) as archive:
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)


@pytest.mark.parametrize(
    "standard",
    [
        "ivo://ivoa.net/std/SODA#sync",
        "ivo://ivoa.net/std/soda#sync-1.0",
        "IVO://ivoa.net/std/SODA#sync-1.1",
    ],
)
def test_names_of_the_standard(standard):
    swap = change("links", (rb"ivo://ivoa.net/std/SODA#sync-1.0", standard.encode()))
    with serve(*images()) as archive:
        archive.hooks.append(swap(archive))
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)


@pytest.mark.parametrize(
    "parameter", [b"", b'<PARAM name="ID" datatype="char" arraysize="*" value=""/>']
)
def test_an_address_that_has_a_query_keeps_it_and_gets_nothing_twice(parameter):
    """The identifier may stand there too, and not among the parameters."""
    url = b"/soda/sync?COMPRESS=no&amp;id=ivo://archive/a"
    (image,) = images("g", known_to_soda_as="ivo://archive/a")
    swaps = [(rb"/soda/sync(?=\")", url), (rb'<PARAM name="ID"[^>]*>', parameter)]
    with serve(image) as archive:
        archive.hooks.append(change("links", *swaps)(archive))
        (cutout,) = ask(archive, bands="g")
        expect_pixels(cutout, archive)
        query = archive.asked[-1][2].query_string.decode()
        assert query.count("COMPRESS") + query.lower().count("id=") == 2


def test_of_many_services_the_one_that_cuts_at_once_is_asked():
    """Beside it: a preview, one for all sorts of things, another of SODA without circles."""
    odd = [
        ("preview", "ivo://x/std/preview", "CIRCLE"),
        ("proc", "", "CIRCLE"),
        ("squares", "ivo://ivoa.net/std/SODA#sync-1.0", "SIZE"),
    ]

    def more(asked, values):
        if asked != "links":
            return None
        true = archive.links(values, None)
        described = "".join(
            DESCRIPTOR.format(
                name=name, standard=standard, url=archive.url("/nowhere"), shape=shape,
                further=FREE, identifier='value="" ref="ID"',
            )
            for name, standard, shape in odd
        )  # fmt: skip
        row = re.search(rb"<TR>(?:(?!</TR>).)*<TD>async</TD>.*?</TR>", true.data, re.DOTALL)[0]
        rows = b"".join(row.replace(b"async", name.encode()) for name, _, _ in odd)
        body = true.data.replace(b"<TABLEDATA>", b"<TABLEDATA>" + rows)
        longer = re.sub(rb'arraysize="\d+"', b'arraysize="*"', body)
        true.data = longer.replace(b"</RESOURCE>", b"</RESOURCE>" + described.encode(), 1)
        return true

    with serve(*images(), hooks=[more]) as archive:
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)


@pytest.mark.skipif(not DACHS.exists(), reason="no shared data")
def test_a_descriptor_that_dachs_wrote():
    def links(asked, values):
        if asked != "links":
            return None
        body = DACHS.read_text().replace(
            "ivo://tiny.test/~?tinysurvey/data/tiny-0001p020-image-g.fits",
            values["ID"].replace("&", "&amp;"),
        )
        return Response(
            body.replace("http://localhost:8080/tinysurvey/q/dl/dlget", archive.url("/soda/sync")),
            mimetype=VOTABLE,
        )

    def no_compress(asked, values):
        values["COMPRESS"] = "no"

    with serve(*images(), hooks=[links, no_compress]) as archive:
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)
        sent = [set(request.args) for name, _, request in archive.asked if name == "soda"]
        assert sent == [{"ID", "CIRCLE"}] * 2


@pytest.mark.skipif(not DACHS.exists(), reason="no shared data")
def test_the_same_descriptor_as_astropy_reads_it():
    """Free numbers are zero then."""
    links = DatalinkResults(parse(io.BytesIO(DACHS.read_bytes())))
    link = read_link(links, "http://x")
    assert link.cutter == Cutter("http://localhost:8080/tinysurvey/q/dl/dlget", "CIRCLE", {})
    assert link.identifier == "ivo://tiny.test/~?tinysurvey/data/tiny-0001p020-image-g.fits"


# Links and files


@pytest.mark.parametrize("tap", [True, False])
def test_a_links_service_that_is_described_comes_before_addresses(tap):
    """Though these are told to be DataLinks, and are files."""
    kept = {"datalink": False, "calls_files_links": True, "describes_links": True}
    with serve(*images(), **kept) as archive:
        (cutout,) = ask(archive, tap=tap)
        expect_pixels(cutout, archive)
        assert [archive.count(name) for name in ("links", "soda", "file")] == [2, 2, 0]


def test_a_links_service_that_does_not_know_the_dataset():
    """Then the address in the row does."""

    def unknown(asked, values):
        wrong = asked == "links" and values["ID"].startswith("ivo://archive")
        return Response("no such ID", 404) if wrong else None

    own = images()
    for image in own:
        image.link_id = f"x:{image.band}"
    with serve(*own, describes_links=True, hooks=[unknown]) as archive:
        (cutout,) = ask(archive)
        expect_pixels(cutout, archive)


def test_files_that_are_told_to_be_datalinks_are_found_out_once():
    """By their head; none is read to learn that it is no DataLink."""
    targets = [Target(f"g{i}", 150.0, 2.0, SCALE, 32) for i in range(4)]
    with serve(*images("g"), datalink=False, calls_files_links=True) as archive:
        cutouts = ask(archive, *targets, bands="g", network=ONE_BY_ONE)
        for cutout in cutouts:
            expect_pixels(cutout, archive)
        assert (archive.count("file"), archive.count("links")) == (1 + 4, 0)


# What an answer means


def cut_short(asked, values, archive):
    return Response(getattr(archive, asked)(values, archive.asked[-1][2]).data[:-20])


OUTAGES = [
    pytest.param(lambda *_: Response("no", 500), "HTTP 500", id="500"),
    pytest.param(lambda *_: fault("no disk", 200), "no disk", id="error"),
    pytest.param(cut_short, "cut short", id="cut short"),
    pytest.param(lambda *_: Response("<html>Back soon</html>"), "not a VOTable", id="page"),
    pytest.param(lambda *_: Response(""), "not a VOTable", id="nothing"),
    pytest.param(lambda *_: Response(status=204), "HTTP 204", id="204"),
    pytest.param(lambda *_: Response(b"SIMPLE  =   T"), "an image, not a table", id="image"),
    pytest.param(
        lambda *_: Response(
            b'<VOTABLE version="1.4"><RESOURCE type="results"><TABLE><FIELD name="access_url" '
            b'datatype="char" arraysize="*"/></TABLE></RESOURCE></VOTABLE>'
        ),
        "without QUERY_STATUS OK",
        id="empty without a word",
    ),
]


@pytest.mark.parametrize(("answer", "said"), OUTAGES)
def test_an_outage_of_sia2_is_no_verdict(answer, said):
    def broken(asked, values):
        return answer(asked, values, archive) if asked == "sia" else None

    with serve(*images(), hooks=[broken]) as archive:
        (cutout,) = ask(archive, tap=False)
        assert (cutout.status, cutout.payload) == ("failed", None)
        assert said in cutout.reason
        archive.hooks.clear()
        (cutout,) = ask(archive, AWAY, tap=False)
        assert (cutout.status, cutout.reason) == ("no_coverage", "no image holds this position")


@pytest.mark.parametrize(("answer", "said"), OUTAGES)
def test_an_outage_of_tap_stops_the_job(answer, said):
    def broken(asked, values):
        return answer(asked, values, archive) if asked == "tap" else None

    with serve(*images(), hooks=[broken]) as archive, pytest.raises(ServiceError, match=said):
        ask(archive)


@pytest.mark.parametrize("service", ["sia", "tap", "links", "soda"])
@pytest.mark.parametrize(("answer", "said"), [OUTAGES[2], OUTAGES[3], OUTAGES[4]])
def test_a_bad_answer_is_asked_for_again(service, answer, said):
    def once(asked, values):
        first = asked == service and archive.count(service) == 1
        return answer(asked, values, archive) if first else None

    with serve(*images(), hooks=[once]) as archive:
        (cutout,) = ask(archive, tap=service != "sia")
        expect_pixels(cutout, archive)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>Back soon</html>", "failed"), (b"", "failed"), (b"SIMPLE  = no", "invalid")],
)
def test_no_image_from_soda(body, status):
    """A page is failed; the same image twice that cannot be used is invalid."""
    with serve(*images(), hooks=[hook("soda", Response(body))]) as archive:
        (cutout,) = ask(archive)
        assert cutout.status == status
        assert archive.count("soda") == 2


@pytest.mark.parametrize("datalink", [True, False])
def test_an_image_that_does_not_reach_the_galaxy(datalink):
    """From SODA it is another place than was asked for; of a whole file it is the edge."""
    (far,) = images("g")
    far.wcs.wcs.crval = [150.5, 2.0]
    wrong = Response(far.fits(), mimetype="application/fits")
    service = "soda" if datalink else "file"
    with serve(*images("g"), datalink=datalink, hooks=[hook(service, wrong)]) as archive:
        (cutout,) = ask(archive, bands="g")
        verdict = ("invalid", "the archive has cut out another place")
        if not datalink:
            verdict = ("no_coverage", "no overlap with the image")
        assert (cutout.status, cutout.reason) == verdict


# What is nowhere


@pytest.mark.parametrize("tap", [True, False])
def test_a_collection_that_is_nowhere_stops_the_job_with_its_name(tap):
    with serve(*images()) as archive:
        with pytest.raises(ServiceError, match="no image of collection 'COADS' anywhere"):
            ask(archive, HERE, AWAY, tap=tap, collection="COADS", network=ONE_BY_ONE)
        assert archive.count("tap") + archive.count("sia") == 2


@pytest.mark.parametrize("tap", [True, False])
def test_a_collection_that_is_elsewhere_is_looked_for_once(tap):
    targets = [Target(f"g{i}", 151.0, 2.0, SCALE, 32) for i in range(3)]
    with serve(*images()) as archive:
        cutouts = ask(archive, *targets, tap=tap, collection="COADDS")
        assert [cutout.status for cutout in cutouts] == ["no_coverage"] * 3
        assert archive.count("tap") + archive.count("sia") == (1 if tap else 3) + 1


def test_an_archive_that_cannot_tell_is_believed():
    """Some refuse a query without a place."""

    def refuse(asked, values):
        return fault("POS is required") if asked == "sia" and "POS" not in values else None

    with serve(*images(), hooks=[refuse]) as archive:
        (cutout,) = ask(archive, AWAY, tap=False, collection="COADDS")
        assert cutout.status == "no_coverage"


def test_bands_that_are_not_here_are_told():
    with serve(*images("g")) as archive:
        (cutout,) = ask(archive, tap=False, bands="i,z")
        assert cutout.status == "no_coverage"
        assert cutout.reason.startswith("images of 400 to 550 nm hold this position, none of")
        (cutout,) = ask(archive, tap=False, bands="i,z", band_column="filter")
        assert cutout.reason.startswith("images of g hold this position, none of a band")

"""Service ``sia`` at an archive of SIA version 1, as NOIRLab's, on a real socket."""

import io
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.io.votable import from_table
from astropy.io.votable.tree import Info
from astropy.table import Table
from pydantic import ValidationError
from werkzeug import Response

from galaxymill.decoding.decode import read_fits
from galaxymill.surveys.base import Target
from galaxymill.surveys.services.sia import SiaService, SiaSettings
from galaxymill.web.network import Network

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from ivoa_server import SCALE, Image, expected

pytestmark = pytest.mark.usefixtures("short_waits")
TARGET = Target("g0", 150.0, 2.0, SCALE, 32)
UCDS = {
    "acref": "VOX:Image_AccessReference",
    "mime": "VOX:Image_Format",
    "ra": "POS_EQ_RA_MAIN",
    "dec": "POS_EQ_DEC_MAIN",
    "name": "VOX:Image_Title",
}


class Noirlab:
    """Its SIA1 and its cutouts, which take an encoded comma for none and send the whole brick."""

    def __init__(self, server):
        self.server, self.asked = server, []
        self.images = [Image(f"DES-{band}", band, 150.0, 2.0) for band in "gr"]
        self.types = {"g": ("image", "Stack"), "r": ("image", "Stack")}
        server.expect_request("/sia/des_dr2").respond_with_handler(self.search)
        server.expect_request("/svc/cutout").respond_with_handler(self.cutout)

    def search(self, request):
        self.asked.append(request)
        (place,) = parse_qs(request.query_string.decode())["POS"]
        size = request.args["SIZE"]
        rows = [self._row(image, f"POS={place}&SIZE={size}") for image in self.images]
        ra, dec = map(float, place.split(","))
        kept = [row for image, row in zip(self.images, rows, strict=True) if image.holds(ra, dec)]
        weight = {**rows[0], "prodtype": "wtmap", "acref": "http://127.0.0.1:1/weights"}
        exposure = {**rows[0], "proctype": "InstCal", "acref": "http://127.0.0.1:1/exposure"}
        listed = [weight, exposure, *kept] if kept else []
        table = Table({name: [row[name] for row in listed] for name in rows[0]})
        document = from_table(table)
        for column in document.get_first_table().fields:
            column.ucd = UCDS.get(column.name)
        document.resources[0].infos.append(Info(name="QUERY_STATUS", value="OK"))
        file = io.BytesIO()
        document.to_xml(file)
        return Response(file.getvalue(), 200, content_type="text/xml")

    def _row(self, image, region):
        url = f"{self.server.url_for('/svc/cutout')}?col=des_dr2&siaRef={image.did}&{region}"
        product, process = self.types[image.band]
        return {
            "acref": url,
            "mime": "image/fits",
            "ra": image.ra,
            "dec": image.dec,
            "name": image.did,
            "obs_bandpass": f"{image.band} DECam SDSS c0001 4720.0 1520.0",
            "prodtype": product,
            "proctype": process,
        }

    def cutout(self, request):
        self.asked.append(request)
        image = next(one for one in self.images if one.did == request.args["siaRef"])
        if b"," not in request.query_string:
            return Response(image.fits(), 200)
        ra, dec = map(float, request.args["POS"].split(","))
        radius = float(request.args["SIZE"].split(",")[0]) / 2
        return Response(image.fits(ra, dec, radius), 200)


@pytest.fixture
def archive(server):
    return Noirlab(server)


def settings(archive, **keys):
    plain = {"preset": "noirlab", "server": archive.server.url_for("/sia/des_dr2")}
    plain |= {"bands": ("g", "r"), "size": 32, "pixel_scale": SCALE, "zero_points": (22.5,)}
    return SiaSettings(**{**plain, **keys})


def ask(archive, *targets, **keys):
    network = Network(requests_per_second=1000, attempts=2, connections=4)
    service = SiaService(settings(archive, **keys), network)
    try:
        return {cutout.target.object_id: cutout for cutout in service.fetch(targets)}
    finally:
        service.close()


def test_a_galaxy_is_one_query_and_a_cutout_a_band(archive):
    cutout = ask(archive, TARGET)["g0"]
    assert (cutout.status, cutout.reason) == ("ok", "")
    assert [urlsplit(request.url).path for request in archive.asked] == [
        "/sia/des_dr2",
        "/svc/cutout",
        "/svc/cutout",
    ]
    assert settings(archive).requests(10) == 30
    made = read_fits(cutout.payload)
    assert list(made.planes) == ["g", "r"]
    for image in archive.images:
        np.testing.assert_array_equal(made.planes[image.band], expected(image, TARGET).data)


def test_only_as_much_as_is_needed_is_fetched(archive):
    ask(archive, TARGET)
    assert all(b"," in request.query_string for request in archive.asked)
    (size,) = {request.args["SIZE"] for request in archive.asked}
    width_deg = float(size.split(",")[0])
    assert 32 * SCALE / 3600 < width_deg < 60 * SCALE / 3600


def test_off_the_survey_is_no_coverage(archive):
    cutout = ask(archive, Target("far", 10.0, 2.0, SCALE, 32))["far"]
    assert (cutout.status, cutout.payload) == ("no_coverage", None)


def test_a_band_that_is_not_there_makes_it_partial(archive):
    cutout = ask(archive, TARGET, bands=("g", "z"))["g0"]
    assert (cutout.status, cutout.reason) == ("partial", "no band z")


def test_fluxes_are_nanomaggies(archive):
    plain = read_fits(ask(archive, TARGET)["g0"].payload).planes["g"]
    des = read_fits(ask(archive, TARGET, zero_points=(30.0,))["g0"].payload).planes["g"]
    np.testing.assert_allclose(des, plain * 10 ** (0.4 * (22.5 - 30)), rtol=1e-5)
    assert SiaSettings(preset="noirlab").zero_points == (30.0,)


def test_a_column_that_is_not_there_is_named(archive):
    cutout = ask(archive, TARGET, band_column="filter")["g0"]
    assert cutout.status == "failed"
    assert "no column filter" in cutout.reason
    assert "obs_bandpass" in cutout.reason


@pytest.mark.parametrize(
    "wrong", [{"tap": "https://x.org/tap"}, {"calib_level": 3}, {"band_column": ""}]
)
def test_what_sia1_does_not_know_is_refused(archive, wrong):
    with pytest.raises(ValidationError, match="protocol sia1"):
        settings(archive, **wrong)

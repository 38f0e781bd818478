"""A small IVOA archive on a real socket: SIA 2.0, TAP 1.1 with uploads, DataLink 1.1, SODA 1.0.

ADQL runs in SQLite; cutouts are made by `astropy.nddata.Cutout2D`. At the end, how tests ask it.
"""

import io
import re
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote
from xml.sax.saxutils import escape

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import from_table, parse_single_table
from astropy.io.votable.tree import Info
from astropy.nddata import Cutout2D
from astropy.nddata.utils import NoOverlapError
from astropy.table import Table
from astropy.wcs import WCS
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from galaxymill.surveys.base import Target
from galaxymill.surveys.services.sia import SiaService, SiaSettings
from galaxymill.web.network import Network

SCALE = 0.2
VOTABLE = "application/x-votable+xml"
EDGES = {"g": (400e-9, 550e-9), "r": (550e-9, 690e-9), "i": (690e-9, 820e-9)}

DESCRIPTOR = """
<RESOURCE type="meta" ID="{name}" utype="adhoc:service">
  <PARAM name="standardID" datatype="char" arraysize="*" value="{standard}"/>
  <PARAM name="accessURL" datatype="char" arraysize="*" value="{url}"/>
  <GROUP name="inputParams">
    <PARAM name="ID" datatype="char" arraysize="*" {identifier}/>
    <PARAM name="{shape}" datatype="char" arraysize="*" value=""/>
    <PARAM name="COMPRESS" datatype="char" arraysize="*" value="no"/>
    {further}
  </GROUP>
</RESOURCE>
"""

FREE = """
<PARAM arraysize="2" datatype="double" name="RA" unit="deg" ucd="pos.eq.ra" value=""
  xtype="interval"><VALUES><MIN value="149.9"/><MAX value="150.1"/></VALUES></PARAM>
<PARAM arraysize="2" datatype="double" name="DEC" unit="deg" ucd="pos.eq.dec" value=""
  xtype="interval"><VALUES><MIN value="1.9"/><MAX value="2.1"/></VALUES></PARAM>
<PARAM datatype="int" name="SCALE" value=""><VALUES><MIN value="2"/></VALUES></PARAM>
<PARAM datatype="float" name="GAMMA" value=""/>
<PARAM datatype="boolean" name="SMOOTH" value=""/>
<PARAM arraysize="*" datatype="double" name="POLYGON" unit="deg" value="" xtype="polygon">
  <VALUES><MAX value="149 1 151 1 151 3 149 3"/></VALUES></PARAM>
<PARAM arraysize="2" datatype="int" name="PIXEL_1" value="" xtype="interval"/>
<PARAM arraysize="*" datatype="char" name="KIND" value="">
  <VALUES><OPTION name="all" value="DATA"/><OPTION value="HEADER"/></VALUES></PARAM>
"""
"""Free parameters, as DaCHS lists them in its descriptors of SODA."""


@dataclass
class Image:
    """One image of the archive."""

    did: str
    band: str
    ra: float
    dec: float
    width: int = 200
    collection: str = "COADDS"
    level: int = 3
    known_to_soda_as: str = ""
    link_id: str = ""
    soda: str = "/soda/sync"

    def __post_init__(self):
        seed = sum(self.did.encode())
        shape = (self.width, self.width)
        self.data = np.random.default_rng(seed).normal(1, 0.1, shape).astype(np.float32)
        self.wcs = WCS(naxis=2)
        self.wcs.pixel_shape = shape
        self.wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        self.wcs.wcs.crval = [self.ra, self.dec]
        self.wcs.wcs.crpix = [(self.width + 1) / 2] * 2
        self.wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
        self.known_to_soda_as = self.known_to_soda_as or self.did
        self.link_id = self.link_id or self.did

    @property
    def region(self):
        return " ".join(f"{value:.9f}" for value in self.wcs.calc_footprint().ravel())

    def holds(self, ra, dec):
        x, y = self.wcs.all_world2pix(ra, dec, 0)
        return bool(
            max(abs(x - (self.width - 1) / 2), abs(y - (self.width - 1) / 2)) < self.width / 2
        )

    def fits(self, ra=None, dec=None, radius_deg=None):
        """The image, or what a circle on the sky covers of it; None when it covers nothing."""
        data, wcs = self.data, self.wcs
        if radius_deg is not None:
            side = int(np.ceil(2 * radius_deg * 3600 / SCALE))
            try:
                part = Cutout2D(data, SkyCoord(ra, dec, unit="deg"), side, wcs, mode="trim")
            except NoOverlapError:
                return None
            data, wcs = part.data, part.wcs
        data = data.copy()  # astropy swaps its bytes in place while it writes
        mask = fits.ImageHDU(np.zeros(data.shape, np.int32), wcs.to_header(), name="MASK")
        image = fits.ImageHDU(data, wcs.to_header(), name="IMAGE")
        file = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), image, mask]).writeto(file)
        return file.getvalue()


@dataclass
class Archive:
    """What it holds and how it behaves.

    ``hooks`` are asked first: given the service's name and the parameters, they answer or not.
    ``further`` parameters stand in SODA's descriptor; of them, only ``sent`` are taken.
    """

    server: HTTPServer
    images: list[Image]
    token: str = ""
    maxrec: int = 100_000
    shape: str = "CIRCLE"
    further: str = ""
    sent: set = field(default_factory=set)
    datalink: bool = True
    calls_files_links: bool = False
    id_by_reference: bool = False
    describes_links: bool = False
    estsize: int = 10
    hooks: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def url(self, path):
        return self.server.url_for(path)

    def count(self, service):
        return sum(name == service for name, _, _ in self.asked)

    def handler(self, service, work):
        def handle(request: Request):
            values = {k.upper(): v for k, v in request.values.items()}
            self.asked.append((service, values, request))
            if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
                return Response("AuthenticationRequired: who are you?", 401)
            for hook in self.hooks:
                answer = hook(service, values)
                if answer is not None:
                    return answer
            return work(values, request)

        return handle

    # The services

    def sia(self, values, request):
        shape, ra, dec, _ = values.get("POS", "ALL 0 0 0").split()
        assert (shape, values["DPTYPE"]) in (("CIRCLE", "image"), ("ALL", "image"))
        rows = [
            self.row(image)
            for image in self.images
            if (shape == "ALL" or image.holds(float(ra), float(dec)))
            and values.get("COLLECTION", image.collection) == image.collection
            and int(values.get("CALIB", image.level)) == image.level
        ]
        return self.table(rows, self.columns(), int(values.get("MAXREC", 1000)), self.descriptor())

    def tap(self, values, request):
        assert (values["REQUEST"], values["LANG"]) == ("doQuery", "ADQL")
        base = sqlite3.connect(":memory:")
        base.create_function("POINT", 3, lambda frame, ra, dec: f"{ra!r} {dec!r}")
        base.create_function("CONTAINS", 2, _contains)
        if "UPLOAD" in values:
            name, _, part = values["UPLOAD"].partition(",param:")
            table = parse_single_table(request.files[part].stream).to_table()
            self._load(base, "TAP_UPLOAD", name, table.colnames, map(tuple, table.iterrows()))
        rows = [tuple(self.row(image).values()) for image in self.images]
        self._load(base, "ivoa", "ObsCore", self.columns(), rows)
        try:
            query = re.sub(r"^SELECT TOP 1 (.*)$", r"SELECT \1 LIMIT 1", values["QUERY"])
            cursor = base.execute(query)
        except sqlite3.Error as error:
            return fault(f"cannot run the query: {error}")
        columns = [column[0] for column in cursor.description]
        found = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        return self.table(found, columns, int(values.get("MAXREC", 1000)), self.descriptor())

    def links(self, values, request):
        image = next((one for one in self.images if one.link_id == values["ID"]), None)
        columns = "ID access_url service_def error_message semantics content_type content_length"
        if image is None:
            row = [values["ID"], "", "", f"NotFoundFault: {values['ID']}", "#this", "", 0]
            return self.table([dict(zip(columns.split(), row, strict=True))], columns.split(), 9)
        file = self.url(f"/file/{quote(image.did, safe='')}") + "?X-Signature=s3cret"
        kilobytes = self.estsize
        rows = [
            [image.link_id, file, "", "", "#this", "application/fits", kilobytes * 1000],
            [image.link_id, "", "async", "", "#cutout", "", 0],
            [image.link_id, "", "cut", "", "#cutout", "application/fits", 0],
        ][: 3 if image.soda else 1]
        table = [dict(zip(columns.split(), row, strict=True)) for row in rows]
        fixed = f'value="{escape(image.known_to_soda_as)}"'
        extra = "".join(
            DESCRIPTOR.format(
                name=name,
                standard=f"ivo://ivoa.net/std/SODA#{kind}-1.0",
                url=self.url(url),
                shape=self.shape,
                further=self.further,
                identifier='value="" ref="ID"' if self.id_by_reference else fixed,
            )
            for name, kind, url in (("async", "async", "/async"), ("cut", "sync", image.soda))
            if image.soda
        )
        return self.table(table, columns.split(), 9, extra)

    def soda(self, values, request):
        assert values["COMPRESS"] == "no"
        odd = values.keys() - {"ID", "COMPRESS", "FIXED", self.shape} - self.sent
        if odd:
            return Response(f"UsageFault: {sorted(odd)}", 422)
        image = next((one for one in self.images if one.known_to_soda_as == values["ID"]), None)
        if image is None or request.path != image.soda.partition("?")[0]:
            return Response(f"NotFoundFault: {values['ID']}", 404)
        circle = values.get(self.shape, "")
        words = circle.split()[1:] if self.shape == "POS" else circle.split()
        if len(words) != 3:
            return Response("UsageFault: no circle", 422)
        payload = image.fits(*map(float, words))
        return Response(payload, mimetype="application/fits") if payload else Response(status=204)

    def file(self, values, request):
        did = request.path.removeprefix("/file/")
        image = next(one for one in self.images if one.did == did)
        return Response(image.fits(), mimetype="application/fits")

    # Their answers

    def descriptor(self):
        """Of the DataLink service, beside a list of images."""
        links = {
            "name": "links",
            "standard": "ivo://ivoa.net/std/DataLink#links-1.1",
            "url": self.url("/links"),
            "shape": "RESPONSEFORMAT",
            "further": "",
            "identifier": 'value="" ref="obs_publisher_did"',
        }
        return DESCRIPTOR.format(**links) if self.describes_links else ""

    def columns(self):
        return list(self.row(self.images[0]))

    def row(self, image):
        link = self.url("/links") + f"?ID={quote(image.link_id, safe='')}"
        file = self.url(f"/file/{quote(image.did, safe='')}")
        told = self.datalink or self.calls_files_links
        return {
            "dataproduct_type": "image",
            "calib_level": image.level,
            "obs_collection": image.collection,
            "obs_publisher_did": image.did,
            "access_url": link if self.datalink else file,
            "access_format": f"{VOTABLE};content=datalink" if told else "image/fits",
            "access_estsize": self.estsize,
            "s_ra": image.ra,
            "s_dec": image.dec,
            "s_region": f"POLYGON ICRS {image.region}",
            "em_min": EDGES[image.band][0],
            "em_max": EDGES[image.band][1],
            "filter": image.band,
        }

    def table(self, rows, columns, maxrec, extra=""):
        most = min(maxrec, self.maxrec)
        kept = rows[:most]
        table = Table(
            {name: [row[name] for row in kept] for name in columns},
            dtype=None if kept else ["U8"] * len(columns),
        )
        votable = from_table(table)
        resource = votable.resources[0]
        resource.infos.append(Info(name="QUERY_STATUS", value="OK"))
        resource.tables[0].fields[0].ID = columns[0]
        file = io.BytesIO()
        # The writer in C of astropy 8.0.2 spoils its heap at rows that just fill its buffer.
        votable.to_xml(file, _debug_python_based_parser=True)
        body = file.getvalue().decode()
        if len(rows) > most:
            info = '<INFO name="QUERY_STATUS" value="OVERFLOW"/></RESOURCE>'
            body = body.replace("</RESOURCE>", info, 1)
        body = body.replace("</VOTABLE>", f"{extra}</VOTABLE>")
        return Response(body, mimetype=VOTABLE)

    @staticmethod
    def _load(base, schema, name, columns, rows):
        base.execute(f"ATTACH ':memory:' AS {schema}")
        base.execute(f"CREATE TABLE {schema}.{name} ({', '.join(columns)})")
        marks = ", ".join("?" * len(columns))
        plain = [tuple(v.item() if hasattr(v, "item") else v for v in row) for row in rows]
        base.executemany(f"INSERT INTO {schema}.{name} VALUES ({marks})", plain)


def _contains(point, region):
    """Whether a point lies in a convex polygon: on the same side of all its edges."""
    ra, dec = map(float, point.split())
    corners = np.array(region.split()[2:], float).reshape(-1, 2)
    x = (corners[:, 0] - ra) * np.cos(np.radians(dec))
    y = corners[:, 1] - dec
    cross = x * np.roll(y, -1) - y * np.roll(x, -1)
    return int((cross > 0).all() or (cross < 0).all())


def fault(message, status=400):
    """A DALI error document."""
    body = (
        '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">{escape(message)}'
        "</INFO></RESOURCE></VOTABLE>"
    )
    return Response(body, status, mimetype=VOTABLE)


def hook(service, *responses):
    def answer(asked, values):
        return responses[0] if asked == service else None

    return answer


_idle: list[HTTPServer] = []


@contextmanager
def serve(*images, **behaviour):
    """Run an archive with these images."""
    server = _idle.pop() if _idle else HTTPServer(threaded=True)
    if not server.is_running():
        server.start()
    archive = Archive(server, list(images), **behaviour)
    for path, name in (
        ("/sia/query", "sia"),
        ("/tap/sync", "tap"),
        ("/links", "links"),
        (re.compile("^/soda/"), "soda"),
        (re.compile("^/file/"), "file"),
    ):
        handler = archive.handler(name, getattr(archive, name))
        server.expect_request(path).respond_with_handler(handler)
    yield archive
    server.clear()
    _idle.append(server)


def stop():
    """Stop the servers: they serve one test after the other, as stopping takes a while."""
    while _idle:
        _idle.pop().stop()


# Asking it

FAST = {"requests_per_second": 1000, "timeout_s": 5, "attempts": 2, "connections": 4}
HERE = Target("g0", 150.0, 2.0, SCALE, 32)


def images(bands="gr", **keys):
    """Coadds whose centres are 1 arcsec south of the galaxy."""
    return [Image(f"ivo://archive/a?{b}&1", b, 150.0, 2.0 - 1 / 3600, **keys) for b in bands]


def settings(archive, tap=True, **keys):
    plain = {"server": archive.url("/sia/query"), "size": 32, "pixel_scale": SCALE, "bands": "g,r"}
    if tap:
        plain["tap"] = archive.url("/tap")
    return SiaSettings(**{**plain, **keys})


def ask(archive, *targets, tap=True, network=FAST, **keys):
    service = SiaService(settings(archive, tap, **keys), Network(**network))
    try:
        return list(service.fetch(targets or [HERE]))
    finally:
        service.close()


def expected(image, target=HERE, size=32):
    place = SkyCoord(target.ra, target.dec, unit="deg")
    return Cutout2D(image.data, place, size, image.wcs, mode="partial", fill_value=np.nan)


def planes(cutout):
    with fits.open(io.BytesIO(cutout.payload)) as hdus:
        return hdus[0].data, hdus[0].header

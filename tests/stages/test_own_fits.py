"""The service ``files`` on FITS files of every usual form: pixels are those that astropy reads."""

import bz2
import gzip
import io
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.decoding.decode import read_fits
from galaxymill.errors import UserError
from galaxymill.surveys.base import Target
from galaxymill.surveys.services.files import FilesService, FilesSettings

SIDE = 24
FLUX = np.random.default_rng(5).normal(0.1, 1, (3, SIDE, SIDE)).astype(np.float32)
COUNTS = np.random.default_rng(6).integers(0, 30_000, (SIDE, SIDE)).astype(np.int16)
NAN = float("nan")


def place(ra=150.0, dec=2.0, scale=0.3):
    """Cards of a WCS whose middle pixel lies at (ra, dec)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(SIDE + 1) / 2] * 2
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    return wcs.to_header()


def header(cards=None, **more):
    return fits.Header({**dict(place() if cards is None else cards), **more})


def primary(data=None, **cards):
    return fits.PrimaryHDU(data, None if data is None else header(**cards))


def extension(data, name=None, **cards):
    return fits.ImageHDU(data, header(**cards), name=name)


def packed(data, kind="RICE_1", name=None, **cards):
    options = {"tile_shape": (SIDE, SIDE)} if kind == "HCOMPRESS_1" else {}
    return fits.CompImageHDU(data, header(**cards), name, compression_type=kind, **options)


def table():
    return fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="CAT")


def as_bytes(*hdus):
    file = io.BytesIO()
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *hdus]).writeto(file)
    return file.getvalue()


def card(keyword, number):
    return f"{keyword:<8}= {number:>20}".encode()


def by_astropy(payload):
    """Every image plane of a file as astropy reads it, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(payload)) as hdus:
            images = [hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None]
    return [np.float32(p) for image in images for p in image.reshape(-1, *image.shape[-2:])]


def fetch(folder, target=None, **settings):
    settings = {name: tuple(v) if name == "bands" else v for name, v in settings.items()}
    service = FilesService(FilesSettings(folder=str(folder), **settings))
    (cutout,) = service.fetch([target or Target("g", NAN, NAN, 0.262, 256, "a.fits")])
    service.close()
    return cutout


def cut(tmp_path, payload, bands, **settings):
    (tmp_path / "a.fits").write_bytes(payload)
    return fetch(tmp_path, bands=bands, **settings)


GRZ = as_bytes(primary(FLUX, BAND0="g", BAND1="r", BAND2="z"))
PER_BAND = [extension(plane, name) for plane, name in zip(FLUX, "GRZ", strict=True)]
SUBIMAGE = [
    fits.ImageHDU(plane * (1 if kind == "image" else 1000), header(BAND=band, IMAGETYP=kind))
    for plane, band in zip(FLUX, "grz", strict=True)
    for kind in ("image", "invvar")
]
BLANKED = fits.PrimaryHDU(COUNTS, header(BLANK=int(COUNTS[3, 4])))
KINDS = {
    "gzip": (gzip.compress(GRZ, mtime=0), "grz", GRZ, [0, 1, 2]),
    "gzip in two members": (
        gzip.compress(GRZ[:5000], mtime=0) + gzip.compress(GRZ[5000:], mtime=0),
        "grz",
        GRZ,
        [0, 1, 2],
    ),
    "bzip2": (bz2.compress(GRZ), "grz", GRZ, [0, 1, 2]),
    "no names": (as_bytes(primary(FLUX)), "grz", None, [0, 1, 2]),
    "no names, one band": (as_bytes(primary(FLUX[0])), "r", None, [0]),
    "upper case": (as_bytes(primary(FLUX, BANDS="GRZ")), "grz", None, [0, 1, 2]),
    "upper case, other order": (as_bytes(primary(FLUX, BANDS="ZRG")), "grz", None, [2, 1, 0]),
    "counted from 1": (
        as_bytes(primary(FLUX, BAND1="z", BAND2="r", BAND3="g")),
        "grz",
        None,
        [2, 1, 0],
    ),
    "FILTER": (as_bytes(primary(FLUX[1], FILTER="R")), "r", None, [0]),
    "FILTER of DECam": (
        as_bytes(primary(FLUX[1], FILTER="r DECam SDSS c0002 6415.0 1480.0")),
        "r",
        None,
        [0],
    ),
    "FILTER of MegaCam": (as_bytes(primary(FLUX[1], FILTER="i.MP9702")), "i", None, [0]),
    "FILTER of SDSS": (as_bytes(primary(FLUX[1], FILTER="SDSS r")), "r", None, [0]),
    "FILTER of HSC": (as_bytes(primary(FLUX[1], FILTER="HSC-R")), "r", None, [0]),
    "a FILTER a plane": (
        as_bytes(primary(FLUX, FILTER1="z", FILTER2="r", FILTER3="g")),
        "grz",
        None,
        [2, 1, 0],
    ),
    "BANDS of words": (as_bytes(primary(FLUX, BANDS="Z, G, R")), "grz", None, [1, 2, 0]),
    "SCI_G, ERR_G, PSF_G, ...": (
        as_bytes(
            *[
                extension(plane * scale, f"{kind}_{band}")
                for plane, band in zip(FLUX, "GRZ", strict=True)
                for kind, scale in {"SCI": 1, "ERR": 2, "PSF": 3}.items()
            ]
        ),
        "grz",
        None,
        [0, 3, 6],
    ),
    "four axes": (as_bytes(primary(FLUX[1][None, None], BAND0="r")), "r", None, [0]),
    "four axes, no name": (as_bytes(primary(FLUX[1][None, None])), "r", None, [0]),
    "four axes, three bands": (as_bytes(primary(FLUX[:, None])), "grz", None, [0, 1, 2]),
    "a third axis of 1": (as_bytes(extension(FLUX[2][None], "SCI")), "z", None, [0]),
    "SCI": (as_bytes(extension(FLUX[0], "SCI")), "r", None, [0]),
    "SCI, ERR, DQ": (
        as_bytes(*[extension(FLUX[0] + n, name) for n, name in enumerate(["SCI", "ERR", "DQ"])]),
        "r",
        None,
        [0],
    ),
    "WHT before SCI": (
        as_bytes(extension(FLUX[2], "WHT"), extension(FLUX[0], "SCI")),
        "r",
        None,
        [1],
    ),
    "filter in the primary header": (
        as_bytes(fits.PrimaryHDU(None, fits.Header({"FILTER": "r"})), extension(FLUX[0], "SCI")),
        "r",
        None,
        [0],
    ),
    "cube in an extension": (
        as_bytes(table(), extension(FLUX, "IMAGES", BANDS="grz")),
        "grz",
        None,
        [0, 1, 2],
    ),
    "an extension a band": (as_bytes(*PER_BAND), "grz", None, [0, 1, 2]),
    "an extension a band, other order": (as_bytes(*PER_BAND[::-1]), "grz", None, [2, 1, 0]),
    "an extension a band, no names": (as_bytes(*map(extension, FLUX)), "grz", None, [0, 1, 2]),
    "an extension a band, the first in the primary": (
        as_bytes(
            primary(FLUX[0], FILTER="g"),
            *[extension(p, FILTER=b) for p, b in zip(FLUX[1:], "rz", strict=True)],
        ),
        "grz",
        None,
        [0, 1, 2],
    ),
    "subimage": (as_bytes(*SUBIMAGE), "grz", None, [0, 2, 4]),
    "subimage, from the primary": (
        as_bytes(fits.PrimaryHDU(SUBIMAGE[0].data, SUBIMAGE[0].header), *SUBIMAGE[1:]),
        "grz",
        None,
        [0, 2, 4],
    ),
    "primary beside others": (
        as_bytes(primary(FLUX[0]), extension(FLUX[1], "MODEL")),
        "r",
        None,
        [0],
    ),
    **{
        f"fpacked {kind}": (as_bytes(packed(FLUX[0], kind)), "r", None, [0])
        for kind in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1")
    },
    **{
        f"fpacked whole numbers {kind}": (as_bytes(packed(COUNTS, kind)), "r", None, [0])
        for kind in ("RICE_1", "GZIP_2", "HCOMPRESS_1")
    },
    "fpacked cube": (as_bytes(packed(FLUX, BANDS="grz")), "grz", None, [0, 1, 2]),
    "fpacked, an extension a band": (
        as_bytes(*[packed(p, name=n) for p, n in zip(FLUX, "grz", strict=True)]),
        "grz",
        None,
        [0, 1, 2],
    ),
    "fpacked and gzipped": (
        gzip.compress(as_bytes(packed(FLUX[0])), mtime=0),
        "r",
        as_bytes(packed(FLUX[0])),
        [0],
    ),
    "real numbers of 64 bits": (as_bytes(primary(FLUX.astype(np.float64))), "grz", None, [0, 1, 2]),
    "bytes": (as_bytes(primary((COUNTS % 200).astype(np.uint8))), "r", None, [0]),
    "whole numbers of 16 bits": (as_bytes(primary(COUNTS)), "r", None, [0]),
    "unsigned": (as_bytes(primary(COUNTS.astype(np.uint16) + 30_000)), "r", None, [0]),
    "whole numbers of 64 bits": (as_bytes(primary(COUNTS.astype(np.int64) << 30)), "r", None, [0]),
    "BLANK": (as_bytes(BLANKED), "r", None, [0]),
    "no padding at the end": (
        as_bytes(primary(FLUX))[: 2880 + FLUX.nbytes],
        "grz",
        as_bytes(primary(FLUX)),
        [0, 1, 2],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_astropy(tmp_path, kind):
    payload, bands, plain, order = KINDS[kind]
    cutout = cut(tmp_path, payload, bands)
    assert (cutout.status, cutout.reason) == ("ok", "")
    expected = by_astropy(plain or payload)
    found = read_fits(cutout.payload)
    assert sorted(found.planes) == sorted(bands)
    for band, index in zip(bands, order, strict=True):
        np.testing.assert_array_equal(found.planes[band], expected[index])
    assert found.centre == pytest.approx((150, 2), abs=1e-9)
    assert found.pixel_scale == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["r", "SCI"])
def test_scaled_whole_numbers(tmp_path, name):
    """Stored with BSCALE and BZERO, in a cutout that stays as it is and in an extension."""
    hdu = primary(FLUX[0].copy(), BAND0="r") if name == "r" else extension(FLUX[0].copy(), name)
    hdu.scale("int16", bscale=0.001, bzero=0.5)
    payload = as_bytes(hdu)
    (expected,) = by_astropy(payload)
    np.testing.assert_allclose(expected, FLUX[0], atol=0.001)
    found = read_fits(cut(tmp_path, payload, "r").payload)
    np.testing.assert_allclose(found.planes["r"], expected, atol=1e-7)


@pytest.mark.parametrize("text", ["Müller", "E. Gonz\xe1lez", "\xff\xa0"])
@pytest.mark.parametrize("where", ["comment", "value"])
def test_bytes_beyond_ascii_in_a_header(tmp_path, text, where):
    """A plain cutout stays as it is; an extension is read by astropy, which reads them as ?."""
    told = "'x'" if where == "comment" else f"'{text}'"
    card = f"OBSERVER= {told:<20} / {text}".ljust(80).encode("latin-1")
    for payload in (GRZ, as_bytes(extension(FLUX[0], "SCI", OBSERVER="z" * 8))):
        end = payload.rindex(b"END" + b" " * 77)
        changed = payload[:end] + card + b"END" + b" " * 77 + payload[end + 160 :]
        cutout = cut(tmp_path, changed, "grz" if payload is GRZ else "r")
        assert (cutout.status, cutout.reason) == ("ok", "")
        first = next(iter(read_fits(cutout.payload).planes.values()))
        np.testing.assert_array_equal(first, FLUX[0])


def test_a_file_that_is_a_cutout_stays_as_it_is(tmp_path):
    cutout = cut(tmp_path, GRZ, "grz")
    assert (cutout.payload, cutout.url) == (GRZ, "file:a.fits")
    assert cut(tmp_path, gzip.compress(GRZ, mtime=0), "grz").payload == GRZ
    assert cut(tmp_path, GRZ, "gr").payload == GRZ


@pytest.mark.parametrize("datasum", ["", None, "0"])
def test_datasum(tmp_path, datasum):
    """An empty one says that there is none; a wrong one refuses, in every HDU."""
    for first in (primary(FLUX, BANDS="grz"), primary(FLUX)):
        cards = {} if datasum is None else {"DATASUM": datasum}
        first.header.update(cards)
        cutout = cut(tmp_path, as_bytes(first), "grz")
        assert cutout.status == ("invalid" if datasum == "0" else "ok"), cutout.reason
        assert ("DATASUM" in cutout.reason) == (datasum == "0")
    hdu = extension(FLUX[0], "SCI")
    if datasum is None:
        hdu.add_datasum()
    else:
        hdu.header["DATASUM"] = datasum
    cutout = cut(tmp_path, as_bytes(hdu), "r")
    assert cutout.status == ("invalid" if datasum == "0" else "ok")


REFUSED = {
    "other names": (
        as_bytes(primary(FLUX, BAND0="u", BAND1="v", BAND2="w")),
        "bands in the file: u, v, w; the config asks for g, r, z: give cutouts.bands as the file "
        "names them, or naming: order, or the hdu",
    ),
    "too many planes": (
        as_bytes(primary(FLUX[[0, 1, 2, 2]])),
        "4 planes without names (HDUs: 0 (4×24×24)), but the config asks for g, r, z",
    ),
    "one plane": (as_bytes(primary(FLUX[0])), "1 planes without names"),
    "another filter": (as_bytes(primary(FLUX[0], FILTER="u")), "bands in the file: u;"),
    "H alpha": (as_bytes(primary(FLUX[0], FILTER="H alpha")), "bands in the file: H alpha;"),
    "only a table": (as_bytes(table()), "no image; the file holds 0 (no data), 1 CAT (bintable)"),
    "no data": (as_bytes(fits.PrimaryHDU()), "no image; the file holds 0 (no data)"),
    "only weights": (
        as_bytes(extension(FLUX[0], "WHT")),
        "no image; the file holds 0 (no data), 1 WHT (24×24)",
    ),
    "a band twice": (
        as_bytes(
            extension(FLUX[0], FILTER="g"),
            extension(FLUX[1], FILTER="g"),
            extension(FLUX[2], FILTER="z"),
        ),
        "it is not clear which plane is band g: in the file are g, g, z",
    ),
    "names that contradict": (as_bytes(primary(FLUX, BAND0="g", BAND1="r")), "names bands"),
    "other sizes": (
        as_bytes(
            extension(FLUX[0], "g"), extension(FLUX[1][:20, :20], "r"), extension(FLUX[2], "z")
        ),
        "band r is 20×20 pixels, but g 24×24",
    ),
    "other pixels": (
        as_bytes(
            extension(FLUX[0], "g"),
            extension(FLUX[1], "r", cards=place(150.001)),
            extension(FLUX[2], "z"),
        ),
        "band r lies on other pixels than g, 12.0 pixels apart",
    ),
    "another scale": (
        as_bytes(
            extension(FLUX[0], "g"),
            extension(FLUX[1], "r", cards=place(scale=0.4)),
            extension(FLUX[2], "z"),
        ),
        "band r lies on other pixels than g",
    ),
    "cut gzip": (gzip.compress(GRZ, mtime=0)[:-20], "the gzip file ends too early"),
    "damaged gzip": (b"\x1f\x8bnonsense", "a damaged gzip file"),
    "zip": (b"PK\x03\x04" + b"\0" * 99, "a zip file: unpack it"),
    "xz": (b"\xfd7zXZ\0" + b"\0" * 99, "a xz file: unpack it"),
    "bomb": (gzip.compress(bytes(40_000_000), mtime=0), "unpacked, the file is longer than 36 MB"),
    "cut": (as_bytes(*PER_BAND)[:-2000], "FITS data end too early"),
    "cut in the last header": (
        as_bytes(*PER_BAND)[:-3000],
        "FITS data do not end where the header says",
    ),
    "a side that does not fit the data": (
        as_bytes(primary(FLUX)).replace(card("NAXIS1", 24), card("NAXIS1", 23)),
        "do not end where the header says",
    ),
    "damaged trailer": (as_bytes(primary(FLUX)) + b"x" * 80, "do not end where the header says"),
    "a cube of spectra": (
        as_bytes(primary(np.zeros((40, 8, 8), np.float32))),
        "40 planes without names",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_what_there_is(tmp_path, kind):
    payload, told = REFUSED[kind]
    cutout = cut(tmp_path, payload, "H" if kind == "H alpha" else "grz")
    assert cutout.status == "invalid"
    assert told in cutout.reason
    assert cutout.payload


def test_too_many_pixels_are_refused_before_memory_is_taken(tmp_path):
    payload = as_bytes(packed(np.zeros((3000, 3100), np.int16), "RICE_1"))
    cutout = cut(tmp_path, payload, "r")
    assert "larger than any cutout" in cutout.reason


def test_a_band_that_is_not_there_is_partial(tmp_path):
    cutout = cut(tmp_path, as_bytes(*PER_BAND[:2]), "grz")
    assert (cutout.status, cutout.reason) == ("partial", "no band z; in the files: G, R")
    assert list(read_fits(cutout.payload).planes) == ["g", "r"]
    assert cutout.url == "file:a.fits (g is G, r is R)"


def test_bands_among_many_extensions(tmp_path):
    payload = as_bytes(*PER_BAND, *[extension(FLUX[0], f"x{index}") for index in range(70)])
    cutout = cut(tmp_path, payload, "grz")
    assert (cutout.status, cutout.reason) == ("ok", "")


def test_case_counts_where_both_are_there(tmp_path):
    payload = as_bytes(primary(FLUX, BAND0="i", BAND1="I", BAND2="R"))
    planes = read_fits(cut(tmp_path, payload, ("I", "i", "r")).payload).planes
    for band, index in {"I": 1, "i": 0, "r": 2}.items():
        np.testing.assert_array_equal(planes[band], FLUX[index])


def test_naming_by_order_and_the_wanted_hdu(tmp_path):
    payload = as_bytes(primary(FLUX, BAND0="u", BAND1="v", BAND2="w"))
    planes = read_fits(cut(tmp_path, payload, "grz", naming="order").payload).planes
    np.testing.assert_array_equal(planes["z"], FLUX[2])
    galfit = as_bytes(*[extension(plane) for plane in FLUX])
    for hdu in ("2", "RESID"):
        payload = galfit if hdu == "2" else as_bytes(*PER_BAND, extension(FLUX[1], "resid"))
        planes = read_fits(cut(tmp_path, payload, "r", hdu=hdu).payload).planes
        np.testing.assert_array_equal(planes["r"], FLUX[1])
    assert "no image in HDU 7; the file holds" in cut(tmp_path, galfit, "r", hdu="7").reason


@pytest.fixture
def band_files(tmp_path):
    folder = tmp_path / "f"
    (folder / "deep").mkdir(parents=True)
    for plane, band in zip(FLUX, "grz", strict=True):
        payload = as_bytes(primary(plane))
        (folder / f"g1_{band}.fits").write_bytes(payload)
        (folder / "deep" / f"{band}-x.fits.gz").write_bytes(gzip.compress(payload, mtime=0))
    return folder


def one(folder, file_loc="", **settings):
    return fetch(folder, Target("g1", NAN, NAN, 0.262, 256, file_loc), bands="grz", **settings)


@pytest.mark.parametrize(
    ("file_loc", "settings"),
    [
        ("", {"pattern": "{object_id}_{band}.fits"}),
        ("g1_{band}.fits", {}),
        ("g1", {"pattern": "{file_loc}_{band}.fits"}),
        ("g1_g.fits\ndeep/r-x.fits.gz\ng1_z.fits", {}),
        ("g-x\nr-x\nz-x", {"pattern": "deep/{file_loc}.fits.gz"}),
    ],
)
def test_a_file_a_band(band_files, file_loc, settings):
    cutout = one(band_files, file_loc, **settings)
    assert (cutout.status, cutout.reason) == ("ok", "")
    for plane, expected in zip(read_fits(cutout.payload).planes.values(), FLUX, strict=True):
        np.testing.assert_array_equal(plane, expected)


def test_a_file_a_band_may_have_another_name_for_it(band_files):
    """Its own file says which band it is, unless its header names another one that is asked for."""
    (band_files / "g1_z.fits").write_bytes(as_bytes(primary(FLUX[2], FILTER="HSC-Z2")))
    cutout = one(band_files, "g1_{band}.fits")
    assert (cutout.status, cutout.reason) == ("ok", "")
    np.testing.assert_array_equal(read_fits(cutout.payload).planes["z"], FLUX[2])


def test_of_a_file_a_band_some_may_be_absent_or_wrong(band_files):
    pattern = "{object_id}_{band}.fits"
    (band_files / "g1_z.fits").unlink()
    cutout = one(band_files, pattern=pattern)
    assert cutout.status == "partial"
    assert cutout.reason.startswith("no band z;")
    assert cutout.reason.endswith("no file 'g1_z.fits'")
    (band_files / "g1_z.fits").write_bytes(as_bytes(primary(FLUX[0], FILTER="g")))
    cutout = one(band_files, pattern=pattern)
    assert "file of band z: bands in the file: g; the config asks for z" in cutout.reason
    (band_files / "g1_z.fits").write_bytes(b"\xff\xd8\xff a picture")
    cutout = one(band_files, pattern=pattern)
    assert (cutout.status, cutout.reason) == ("invalid", "file of band z: not a FITS file")
    cutout = fetch(band_files, Target("g2", NAN, NAN, 1, 16, ""), bands="gr", pattern=pattern)
    assert cutout.status == "no_coverage"
    assert cutout.reason.count("no file") == 2


def test_columns_of_the_catalogue_name_a_file_a_band(band_files, tmp_path):
    (tmp_path / "c.csv").write_text("object_id,ra,dec,G,R,Z\ng1,1,2,g1_g.fits,g1_r.fits,\n")
    settings = CatalogSettings(file_loc=("G", "R", "Z"))
    ingest(tmp_path / "c.csv", tmp_path / "o.parquet", settings)
    (file_loc,) = pq.read_table(tmp_path / "o.parquet")["file_loc"].to_pylist()
    assert file_loc == "g1_g.fits\ng1_r.fits\n"
    cutout = one(band_files, file_loc)
    assert (cutout.status, list(read_fits(cutout.payload).planes)) == ("partial", ["g", "r"])
    with pytest.raises(
        UserError, match="names 2 columns for bands g, r, z; give one column a band"
    ):
        one(band_files, "a\nb")


def test_backslashes_are_told(tmp_path):
    cutout = fetch(tmp_path, Target("g", NAN, NAN, 1, 16, "pics\\a.jpg"))
    assert cutout.status == "no_coverage"
    assert cutout.reason == r"no file 'pics\a.jpg'; use / between folders"


@pytest.mark.parametrize("pattern", ["{id}.fits", "{band}{}.fits", ""])
def test_a_wrong_pattern_is_refused(tmp_path, pattern):
    with pytest.raises(ValueError, match=r"pattern"):
        FilesSettings(pattern=pattern)


def test_a_file_a_band_of_a_real_simulation(shared_data):
    """Their FILTER is "g_SDSS.res"."""
    pattern = "photo_{band}_{object_id}_total.fits"
    target = Target("CNN_G2G3_e-orbit_1_186_i0", NAN, NAN, 1, 16)
    cutout = fetch(shared_data / "realsim", target, bands="gri", pattern=pattern)
    assert cutout.status == "partial"  # Beyond the galaxy there is nothing: not a number.
    planes = read_fits(cutout.payload).planes
    assert list(planes) == ["g", "r", "i"]
    for band, plane in planes.items():
        name = f"photo_{band}_{target.object_id}_total.fits"
        expected = fits.getdata(shared_data / "realsim" / name)
        np.testing.assert_array_equal(plane, expected.astype(np.float32))


def test_reports_of_others(shared_data):
    """Inputs that came out wrong once."""
    folder = shared_data / "reports"
    if not folder.is_dir():
        pytest.skip("no reports beside the real data")
    unnamed, kinds = folder / "04-fits-bands-ignored/f", folder / "12-fits-kinds-refused/f"
    for name, bands in {"r": "r", "r_filter": "r", "grz": "grz", "upper": "grz"}.items():
        target = Target("g", NAN, NAN, 1, 16, f"{name}.fits")
        cutout = fetch(unnamed, target, bands=bands)
        assert cutout.status == "ok"
        with fits.open(unnamed / f"{name}.fits") as hdus:
            expected = hdus[0].data.reshape(-1, 48, 48)
        np.testing.assert_array_equal(list(read_fits(cutout.payload).planes.values()), expected)
    for path in sorted(kinds.iterdir()):
        cutout = fetch(kinds, Target("g", NAN, NAN, 1, 16, path.name))
        whole = {"band_per_extension.fits", "latin1_comment.fits", "ok.fits", "ok.fits.gz"}
        assert cutout.status == ("ok" if path.name in whole else "partial")
        planes = list(read_fits(cutout.payload).planes.values())
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        np.testing.assert_array_equal(planes, by_astropy(content))

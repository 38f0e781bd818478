"""The service ``tiles`` on tiles that astropy wrote, compared with cutouts that astropy made."""

import bz2
import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from pyarrow import csv

from galaxymill.decoding.decode import read_fits
from galaxymill.errors import UserError
from galaxymill.storage.origin import read_record
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.mosaics import tile_cuts
from galaxymill.surveys.mosaics.tile_index import index_tiles
from galaxymill.surveys.services.tiles import TilesService, TilesSettings
from galaxymill.web.network import Network, ServiceError

SCALE = 0.3
SIDE = 200
RADIUS = SIDE * SCALE / 3600 * 0.71


def make_wcs(ra, dec, angle=0.0, scale=SCALE, shift=(0.0, 0.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = np.add((SIDE + 1) / 2, shift)
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    turn = np.radians(angle)
    wcs.wcs.pc = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return wcs


class Survey:
    """A folder of tiles, and the table of them."""

    def __init__(self, folder):
        self.folder = folder / "survey"
        self.folder.mkdir()
        self.rows = []

    def add(self, tile, band, wcs, data=None, suffix=".fits", **changes):
        """Write one tile in one band; give its pixels."""
        if data is None:
            seed = sum(map(ord, tile + band))
            data = np.random.default_rng(seed).normal(size=(SIDE, SIDE)).astype(np.float32)
        path = self.folder / f"{tile}-{band}{suffix}"
        if suffix == ".fits.fz":
            # Lossless, so that packed tiles can be compared with plain ones.
            fits.CompImageHDU(
                data, wcs.to_header(), compression_type="GZIP_2", quantize_level=0.0, **changes
            ).writeto(path)
        else:
            fits.PrimaryHDU(data, wcs.to_header()).writeto(path)
        ra, dec = (float(value) % 360 for value in wcs.all_pix2world(99.5, 99.5, 0))
        dec -= 360 * (dec > 180)
        row = {"tile": tile, "band": band, "path": path.name, "ra": ra, "dec": dec}
        self.rows.append({**row, "radius": RADIUS})
        return data

    def settings(self, **settings):
        table = self.folder.parent / "tiles.csv"
        csv.write_csv(pa.Table.from_pylist(self.rows), table)
        common = {"size": 32, "pixel_scale": SCALE, "bands": "g"}
        return TilesSettings(table=table, folder=str(self.folder), **{**common, **settings})

    def cut(self, *targets, **settings):
        """Ask for positions (ra, dec); give the cutouts in their order."""
        chosen = self.settings(**settings)
        asked = [
            Target(f"g{index}", float(ra), float(dec), chosen.pixel_scale, chosen.size)
            for index, (ra, dec) in enumerate(targets)
        ]
        service = TilesService(chosen)
        cutouts = {cutout.target.object_id: cutout for cutout in service.fetch(iter(asked))}
        service.close()
        return [cutouts[target.object_id] for target in asked]


@pytest.fixture
def survey(tmp_path):
    return Survey(tmp_path)


def expect(data, wcs, ra, dec, size=32):
    """Pixels of the cutout that astropy makes."""
    place = tuple(map(float, wcs.all_world2pix(ra, dec, 0)))
    return Cutout2D(data, place, size, mode="partial", fill_value=np.nan).data


def assert_is(cutout, band, expected):
    np.testing.assert_array_equal(read_fits(cutout.payload).planes[band], expected)


# --- real frames ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sdss(shared_data, tmp_path_factory):
    """The folder of the two frames, unpacked, and the table of them."""
    folder = tmp_path_factory.mktemp("sdss")
    for packed in (shared_data / "sdss_field").glob("*.bz2"):
        (folder / packed.stem).write_bytes(bz2.decompress(packed.read_bytes()))
    table = folder / "tiles.csv"
    index_tiles(folder, table, "frame-{band}-{tile}.fits")
    return folder, table


def test_index_of_real_frames(sdss):
    rows = csv.read_csv(sdss[1]).to_pylist()
    assert [(row["tile"], row["band"], row["hdu"]) for row in rows] == [
        ("003900-6-0269", "i", 0),
        ("003900-6-0269", "u", 0),
    ]
    half_diagonal = np.hypot(2048, 1489) / 2 * 0.396 / 3600
    assert rows[0]["radius"] == pytest.approx(half_diagonal, rel=2e-3)


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.parametrize("band", ["u", "i"])
def test_real_frames_pixel_for_pixel(sdss, shared_data, write_tile, tmp_path, band):
    folder, table = sdss
    (catalog,) = (shared_data / "sdss_field").glob("*.csv")
    columns = csv.ConvertOptions(column_types={"objid": pa.string()})
    objects = csv.read_csv(catalog, convert_options=columns).to_pylist()
    tile = write_tile(
        [{"object_id": row["objid"], "ra": row["ra"], "dec": row["dec"]} for row in objects]
    )
    settings = TilesSettings(
        table=table, folder=str(folder), bands=band, size=64, pixel_scale=0.396
    )
    fetch(tile, tmp_path / "cutouts.parquet", "tiles", settings, Network())
    rows = pq.read_table(tmp_path / "cutouts.parquet").to_pylist()
    assert [row["object_id"] for row in rows] == [row["objid"] for row in objects]
    with fits.open(folder / f"frame-{band}-003900-6-0269.fits") as frame:
        data, wcs = frame[0].data, WCS(frame[0].header)
    seen = {"ok": 0, "partial": 0, "no_coverage": 0}
    for row, galaxy in zip(rows, objects, strict=True):
        seen[row["status"]] += 1
        x, y = (float(at) for at in wcs.all_world2pix(galaxy["ra"], galaxy["dec"], 0))
        inside = -0.5 <= x <= 2047.5 and -0.5 <= y <= 1488.5
        assert (row["status"] != "no_coverage") == inside
        if not inside:
            continue
        expected = Cutout2D(data, (x, y), 64, wcs, mode="partial", fill_value=np.nan)
        with fits.open(io.BytesIO(row["payload"])) as found:
            np.testing.assert_array_equal(found[0].data[0], expected.data)
            header = found[0].header
        assert header["CRPIX1"] == pytest.approx(expected.wcs.wcs.crpix[0], abs=1e-9)
        assert header["CRPIX2"] == pytest.approx(expected.wcs.wcs.crpix[1], abs=1e-9)
        assert (row["status"] == "partial") == np.isnan(expected.data).any()
        if sum(seen.values()) % 20 == 0:
            centre = read_fits(row["payload"]).centre
            off = wcs.all_world2pix([centre], 0)[0] - (x, y)
            assert np.abs(off).max() <= 0.5 + 1e-6
    assert seen["ok"] > 700
    assert seen["partial"] > 10


def test_real_frames_lie_on_two_grids(sdss):
    folder, table = sdss
    middle = csv.read_csv(table).to_pylist()[0]
    ra, dec = middle["ra"], middle["dec"]
    settings = TilesSettings(table=table, folder=str(folder), bands="u,i", pixel_scale=0.396)
    (cutout,) = TilesService(settings).fetch([Target("g", ra, dec, 0.396, 64)])
    assert (cutout.status, cutout.reason) == ("invalid", "band i lies on other pixels than u")


# --- the sky -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ra", [0.0, 359.9999, 0.004])
@pytest.mark.parametrize("angle", [0.0, 71.0])
def test_a_tile_over_ra_zero(survey, ra, angle):
    wcs = make_wcs(ra, -30.0, angle)
    data = survey.add("t", "g", wcs)
    places = [tuple(wcs.all_pix2world(x, y, 0)) for x, y in [(30, 40), (99, 120), (170, 60)]]
    assert {round(place[0] / 360) for place in places} == {0, 1}
    for place, cutout in zip(places, survey.cut(*places), strict=True):
        assert cutout.status == "ok"
        assert_is(cutout, "g", expect(data, wcs, *place))


@pytest.mark.parametrize("dec", [89.999, -90.0])
def test_a_tile_over_the_pole(survey, dec):
    wcs = make_wcs(40.0, dec)
    data = survey.add("t", "g", wcs)
    pixels = [(40, 40), (160, 40), (40, 160), (160, 160), (100, 100)]
    places = [tuple(wcs.all_pix2world(x + 0.2, y + 0.3, 0)) for x, y in pixels]
    assert max(place[0] for place in places) - min(place[0] for place in places) > 90
    for place, cutout in zip(places, survey.cut(*places), strict=True):
        assert cutout.status == "ok"
        assert_is(cutout, "g", expect(data, wcs, *place))
    (elsewhere,) = survey.cut((40.0, -dec))
    assert elsewhere.status == "no_coverage"


def test_a_galaxy_in_two_tiles_is_cut_where_it_is_furthest_from_the_edge(survey):
    """The tiles overlap by 80 pixels; the border between them is in the middle of the overlap."""
    west, east = make_wcs(10.0, 0.0), make_wcs(10.0 + 120 * SCALE / 3600, 0.0)
    data = {"a": survey.add("a", "g", west), "b": survey.add("b", "g", east)}
    rng = np.random.default_rng(0)
    places = [
        tuple(map(float, west.all_pix2world(x, y, 0)))
        for x, y in rng.uniform((-119, 1), (198, 198), (200, 2))
    ]
    seen = set()
    for place, cutout in zip(places, survey.cut(*places), strict=True):
        depths = {}
        for name, wcs in (("a", west), ("b", east)):
            x, y = (float(value) for value in wcs.all_world2pix(*place, 0))
            depths[name] = min(x, y, SIDE - 1 - x, SIDE - 1 - y)
        best = max(depths, key=depths.get)
        if abs(depths["a"] - depths["b"]) < 0.02:
            continue
        assert cutout.url == f"tile:{best}"
        assert_is(cutout, "g", expect(data[best], {"a": west, "b": east}[best], *place))
        seen.add((best, cutout.status))
    assert seen == {("a", "ok"), ("a", "partial"), ("b", "ok"), ("b", "partial")}


def test_a_whole_square_or_more_bands_go_before_depth(survey):
    wcs = make_wcs(10.0, 0.0)
    survey.add("deep", "g", wcs)
    shifted = make_wcs(10.0, 0.0, shift=(30, 0))
    survey.add("full", "g", shifted)
    survey.add("full", "r", shifted)
    inside, at_its_edge = (tuple(wcs.all_pix2world(x, 100, 0)) for x in (90, 160))
    first, second = survey.cut(inside, at_its_edge, bands="g,r")
    assert (first.status, first.url) == ("ok", "tile:full")
    assert (second.status, second.url) == ("partial", "tile:deep")


def test_over_the_edge_is_partial_with_nan(survey):
    wcs = make_wcs(10.0, 0.0)
    data = survey.add("t", "g", wcs)
    place = tuple(wcs.all_pix2world(3.2, 190.1, 0))
    (cutout,) = survey.cut(place)
    assert (cutout.status, cutout.reason) == ("partial", "reaches over the tile's edge")
    assert_is(cutout, "g", expect(data, wcs, *place))


def test_a_corner_of_the_circle_is_no_coverage(survey):
    wcs = make_wcs(10.0, 0.0)
    survey.add("t", "g", wcs)
    off, far = survey.cut(tuple(wcs.all_pix2world(100, 205, 0)), (190.0, 0.0))
    assert {off.status, far.status} == {"no_coverage"}
    assert off.reason == "no tile holds this position"


# --- bands, pixels, files ------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [(1, SIDE), (50, 50), (SIDE, SIDE)])
@pytest.mark.parametrize("most", [20_000_000, 5000])
@pytest.mark.parametrize("count", [2, 60])
def test_packed_tiles_give_what_plain_ones_give(survey, monkeypatch, pieces, most, count):
    monkeypatch.setattr(tile_cuts, "_READ_PIXELS", most)
    wcs = make_wcs(10.0, 0.0, angle=10)
    data = survey.add("t", "g", wcs, suffix=".fits.fz", tile_shape=pieces)
    pixels = np.random.default_rng(count).uniform(0, 199, (count, 2))
    places = [tuple(map(float, wcs.all_pix2world(x, y, 0))) for x, y in pixels]
    for place, cutout in zip(places, survey.cut(*places), strict=True):
        assert_is(cutout, "g", expect(data, wcs, *place))


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_zipped_tiles(survey, monkeypatch, pack):
    wcs = make_wcs(10.0, 0.0)
    data = survey.add("t", "g", wcs)
    plain = survey.folder / "t-g.fits"
    suffix = {gzip: ".gz", bz2: ".bz2"}[pack]
    (survey.folder / f"t-g.fits{suffix}").write_bytes(pack.compress(plain.read_bytes()))
    survey.rows[0]["path"] += suffix
    (cutout,) = survey.cut((10.0, 0.0001))
    assert_is(cutout, "g", expect(data, wcs, 10.0, 0.0001))
    from galaxymill.surveys.mosaics import tile_image

    monkeypatch.setattr(tile_image, "_MAX_UNPACKED_BYTES", 100_000)
    (cutout,) = survey.cut((10.0, 0.0))
    assert cutout.status == "failed"
    assert f"t-g.fits{suffix}: unpacked, the file is longer than" in cutout.reason


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "uint16", "float64"])
def test_other_numbers(survey, dtype):
    """Scaled integers with blanks are what astropy reads."""
    wcs = make_wcs(10.0, 0.0)
    numbers = np.random.default_rng(1).integers(1, 200, (SIDE, SIDE)).astype(dtype)
    hdu = fits.PrimaryHDU(numbers, wcs.to_header())
    if dtype in ("int16", "int32"):
        hdu.header["BLANK"] = 17
    hdu.writeto(survey.folder / "t.fits")
    if dtype == "int16":
        with fits.open(survey.folder / "t.fits", "update", do_not_scale_image_data=True) as hdus:
            hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.25, -3.0
    data = fits.getdata(survey.folder / "t.fits").astype(np.float32)
    row = {"tile": "t", "band": "g", "path": "t.fits", "ra": 10.0, "dec": 0.0, "radius": RADIUS}
    survey.rows = [row]
    (cutout,) = survey.cut((10.0, 0.0001), size=100)
    assert cutout.status == "ok"
    assert_is(cutout, "g", expect(data, wcs, 10.0, 0.0001, 100))


def test_a_third_axis_of_one(survey):
    """As of a band or of Stokes parameters; also fpacked."""
    wcs = make_wcs(10.0, 0.0)
    for suffix, hdu in ((".fits", fits.PrimaryHDU), (".fits.fz", fits.CompImageHDU)):
        data = survey.add(suffix, "g", wcs)
        path = survey.folder / f"{suffix}-g.fits"
        path.unlink()
        more = {} if suffix == ".fits" else {"compression_type": "GZIP_2", "quantize_level": 0.0}
        hdu(data[None], wcs.to_header(), **more).writeto(path)
        (cutout,) = survey.cut((10.0, 0.0001))
        assert_is(cutout, "g", expect(data, wcs, 10.0, 0.0001))
        survey.rows.clear()


def test_zero_points_make_nanomaggies(survey):
    wcs = make_wcs(10.0, 0.0)
    data = {band: survey.add("t", band, wcs) for band in "gr"}
    (cutout,) = survey.cut((10.0, 0.0001), bands="g,r", zero_points="22.5,30")
    planes = read_fits(cutout.payload).planes
    expected = expect(data["r"], wcs, 10.0, 0.0001)
    np.testing.assert_array_equal(planes["g"], expect(data["g"], wcs, 10.0, 0.0001))
    np.testing.assert_allclose(planes["r"], expected * 1e-3, rtol=1e-6)
    for wrong in ("22.5,25,30", "nan"):
        with pytest.raises(ValueError, match="zero_points"):
            survey.settings(bands="g,r", zero_points=wrong)


def test_a_field_is_cut_in_the_tiles_own_pixels(survey):
    wcs = make_wcs(10.0, 0.0)
    data = survey.add("t", "g", wcs)
    small, large = (
        survey.cut((10.0, 0.0001), pixel_scale=scale, size=64)[0] for scale in (0.15, 20.0)
    )
    assert_is(small, "g", expect(data, wcs, 10.0, 0.0001, 32))
    assert large.status == "invalid"
    assert "spans 4267 pixels" in large.reason


def test_a_band_that_a_tile_has_not_is_partial(survey):
    wcs = make_wcs(10.0, 0.0)
    survey.add("t", "g", wcs)
    survey.add("elsewhere", "r", make_wcs(50.0, 0.0))
    (cutout,) = survey.cut((10.0, 0.0), bands="g,r")
    assert (cutout.status, cutout.reason) == ("partial", "no band r")
    assert list(read_fits(cutout.payload).planes) == ["g"]


@pytest.mark.parametrize("filling", [0.0, np.nan])
def test_empty_bands(survey, filling):
    wcs = make_wcs(10.0, 0.0)
    full = survey.add("t", "g", wcs)
    half = full.copy()
    half[:100] = filling
    survey.add("t", "r", wcs, half)
    survey.add("void", "g", make_wcs(50.0, 0.0), np.full_like(full, filling))
    survey.add("void", "r", make_wcs(50.0, 0.0), np.full_like(full, filling))
    below, void = survey.cut(tuple(wcs.all_pix2world(100, 50, 0)), (50.0, 0.0), bands="g,r")
    assert (below.status, below.reason) == ("partial", "band r is empty")
    assert (void.status, void.payload) == ("no_coverage", None)
    assert "every band is empty" in void.reason


def test_a_band_shifted_by_whole_pixels_is_cut(survey):
    wcs = make_wcs(10.0, 0.0)
    moved = make_wcs(10.0, 0.0, shift=(7.0, -3.0))
    survey.add("t", "g", wcs)
    data = survey.add("t", "r", moved)
    (cutout,) = survey.cut((10.0, 0.0001), bands="g,r")
    assert cutout.status == "ok"
    assert_is(cutout, "r", expect(data, moved, 10.0, 0.0001))


@pytest.mark.parametrize(
    "other",
    [
        make_wcs(10.0, 0.0, shift=(0.4, 0.0)),
        make_wcs(10.0, 0.0, angle=1.0),
        make_wcs(10.0, 0.0, angle=90.0),
        make_wcs(10.0, 0.0, scale=SCALE * 1.02),
        make_wcs(40.0, 0.0),
    ],
)
def test_a_band_on_other_pixels_is_invalid(survey, other):
    survey.add("t", "g", make_wcs(10.0, 0.0))
    survey.add("t", "r", other)
    (cutout,) = survey.cut((10.0, 0.001), bands="g,r")
    assert (cutout.status, cutout.reason) == ("invalid", "band r lies on other pixels than g")


def test_a_byte_beyond_ascii_in_a_header(survey):
    wcs = make_wcs(10.0, 0.0)
    data = survey.add("t", "g", wcs)
    path = survey.folder / "t-g.fits"
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\xe9" + content[41:])
    (cutout,) = survey.cut((10.0, 0.0001))
    assert_is(cutout, "g", expect(data, wcs, 10.0, 0.0001))


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:50_000])


def damage_header(path):
    path.write_bytes(b"\xff" * 2880 + path.read_bytes()[2880:])


def damage_end(path):
    path.write_bytes(path.read_bytes().replace(b"END" + b" " * 77, b"EMD" + b" " * 77))


def damage_axes(path):
    path.write_bytes(path.read_bytes().replace(b"NAXIS1  =  ", b"NAXIS1  = 9"))


def damage_wcs(path):
    path.write_bytes(path.read_bytes().replace(b"'RA---TAN'", b"'RA---QQQ'"))


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("suffix", [".fits", ".fits.fz"])
@pytest.mark.parametrize("band", ["g", "r"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        make_folder,
        lambda path: path.write_bytes(b""),
        damage_cut,
        damage_header,
        damage_end,
        damage_axes,
        damage_wcs,
    ],
)
def test_a_missing_or_damaged_tile_fails_its_galaxies_alone(survey, suffix, band, damage):
    for one, ra in (("t", 10.0), ("u", 20.0)):
        for other in "gr":
            survey.add(one, other, make_wcs(ra, 0.0), suffix=suffix)
    damage(survey.folder / f"t-{band}{suffix}")
    broken, good = survey.cut((10.0, 0.0), (20.0, 0.0), bands="g,r")
    assert good.status == "ok"
    assert (broken.status, broken.payload) == ("failed", None)
    assert broken.reason.startswith(f"t-{band}{suffix}: ")
    assert str(survey.folder) not in broken.reason


def test_damaged_pixels_of_a_packed_tile(survey):
    """Bytes are changed at random: any answer will do, but there is one."""
    wcs = make_wcs(10.0, 0.0)
    survey.add("t", "g", wcs, suffix=".fits.fz", tile_shape=(50, 50))
    path = survey.folder / "t-g.fits.fz"
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    places = [(10.0, 0.0), (10.005, 0.005)]
    seen = set()
    for _ in range(40):
        broken = bytearray(whole)
        for place in rng.integers(2880, len(whole), 30):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        seen |= {cutout.status for cutout in survey.cut(*places)}
    assert seen <= {"ok", "partial", "no_coverage", "invalid", "failed"}
    assert "failed" in seen


def test_a_broken_neighbour_leaves_whole_squares_alone(survey):
    survey.add("a", "g", make_wcs(10.0, 0.0))
    survey.add("b", "g", make_wcs(10.0 + 120 * SCALE / 3600, 0.0))
    (survey.folder / "b-g.fits").unlink()
    wcs = make_wcs(10.0, 0.0)
    whole, at_edge = survey.cut(*(tuple(wcs.all_pix2world(x, 100, 0)) for x in (30, 5)))
    assert (whole.status, whole.url) == ("ok", "tile:a")
    assert at_edge.status == "failed"
    assert "b-g.fits: No such file" in at_edge.reason


def test_a_folder_that_is_gone_stops_the_job(survey, write_tile, tmp_path):
    survey.add("t", "g", make_wcs(150.0, 2.0))
    settings = survey.settings()
    tile = write_tile([{"object_id": "g0"}])
    (survey.folder / "t-g.fits").unlink()
    with pytest.raises(ServiceError, match="is it mounted"):
        fetch(tile, tmp_path / "cutouts.parquet", "tiles", settings, Network())
    (survey.folder / "another").touch()
    with pytest.raises(ServiceError, match=r"1 of 1 galaxies .* t-g.fits: No such file"):
        fetch(tile, tmp_path / "cutouts.parquet", "tiles", settings, Network())
    (survey.folder / "another").unlink()
    survey.folder.rmdir()
    with pytest.raises(UserError, match="no such folder"):
        fetch(tile, tmp_path / "cutouts.parquet", "tiles", settings, Network())


def test_each_file_is_opened_once_for_its_pixels(survey, monkeypatch):
    from galaxymill.surveys.mosaics import tile_image

    for band in "gr":
        survey.add("t", band, make_wcs(10.0, 0.0))
    opened = []
    real = tile_image._open
    monkeypatch.setattr(tile_image, "_open", lambda path: opened.append(path.name) or real(path))
    places = [(10.0 + step, 0.0) for step in np.linspace(-0.005, 0.005, 50)]
    assert {cutout.status for cutout in survey.cut(*places, bands="g,r")} == {"ok"}
    # Once more for the grid of its pixels.
    assert sorted(opened) == ["t-g.fits", "t-g.fits", "t-r.fits"]


def test_products_do_not_depend_on_where_the_tiles_lie(survey, write_tile, tmp_path):
    survey.add("t", "g", make_wcs(150.0, 2.0))
    tile = write_tile([{"object_id": "g0"}])
    records = []
    for name in ("here", "there"):
        survey.folder = survey.folder.rename(tmp_path / name)
        fetch(tile, tmp_path / "cutouts.parquet", "tiles", survey.settings(), Network())
        records.append(read_record(tmp_path / "cutouts.parquet"))
    assert records[0] == records[1]
    survey.rows[0]["radius"] *= 2
    fetch(tile, tmp_path / "cutouts.parquet", "tiles", survey.settings(), Network())
    assert read_record(tmp_path / "cutouts.parquet").origin != records[0].origin


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits"])
def test_kinds_of_tables_and_hdus(survey, write_table, suffix):
    """Images by number, by name, and the first one."""
    wcs = make_wcs(10.0, 0.0)
    data = survey.add("t", "g", wcs)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros(4)), fits.ImageHDU(-data, wcs.to_header())]
    hdus.append(fits.ImageHDU(data * 2, wcs.to_header(), name="SCI"))
    fits.HDUList(hdus).writeto(survey.folder / "many.fits")
    for hdu, factor in (("", -1), ("2", -1), ("3", 2), ("sci", 2)):
        row = {**survey.rows[0], "path": "many.fits", "hdu": hdu}
        table = write_table({name: [value] for name, value in row.items()}, suffix, f"t{hdu}")
        settings = survey.settings().model_copy(update={"table": table})
        (cutout,) = TilesService(settings).fetch([Target("g", 10.0, 0.0001, SCALE, 32)])
        assert_is(cutout, "g", expect(data * np.float32(factor), wcs, 10.0, 0.0001))


@pytest.mark.parametrize("hdu", ["1", "0", "SCI"])
def test_an_hdu_that_is_no_image_fails(survey, hdu):
    fits.HDUList([fits.PrimaryHDU()]).writeto(survey.folder / "t.fits")
    row = {"tile": "t", "band": "g", "path": "t.fits", "ra": 10.0, "dec": 0.0, "radius": RADIUS}
    survey.rows = [{**row, "hdu": hdu}]
    (cutout,) = survey.cut((10.0, 0.0))
    assert cutout.status == "failed"
    assert "HDU" in cutout.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "row 2: tile 't' in band 'g' was already given in row 1"),
        ({"tile": "u", "path": "../../etc/t.fits"}, "row 2: path .* leaves its folder"),
        ({"tile": ""}, "row 2: tile, band and path must not be empty"),
        ({"tile": "u", "dec": 91.0}, "row 2: dec is 91"),
        ({"tile": "u", "radius": -1.0}, "row 2: radius is -1"),
    ],
)
def test_bad_rows_are_refused(survey, change, message):
    survey.add("t", "g", make_wcs(10.0, 0.0))
    survey.rows.append({**survey.rows[0], **change})
    with pytest.raises(UserError, match=message):
        survey.cut((10.0, 0.0))


def test_unknown_bands_and_columns_are_refused(survey):
    survey.add("t", "g", make_wcs(10.0, 0.0))
    with pytest.raises(UserError, match=r"no tile in band y; the bands are: g"):
        survey.cut((10.0, 0.0), bands="g,y")
    survey.rows = [{"tile": "t", "band": "g", "path": "t.fits"}]
    with pytest.raises(UserError, match=r"no column ra, dec, radius"):
        survey.cut((10.0, 0.0))


def test_absolute_paths_are_allowed(survey, tmp_path):
    survey.add("t", "g", make_wcs(10.0, 0.0))
    moved = (survey.folder / "t-g.fits").rename(tmp_path / "moved.fits")
    survey.rows[0]["path"] = str(moved)
    assert survey.cut((10.0, 0.0))[0].status == "ok"


# --- index-tiles ---------------------------------------------------------------------------------


def test_index_tiles_finds_every_tile(survey, galaxymill, tmp_path):
    for index in range(3):
        folder = survey.folder / "coadd" / f"00{index}"
        folder.mkdir(parents=True)
        for band in "gr":
            survey.add("x", band, make_wcs(10.0 + index, 89.999), suffix=".fits.fz")
            path = survey.folder / f"x-{band}.fits.fz"
            path.rename(folder / f"legacy-b{index}-image-{band}.fits.fz")
            (folder / f"legacy-b{index}-invvar-{band}.fits.fz").touch()
    table = tmp_path / "found.csv"
    pattern = "coadd/*/legacy-{tile}-image-{band}.fits*"
    result = galaxymill("index-tiles", survey.folder, table, "--pattern", pattern)
    assert result.returncode == 0, result.stderr
    rows = csv.read_csv(table).to_pylist()
    assert [(row["tile"], row["band"]) for row in rows] == [
        (f"b{index}", band) for index in range(3) for band in "gr"
    ]
    assert rows[0]["path"] == "coadd/000/legacy-b0-image-g.fits.fz"
    for row in rows:
        assert row["dec"] == pytest.approx(89.999, abs=1e-3)
        assert RADIUS * 0.99 < row["radius"] < RADIUS * 1.02
    settings = survey.settings(bands="g,r").model_copy(update={"table": table})
    (cutout,) = TilesService(settings).fetch([Target("g", 12.0, 89.999, SCALE, 32)])
    assert cutout.status == "ok"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*-{band}.fits", "{tile} and {band}"),
        ("../{tile}-{band}.fits", "{tile} and {band}"),
        ("/{tile}-{band}.fits", "{tile} and {band}"),
        ("{tile}_{band}.fits", "no file matches"),
        ("{tile}-{band}.*", "both tile 't' in band 'g'"),
        ("{tile}-{band}.fits", "1 of 2 tiles cannot be used: u-g.fits: not a FITS file"),
    ],
)
def test_index_tiles_refuses(survey, galaxymill, tmp_path, pattern, message):
    survey.add("t", "g", make_wcs(10.0, 0.0))
    (survey.folder / "u-g.fits").write_bytes(b"broken" * 1000)
    if pattern.endswith(".*"):
        survey.add("t", "g", make_wcs(10.0, 0.0), suffix=".fits.fz")
    table = tmp_path / "found.csv"
    words = ("index-tiles", survey.folder, table, "--pattern", pattern)
    result = galaxymill(*words)
    assert (result.returncode, table.exists()) == (2, False)
    assert message in result.stderr
    if "cannot be used" in message:
        result = galaxymill(*words, "--skip-broken")
        assert result.returncode == 0
        assert "u-g.fits" in result.stderr
        assert len(csv.read_csv(table)) == 1

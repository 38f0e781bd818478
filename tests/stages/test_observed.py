"""Stage fetch with services observed and synthetic: rows of real and simulated cutouts."""

from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.cosmology import Planck18
from astropy.io import fits
from scipy import ndimage

from galaxymill.decoding.decode import read_fits
from galaxymill.errors import UserError
from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import render
from galaxymill.storage.origin import Origin, read_record
from galaxymill.surveys.base import Cutout, Target
from galaxymill.surveys.fetch import fetch, write_cutouts
from galaxymill.surveys.observe.optics import sky_sigma
from galaxymill.surveys.observe.sky import measure_sky
from galaxymill.surveys.retry import retry_failed
from galaxymill.surveys.services.observed import ObservedSettings
from galaxymill.surveys.services.synthetic import SyntheticSettings
from galaxymill.surveys.telescope import Telescope
from galaxymill.web.network import Network

DECALS = Telescope(seeing={"g": 1.3, "r": 1.2, "z": 1.1}, depth={"g": 24.7, "r": 23.9, "z": 23.0})
SIDE = 128
NOISE = np.random.default_rng(5).normal(0, 0.005, (3, SIDE, SIDE)).astype(np.float32)


def light(flux=40.0):
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return (flux / (2 * np.pi * 16) * np.exp(-np.hypot(x, y) / 4)).astype(np.float32)


@pytest.fixture
def sky(make_fits, write_tile, tmp_path):
    """A survey's tile and cutouts, one galaxy a status; and what fetches those of another."""
    broken = NOISE.copy()
    broken[0] = 0
    holes = NOISE + light()
    holes[:, 60:62, 60:62] = np.nan
    payloads = {
        "a-good": ("ok", make_fits(NOISE + light())),
        "b-empty-band": ("partial", make_fits(broken + light() * [[[0]], [[1]], [[1]]])),
        "c-away": ("no_coverage", None),
        "d-damaged": ("invalid", b"SIMPLE  = no more"),
        "e-holes": ("ok", make_fits(holes)),
        "f-small": ("ok", make_fits(NOISE[:, :20, :20])),
        "g-two-bands": ("partial", make_fits((NOISE + light())[:2], bands="gr")),
        "h-near": ("ok", make_fits(NOISE + light())),
    }
    redshifts = [0.05, 0.1, 0.1, 0.1, None, -0.1, 0.05, 0.3]
    rows = [
        {"object_id": name, "ra": 150.0, "dec": 2.0, "own_redshift": z}
        for name, z in zip([*payloads, "i-new"], [*redshifts, 0.1], strict=True)
    ]
    tile = write_tile(rows, ["own_redshift"])
    near = tmp_path / "near.parquet"
    cutouts = [
        Cutout(Target(name, 150.0, 2.0, 0.262, SIDE), status, payload, 200, "" if payload else "x")
        for name, (status, payload) in payloads.items()
    ]
    write_cutouts(near, Origin("fetch", {}, {}), cutouts)

    def take(name="far.parquet", **settings):
        out = tmp_path / name
        chosen = ObservedSettings(survey="near", source=DECALS, cutouts=near, **settings)
        fetch(tile, out, "observed", chosen, Network(max_failed=1))
        return out, pq.read_table(out).to_pandas().set_index("object_id")

    return SimpleNamespace(tile=tile, near=near, take=take, folder=tmp_path)


def test_every_galaxy_has_a_row(sky):
    out, rows = sky.take(farther=2.0)
    status = {
        "a-good": ("ok", ""),
        "b-empty-band": ("partial", "band g is empty"),
        "c-away": ("no_coverage", "near: no_coverage: x"),
        "d-damaged": ("no_coverage", "near: invalid"),
        "e-holes": ("ok", ""),
        "f-small": ("no_coverage", "the cutout is too small"),
        "g-two-bands": ("partial", "no band z"),
        "h-near": ("ok", ""),
        "i-new": ("no_coverage", "no such galaxy among the cutouts of near"),
    }
    assert list(rows.index) == list(status)
    for name, (expected, reason) in status.items():
        assert rows.status[name] == expected, name
        assert reason in rows.reason[name]
    drawn = read_fits(rows.payload["a-good"])
    assert drawn.planes["r"].shape == (SIDE // 2, SIDE // 2)
    assert drawn.pixel_scale == pytest.approx(0.262, rel=1e-6)
    assert drawn.planes["r"].sum() == pytest.approx(10, rel=0.05)
    assert read_record(out, "fetch").origin["parameters"]["farther"] == 2.0


def test_redshifts_that_cannot_be_moved_are_rows_with_the_reason(sky):
    _, rows = sky.take(redshift=0.2)
    assert "no redshift" in rows.reason["e-holes"]
    assert "redshift -0.1" in rows.reason["f-small"]
    assert "redshift 0.3; above 0 and at most 0.2 can be shown there" in rows.reason["h-near"]
    ratio = Planck18.luminosity_distance(0.05) / Planck18.luminosity_distance(0.2)
    found = read_fits(rows.payload["a-good"]).planes["r"].sum()
    assert found == pytest.approx(40 * float(ratio) ** 2, abs=5 * 0.005 * 31)


def test_a_galaxy_looks_the_same_whoever_stands_beside_it(sky, write_tile):
    _, rows = sky.take(farther=2.0)
    alone = write_tile(
        [{"object_id": "h-near", "ra": 150.0, "dec": 2.0, "own_redshift": 0.1}], ["own_redshift"]
    )
    chosen = ObservedSettings(survey="near", source=DECALS, cutouts=sky.near, farther=2.0)
    fetch(alone, sky.folder / "alone.parquet", "observed", chosen, Network())
    again = pq.read_table(sky.folder / "alone.parquet").to_pylist()[0]
    assert again["sha256"] == rows.sha256["h-near"]
    # Two galaxies of the same pixels have not the same noise.
    assert rows.sha256["a-good"] != rows.sha256["h-near"]


def test_images_are_drawn_of_it_as_of_any_survey(sky):
    out, _ = sky.take(farther=1.5)
    images = sky.folder / "images.parquet"
    render(out, images, "far", "decals", RECIPES["decals"].settings(size=64))
    drawn = pq.read_table(images, columns=["object_id", "flags", "image"]).to_pylist()
    assert [row["image"] is not None for row in drawn[:3]] == [True, True, False]
    assert drawn[0]["flags"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"farther": 0.5}, "greater than or equal to 1"),
        ({"redshift": -1}, "greater than 0"),
        ({"farther": 2, "redshift": 0.1}, "two ways to say one thing"),
        ({"seeing": "{g: 1.2}"}, "is not JSON"),
        ({"depth": {"g": 90}}, "less than or equal to 40"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        ObservedSettings.parse({"survey": "near", **settings}, "fetch")


def test_the_sources_cutouts_must_be_cutouts(sky, tmp_path):
    chosen = ObservedSettings(survey="near", source=DECALS, cutouts=sky.tile, farther=2)
    with pytest.raises(UserError, match="made by"):
        fetch(sky.tile, tmp_path / "x.parquet", "observed", chosen, Network())
    chosen = chosen.model_copy(update={"cutouts": None})
    with pytest.raises(UserError, match="--set cutouts=PATH"):
        fetch(sky.tile, tmp_path / "y.parquet", "observed", chosen, Network())


def test_nothing_is_asked_again_where_nobody_was_asked(sky):
    out, _ = sky.take(farther=2.0)
    chosen = ObservedSettings(survey="near", source=DECALS, cutouts=sky.near, farther=2.0)
    with pytest.raises(UserError, match="delete a product to draw it again"):
        retry_failed(sky.tile, out, "observed", chosen, Network(), ["no_coverage"])


def one_file(data, path, **cards):
    hdu = fits.PrimaryHDU(np.asarray(data, np.float32))
    hdu.header.update(cards)
    hdu.writeto(path)


def shown(out_folder, write_tile, name="x.fits", **settings):
    settings = {"folder": str(out_folder), **settings}
    tile = write_tile([{"object_id": "m", "ra": 150.0, "dec": 2.0, "file_loc": name}], ["file_loc"])
    given = {
        "into": "near",
        "unit": "mag/arcsec2",
        "bands": ("r",),
        "target": DECALS,
        "pixel_scale": 0.262,
    } | settings
    out_folder.mkdir(exist_ok=True)
    out = out_folder / "out.parquet"
    fetch(tile, out, "synthetic", SyntheticSettings(**given), Network(max_failed=1))
    return pq.read_table(out).to_pylist()[0]


LENGTHS = {"CTYPE1": "kpc", "CDELT1": 0.2, "CTYPE2": "kpc", "CDELT2": 0.2, "CRPIX1": 1.0}


@pytest.mark.parametrize(
    ("cards", "settings", "reason"),
    [
        (LENGTHS, {}, "pixels are 0.2 kpc, a length; give a redshift"),
        ({}, {"redshift": 0.05}, "its pixel scale is not known"),
        ({**LENGTHS, "CDELT1": 4.0}, {"redshift": 0.05}, "larger than the 0.262 wanted"),
        (LENGTHS, {"redshift": 0.05, "size": 900}, "the cutout is too small"),
    ],
)
def test_simulated_images_without_a_scale_are_rows_with_the_reason(
    tmp_path, write_tile, cards, settings, reason
):
    one_file(22 + np.zeros((200, 200)), tmp_path / "x.fits", **cards)
    row = shown(tmp_path, write_tile, **settings)
    assert (row["status"], row["payload"]) == ("no_coverage", None)
    assert reason in row["reason"]


def test_simulated_light_is_kept(tmp_path, write_tile):
    y, x = np.indices((300, 300)) - 149.5
    surface = np.where(np.hypot(x, y) < 60, 20.0, np.nan)
    one_file(surface, tmp_path / "x.fits", **LENGTHS)
    row = shown(tmp_path, write_tile, redshift=0.05)
    assert row["status"] == "ok"
    pixel = 0.2 * Planck18.arcsec_per_kpc_proper(0.05).value
    expected = np.isfinite(surface).sum() * pixel**2 * 10
    found = read_fits(row["payload"]).planes["r"]
    assert found.sum() == pytest.approx(expected, rel=0.01)


@pytest.fixture
def merger(shared_data):
    """Real images of a simulated merger: noise-free, in mag/arcsec2 and parsecs."""
    return shared_data / "realsim"


@pytest.mark.parametrize("snapshot", [186, 346])
@pytest.mark.parametrize("band", ["g", "r", "i"])
def test_mergers_keep_their_light_and_their_nuclei(merger, snapshot, band, write_tile, tmp_path):
    name = f"photo_{band}_CNN_G2G3_e-orbit_1_{snapshot}_i0_total.fits"
    with fits.open(merger / name) as file:
        surface, header = file[0].data, file[0].header
    kpc = Planck18.arcsec_per_kpc_proper(0.046).value
    lit = np.where(np.isfinite(surface) & (surface < 60), surface, np.inf)
    total = (10 ** (0.4 * (22.5 - lit)) * (header["CDELT1"] / 1000 * kpc) ** 2).sum()
    telescope = Telescope(seeing={band: 1.2}, depth={band: 27.0})
    given = {"bands": (band,), "target": telescope, "redshift": 0.046, "folder": str(merger)}
    row = shown(tmp_path, write_tile, name, **given)
    assert row["status"] == "ok", row["reason"]
    found = read_fits(row["payload"]).planes[band].astype(float)
    assert found.sum() == pytest.approx(total, rel=0.01)
    seen = 0
    for nucleus in "12":
        place = np.array([header[f"YBH{nucleus}"], header[f"XBH{nucleus}"]])
        at = place * kpc / 0.262 + (len(found) - 1) / 2
        if (at > 6).all() and (at < len(found) - 7).all():
            seen += 1
            low = np.round(at).astype(int) - 3
            box = found[low[0] : low[0] + 7, low[1] : low[1] + 7]
            bright = np.where(box > 0.7 * box.max(), box, 0)
            peak = low + ndimage.center_of_mass(bright)
            assert np.hypot(*(peak - at)) < 0.5
    assert seen


def test_simulated_images_are_as_deep_as_was_asked(merger, write_tile, tmp_path):
    name = "photo_r_CNN_G2G3_e-orbit_1_186_i0_total.fits"
    given = {"bands": ("r",), "redshift": 0.046, "folder": str(merger)}
    planes = [
        read_fits(shown(tmp_path / depth, write_tile, name, target=telescope, **given)["payload"])
        for depth, telescope in {
            "deep": Telescope(seeing={"r": 1.2}, depth={"r": 35.0}),
            "asked": Telescope(seeing={"r": 1.2}, depth={"r": 23.9}),
        }.items()
    ]
    noise = planes[1].planes["r"].astype(float) - planes[0].planes["r"]
    side = round(10 / 0.262)
    boxes = noise[: 5 * side, : 5 * side].reshape(5, side, 5, side).sum(axis=(1, 3))
    limit = 22.5 - 2.5 * np.log10(3 * boxes.std() / (side * 0.262) ** 2)
    pixel = sky_sigma(23.9, 1.2, 3.0, 0.262)
    expected = 22.5 - 2.5 * np.log10(3 * pixel * side / (side * 0.262) ** 2)
    # Of 25 boxes the scatter is known to 14 %; of all pixels it is known better.
    assert limit == pytest.approx(expected, abs=0.35)
    assert 2.5 * abs(np.log10(noise.std() / pixel)) < 0.1


@pytest.mark.parametrize(
    "name", ["gzbcnn_example_a", "gzbcnn_example_b", "zoodecals_example_a", "zoodecals_example_c"]
)
def test_real_galaxies_twice_as_far(shared_data, name, write_tile, tmp_path):
    payload = (shared_data / "legacy_grz_fits" / f"{name}.fits").read_bytes()
    before = read_fits(payload)
    near = tmp_path / "near.parquet"
    cutout = Cutout(Target(name, 150.0, 2.0, 0.0, 0), "ok", payload, 200)
    write_cutouts(near, Origin("fetch", {}, {}), [cutout])
    chosen = ObservedSettings(survey="near", source=DECALS, cutouts=near, farther=2.0)
    tile = write_tile([{"object_id": name, "ra": 150.0, "dec": 2.0}])
    fetch(tile, tmp_path / "far.parquet", "observed", chosen, Network())
    row = pq.read_table(tmp_path / "far.parquet").to_pylist()[0]
    assert row["status"] in ("ok", "partial"), row["reason"]
    after = read_fits(row["payload"])
    for band, plane in before.planes.items():
        if not np.isfinite(plane).all() or np.ptp(plane) == 0:
            continue
        assert after.planes[band].sum() * 4 == pytest.approx(plane.sum(), rel=0.03)
        sky = measure_sky(plane)
        if sky is not None:
            found = measure_sky(after.planes[band])
            assert found is None or found.sigma == pytest.approx(sky.sigma, rel=0.1)

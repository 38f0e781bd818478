"""One picture or one reason per cutout, the same bytes every time."""

import io
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from PIL import Image, ImageOps

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import unfit_rows
from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import encode, image_row, render
from galaxymill.images.settings import (
    AsinhSettings,
    DecalsSettings,
    LuptonSettings,
    PassthroughSettings,
    RecipeSettings,
)
from galaxymill.status.galaxies import count_images
from galaxymill.storage.origin import read_record

SETTINGS = DecalsSettings(size=32)


def cutout_with(make_fits, band, value, share=1.0):
    data = np.random.default_rng(1).normal(0.01, 0.01, (3, 20, 20)).astype(np.float32)
    data["grz".index(band)].flat[: round(400 * share)] = value
    return make_fits(data)


def drawn(status, payload, recipe="decals", settings=SETTINGS, **position):
    cutout = {"object_id": "g", "status": status, "payload": payload, **position}
    return image_row(cutout, recipe, settings)


def flagged(*cutout):
    row = drawn(*cutout)
    # Most of these images are noise.
    return [n for n in flags.names(row["flags"]) if n != "low_signal"], row.get("image")


@pytest.mark.parametrize(
    ("status", "payload", "expected"),
    [
        ("no_coverage", None, ["no_coverage"]),
        ("failed", None, ["fetch_failed"]),
        ("invalid", None, ["invalid_payload"]),
        ("invalid", b"no such layer", ["invalid_payload"]),
        ("ok", b"", ["invalid_payload"]),
        ("ok", None, ["invalid_payload"]),
        ("no_coverage", b"bytes of old", ["no_coverage"]),
    ],
)
def test_without_an_image_there_is_a_reason(status, payload, expected):
    assert flagged(status, payload) == (expected, None)


def test_a_good_cutout_has_no_flags(make_fits):
    found, image = flagged("ok", make_fits())
    assert found == []
    with Image.open(io.BytesIO(image["bytes"])) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (32, 32), "RGB")


def test_an_invalid_status_is_kept_though_there_is_an_image(make_fits):
    found, image = flagged("invalid", make_fits())
    assert found == ["invalid_payload"]
    assert image is not None


def test_truncation_is_flagged(make_fits):
    assert flagged("invalid", make_fits()[:9000])[0] == ["invalid_payload", "truncated"]


def test_an_absent_band_is_flagged(make_fits):
    assert flagged("partial", make_fits(bands="gri"))[0] == ["band_missing"]


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_an_empty_band_is_flagged(make_fits, value):
    found, _ = flagged("partial", cutout_with(make_fits, "r", value))
    assert found == ["band_empty", "zero_or_nan_above_20pc", "zero_or_nan_above_15pc"]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.14, []),
        (0.15, []),
        (0.16, ["zero_or_nan_above_15pc"]),
        (0.2, ["zero_or_nan_above_15pc"]),
        (0.21, ["zero_or_nan_above_20pc", "zero_or_nan_above_15pc"]),
    ],
)
@pytest.mark.parametrize("value", [0, np.nan])
def test_bad_pixels_are_counted_in_the_worst_band(make_fits, share, expected, value):
    payload = cutout_with(make_fits, "g", value, share)
    assert flagged("ok", payload)[0] == expected
    row = drawn("ok", payload)
    assert row["bad_pixel_fraction"] == pytest.approx(share)
    told = f"zero or not finite: {share:.0%} of band g" if expected else ""
    assert row["reason"] == told


def test_a_constant_image_is_flagged(make_fits):
    found, _ = flagged("ok", make_fits(np.full((3, 20, 20), 1e6, np.float32)))
    assert found == ["constant", "saturated", "dark"]


def test_only_bands_of_the_recipe_count(make_fits):
    data = np.random.default_rng(1).normal(0.01, 0.01, (4, 20, 20)).astype(np.float32)
    data[2] = 0
    assert flagged("ok", make_fits(data, "griz"))[0] == []


def test_passthrough_shows_as_served_and_refuses_fits(make_fits):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    chosen = RecipeSettings(size=32, format="png")
    found, image = flagged("ok", file.getvalue(), "passthrough", chosen)
    assert found == []
    with Image.open(io.BytesIO(image["bytes"])) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    assert flagged("ok", make_fits(), "passthrough", chosen)[0] == ["invalid_payload"]


@pytest.mark.parametrize("size", [16, 32, 64])
def test_size_and_format_are_those_asked_for(size):
    colour = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    image = encode(colour, RecipeSettings(size=size, format="png"))
    with Image.open(io.BytesIO(image)) as picture:
        assert (picture.format, picture.size) == ("PNG", (size, size))
        if size == 32:
            np.testing.assert_array_equal(np.asarray(picture), colour)


def test_one_row_per_row_in_their_order(write_cutouts, make_fits, tmp_path):
    kinds = [("ok", make_fits()), ("no_coverage", None), ("failed", None), ("invalid", b"x")]
    rows = [(f"g{index:03d}", *kinds[index % 4]) for index in range(150)]
    cutouts = write_cutouts(*rows)
    render(cutouts, tmp_path / "images.parquet", "toy", "decals", SETTINGS)
    table = pq.read_table(tmp_path / "images.parquet")
    assert table["object_id"].to_pylist() == [key for key, _, _ in rows]
    noisy = flags.BITS["low_signal"]
    told = [flags.names(bits & ~noisy) for bits in table["flags"].to_pylist()]
    assert told[:4] == [[], ["no_coverage"], ["fetch_failed"], ["invalid_payload"]]
    assert told == [told[index % 4] for index in range(150)]
    assert [value is not None for value in table["image"].to_pylist()[:4]] == [True, *[False] * 3]
    record = read_record(tmp_path / "images.parquet")
    assert record.rows == 150
    assert record.origin["domain"] == {
        "survey": "toy",
        "recipe": "decals",
        "recipe_version": 1,
        "render_version": record.origin["stage_version"],
        **SETTINGS.product_settings(),
    }


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [("decals", SETTINGS), ("lupton", LuptonSettings(size=48, format="png"))],
)
def test_rendering_again_gives_the_same_bytes(write_cutouts, make_fits, tmp_path, recipe, settings):
    cutouts = write_cutouts(("a", "ok", make_fits()), ("b", "no_coverage", None))
    files = []
    for name in ("one", "two"):
        render(cutouts, tmp_path / name / "g0-k0-p4.parquet", "toy", recipe, settings)
        files.append((tmp_path / name / "g0-k0-p4.parquet").read_bytes())
    assert files[0] == files[1]


def test_no_rows_are_a_product_too(write_cutouts, tmp_path):
    render(write_cutouts(), tmp_path / "images.parquet", "toy", "decals", SETTINGS)
    assert pq.read_metadata(tmp_path / "images.parquet").num_rows == 0


def test_what_is_no_product_is_refused(tmp_path):
    (tmp_path / "cutouts.parquet").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="not a product of galaxymill"):
        render(tmp_path / "cutouts.parquet", tmp_path / "i.parquet", "toy", "decals", SETTINGS)


def test_real_cutouts(shared_data, write_cutouts, tmp_path):
    paths = sorted((shared_data / "legacy_grz_fits").glob("*.fits"))
    cutouts = write_cutouts(*((path.stem, "ok", path.read_bytes()) for path in paths))
    render(cutouts, tmp_path / "images.parquet", "real", "decals", DecalsSettings(size=128))
    rows = pq.read_table(tmp_path / "images.parquet").to_pylist()
    told = {row["object_id"]: flags.names(row["flags"]) for row in rows if row["flags"]}
    assert told == {
        "zoodecals_example_bad_pix": ["zero_or_nan_above_20pc", "zero_or_nan_above_15pc"],
        "zoodecals_example_incomplete": ["invalid_payload", "truncated"],
    }
    assert sum(row["image"] is not None for row in rows) == len(paths) - 1


def test_command_line(galaxymill, write_cutouts, make_fits, tmp_path):
    cutouts, out = write_cutouts(("a", "ok", make_fits())), tmp_path / "images.parquet"
    words = ["render", cutouts, out, "--survey", "toy", "--recipe"]
    done = galaxymill(*words, "lupton", "--set", "size=32", "--set", "q=6")
    assert done.returncode == 0, done.stderr
    assert read_record(out).origin["parameters"]["q"] == 6
    done = galaxymill(*words, "decals", "--set", "q=6")
    assert done.returncode == 2
    assert "render --recipe decals: q: unknown key; allowed: blue, fill, format" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_real_sdss_frame_lies_at_the_angle_that_astropy_finds(shared_data):
    """North lies some 13 degrees, and a multiple of 90, off the frame's own axes."""
    path = next((shared_data / "sdss_field").glob("frame-i-*.fits.bz2"))
    with fits.open(path) as frame:
        cut = Cutout2D(frame[0].data, (1000, 700), (101, 101), WCS(frame[0].header))
    hdu = fits.PrimaryHDU(cut.data.astype(np.float32), cut.wcs.to_header())
    hdu.header["BANDS"] = "i"
    file = io.BytesIO()
    hdu.writeto(file)
    middle = cut.wcs.pixel_to_world(50, 50)
    north = middle.directional_offset_by(0 * units.deg, 5 * units.arcsec)
    x, y = np.array(cut.wcs.world_to_pixel(north)) - 50
    from_up_deg = np.degrees(np.arctan2(-x, y))
    recipe = AsinhSettings(bands=("i",), scales=(50.0,), size=101)
    row = drawn("ok", file.getvalue(), "asinh", recipe, ra=middle.ra.deg, dec=middle.dec.deg)
    assert 10 < abs(row["rotation"]) < 16
    # The frame is a mirror image or not: the angle turns with it.
    away = min((sign * from_up_deg - row["rotation"]) % 90 for sign in (1, -1))
    assert min(away, 90 - away) < 0.05
    assert row["centre_offset"] == pytest.approx(0, abs=0.01)
    assert row["peak_snr"] >= 0


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(write_cutouts, make_fits, tmp_path, threads):
    rng = np.random.default_rng(1)
    noise = [rng.normal(0.1, 0.05, (3, 40, 40)).astype(np.float32) for _ in range(7)]
    cutouts = write_cutouts(*((f"g{i}", "ok", make_fits(noise[i % 7])) for i in range(70)))
    out = tmp_path / "images.parquet"
    render(cutouts, out, "toy", "decals", SETTINGS, threads)
    one = [image_row(row, "decals", SETTINGS) for row in pq.read_table(cutouts).to_pylist()]
    table = pq.read_table(out)
    assert table["image"].to_pylist() == [row["image"] for row in one]
    assert table["peak_snr"].to_pylist() == pytest.approx([row["peak_snr"] for row in one])


def test_a_galaxy_off_the_middle_is_flagged_and_measured(make_fits):
    payload = make_fits(ra=150.0, dec=2.0)
    width = 0.262 * 32
    for off, flagged_so in ((0.04, False), (0.06, True)):
        row = drawn("ok", payload, ra=150.0, dec=2.0 + off * width / 3600)
        assert row["centre_offset"] == pytest.approx(off * width, rel=1e-3)
        assert ("off_centre" in flags.names(row["flags"])) is flagged_so
    assert drawn("ok", payload)["centre_offset"] is None


def test_webp_is_without_loss():
    colour = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    image = encode(colour, RecipeSettings(size=32, format="webp"))
    with Image.open(io.BytesIO(image)) as picture:
        assert picture.format == "WEBP"
        np.testing.assert_array_equal(np.asarray(picture), colour)


def test_a_missing_band_is_drawn_with_the_fill(make_fits):
    payload = make_fits(bands="gri")
    rows = [
        drawn("partial", payload, settings=DecalsSettings(size=32, format="png", fill=fill))
        for fill in (0.0, 1.0)
    ]
    assert all("band_missing" in flags.names(row["flags"]) for row in rows)
    red = []
    for row in rows:
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            red.append(np.asarray(picture)[..., 0].mean())
    assert red[0] + 20 < red[1]


def round_source(height, width, across=1.0, up=1.0):
    """Fluxes of a round galaxy in the middle; pixels may be larger on the sky than 1."""
    y, x = np.mgrid[:height, :width]
    far = (across * (x - (width - 1) / 2)) ** 2 + (up * (y - (height - 1) / 2)) ** 2
    noise = np.random.default_rng(1).normal(0, 0.002, (3, height, width))
    return (np.exp(-far / 200) + noise).astype(np.float32)


def pixels_of(row):
    with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
        return np.asarray(picture)


def widths(row):
    """Second moments across and up of what is bright in a picture."""
    light = np.clip(pixels_of(row).mean(axis=2) - 60, 0, None)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return [
        np.sqrt(np.average((axis - np.average(axis, weights=light)) ** 2, weights=light))
        for axis in (x, y)
    ]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("shape", ["cut", "pad"])
@pytest.mark.parametrize("outline", [(96, 192), (201, 100), (64, 65)])
@pytest.mark.parametrize("recipe", ["decals", "passthrough"])
def test_a_round_galaxy_stays_round(make_fits, outline, shape, recipe):
    data = round_source(*outline)
    payload = make_fits(data)
    if recipe == "passthrough":
        grey = np.clip(250 * data[0], 0, 255).astype(np.uint8)
        payload = png(np.dstack([grey] * 3))
    chosen = RECIPES[recipe].settings(size=128, format="png", shape=shape)
    row = drawn("ok", payload, recipe, chosen)
    assert "not_square" in flags.names(row["flags"])
    across, up = widths(row)
    assert across == pytest.approx(up, rel=0.02)
    height, width = outline
    side = min(outline) if shape == "cut" else max(outline)
    how = f"the middle {side}×{side} is drawn" if shape == "cut" else f"padded to {side}×{side}"
    assert row["reason"] == f"image is {width}×{height}, not square: {how}"


def test_what_is_cut_or_padded_is_what_pillow_cuts_and_pads():
    pixels = np.random.default_rng(1).integers(0, 256, (30, 70, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    cut = drawn("ok", png(pixels), "passthrough", PassthroughSettings(size=30, format="png"))
    expected = ImageOps.fit(picture, (30, 30), centering=(0.5, 0.5))
    np.testing.assert_array_equal(pixels_of(cut), np.asarray(expected))
    chosen = PassthroughSettings(size=70, format="png", shape="pad")
    padded = drawn("ok", png(pixels), "passthrough", chosen)
    expected = ImageOps.pad(picture, (70, 70), color=(0, 0, 0))
    np.testing.assert_array_equal(pixels_of(padded), np.asarray(expected))


def test_fluxes_are_padded_with_the_fill_and_the_padding_is_not_judged(make_fits):
    chosen = LuptonSettings(size=192, format="png", shape="pad", fill=0.2)
    row = drawn("ok", make_fits(round_source(96, 192)), "lupton", chosen)
    full = drawn("ok", make_fits(np.full((3, 192, 192), 0.2, np.float32)), "lupton", chosen)
    np.testing.assert_array_equal(pixels_of(row)[:48], pixels_of(full)[:48])
    assert row["bad_pixel_fraction"] == 0


def test_only_what_is_drawn_is_judged(make_fits):
    data = round_source(96, 192)
    data[:, :, :40] = 0
    assert drawn("ok", make_fits(data))["bad_pixel_fraction"] == 0


@pytest.mark.parametrize("shape", ["cut", "pad"])
@pytest.mark.parametrize("outline", [(64, 128), (128, 128), (91, 100)])
def test_pixels_that_are_oval_on_the_sky_are_drawn_as_square_ones(make_fits, outline, shape):
    data = round_source(*outline, up=2.0)
    with fits.open(io.BytesIO(make_fits(data))) as hdus:
        hdus[0].header["CD2_2"] *= 2
        file = io.BytesIO()
        hdus.writeto(file)
    chosen = DecalsSettings(size=128, format="png", shape=shape)
    row = drawn("ok", file.getvalue(), settings=chosen)
    across, up = widths(row)
    assert across == pytest.approx(up, rel=0.03)
    assert "not_square" in flags.names(row["flags"])
    assert row["reason"] == "pixels are 0.262×0.524 arcsec: drawn as square ones"


@pytest.mark.parametrize("turn", [0, 90, 100])
def test_a_rectangle_that_is_padded_is_seen_as_a_whole_when_reprojected(turn):
    """A strip that lies across the sky: both ends, bright here, are in the picture."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 2], [64.5, 16.5]
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = np.array([[-cosine, sine], [sine, cosine]]) * 0.3 / 3600
    flux = np.random.default_rng(1).normal(0, 0.01, (32, 128)).astype(np.float32)
    flux[8:24, 4:12] = flux[8:24, -12:-4] = 50
    file = io.BytesIO()
    fits.PrimaryHDU(flux, fits.Header({**wcs.to_header(), "BAND0": "r"})).writeto(file)
    chosen = AsinhSettings(
        bands=("r",), scales=(1.0,), size=128, format="png", shape="pad", reproject=True
    )
    row = image_row({"object_id": "g", "status": "ok", "payload": file.getvalue()}, "asinh", chosen)
    with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
        bright = np.asarray(picture.convert("L")) > 128
    assert bright.sum() == pytest.approx(2 * 16 * 8, rel=0.15)
    y, x = np.nonzero(bright)
    assert np.hypot(np.ptp(x), np.ptp(y)) > 115
    assert [x.mean(), y.mean()] == pytest.approx([63.5, 63.5], abs=0.6)


def test_a_long_strip_is_not_padded_beyond_bounds():
    strip = png(np.random.default_rng(1).integers(0, 256, (2, 4000, 3)).astype(np.uint8))
    row = drawn("ok", strip, "passthrough", PassthroughSettings(shape="pad"))
    assert "image of 4000×2 is too large when padded; choose shape: cut" in row["reason"]


@pytest.mark.parametrize(
    ("asked", "expected", "reason"),
    [
        ({}, [], ""),
        ({"size": None, "pixel_scale": None}, [], ""),
        ({"size": 96, "pixel_scale": 0.262}, [], ""),
        # Services may spread the field over the survey's own pixels.
        ({"size": 48, "pixel_scale": 0.524}, [], ""),
        ({"size": 97, "pixel_scale": 0.262}, [], ""),
        ({"size": 256}, ["size_differs"], "image is 96×96, 256 asked for"),
        ({"size": 256, "pixel_scale": 0.262}, ["size_differs"], "image is 96×96, 256 asked for"),
        (
            {"size": 96, "pixel_scale": 0.131},
            ["scale_differs"],
            "pixels are 0.262 arcsec, 0.131 asked for",
        ),
        ({"pixel_scale": 0.25}, ["scale_differs"], "pixels are 0.262 arcsec, 0.25 asked for"),
        ({"pixel_scale": 0.26}, [], ""),
    ],
)
def test_what_differs_from_what_was_asked_is_flagged(make_fits, asked, expected, reason):
    row = drawn("ok", make_fits(round_source(96, 96)), **asked)
    assert flags.names(row["flags"]) == expected
    assert row["reason"] == reason


def test_the_reason_of_a_cutout_stays_with_its_image(make_fits):
    for status, payload, told in [
        ("no_coverage", None, "no image"),
        ("invalid", b"x", "not a FITS file"),
        ("partial", make_fits(bands="gri"), "no band z"),
    ]:
        row = drawn(status, payload, reason=told)
        assert row["reason"].startswith(told)
    assert row["reason"] == "no band z; no band z: there are g, r, i"


def test_fluxes_of_other_units_come_out_dark(make_fits):
    row = drawn("ok", make_fits(round_source(96, 96) * 1e-4))
    assert "dark" in flags.names(row["flags"])
    assert "nearly of one shade all over" in row["reason"]
    assert "see the unit of the fluxes" in row["reason"]


def test_reasons_are_counted_in_the_log(write_cutouts, make_fits, tmp_path, caplog):
    caplog.set_level("INFO", "galaxymill")
    cutouts = write_cutouts(
        ("a", "ok", make_fits(round_source(96, 96))),
        *((f"b{i}", "ok", png_rgb()) for i in range(4)),
    )
    render(cutouts, tmp_path / "images.parquet", "toy", "decals", SETTINGS)
    told = "a JPEG or PNG has its colours already: use recipe passthrough"
    assert f"render g0-k0-p4: reasons: 4 {told}, e.g. b0, b1, b2, ..." in caplog.text
    table = pq.read_table(tmp_path / "images.parquet")
    assert table["reason"].to_pylist() == ["", *[told] * 4]
    reread = list(unfit_rows(tmp_path / "images.parquet", flags.unfit_bits(())))
    assert reread == [(f"b{i}", f"invalid_payload: {told}") for i in range(4)]


def png_rgb():
    return png(np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("payload", "recipe", "message"),
    [
        (
            "png",
            "decals",
            "recipe decals can draw none of 2 cutouts: a JPEG or PNG has its colours",
        ),
        ("fits", "passthrough", "passthrough can draw none of 2 cutouts: a FITS cutout needs"),
        (
            "fits",
            "euclid",
            "none of 2 cutouts: no band VIS, Y, which euclid draws: there are g, r, z",
        ),
    ],
)
def test_a_recipe_that_fits_no_cutout_fails_the_job(
    write_cutouts, make_fits, tmp_path, payload, recipe, message
):
    content = png_rgb() if payload == "png" else make_fits()
    rows = [("a", "ok", content), ("b", "ok", content), ("c", "failed", None)]
    out = tmp_path / "images.parquet"
    with pytest.raises(UserError, match=message):
        render(write_cutouts(*rows), out, "toy", recipe, RECIPES[recipe].settings(size=32))
    assert not out.exists()
    # One may be odd, and one that can be drawn tells that it is not the recipe.
    render(write_cutouts(rows[0]), out, "toy", recipe, RECIPES[recipe].settings(size=32))
    assert flags.names(pq.read_table(out)["flags"][0].as_py()) == ["invalid_payload"]


def test_damaged_files_alone_do_not_fail_the_job(write_cutouts, make_fits, tmp_path):
    cutouts = write_cutouts(*((f"g{i}", "invalid", make_fits()[:9000]) for i in range(5)))
    render(cutouts, tmp_path / "images.parquet", "toy", "decals", SETTINGS)
    assert pq.read_metadata(tmp_path / "images.parquet").num_rows == 5


@pytest.mark.parametrize("with_reasons", [True, False])
def test_status_tells_the_reasons_of_images(write_cutouts, make_fits, tmp_path, with_reasons):
    """Also of products that were made before there were reasons."""
    cutouts = write_cutouts(("a", "ok", make_fits(round_source(96, 192))), ("b", "failed", None))
    out = tmp_path / "images" / "g0-k0-p4.parquet"
    render(cutouts, out, "toy", "decals", SETTINGS)
    if not with_reasons:
        pq.write_table(pq.read_table(out).drop_columns(["reason"]), out)
    stage = SimpleNamespace(products=out.parent, logs=tmp_path)
    flagged = "12:00 render g0-k0-p4: flags: 1 not_square, 1 fetch_failed\n"
    (tmp_path / "g0-k0-p4.log").write_text(flagged)
    found = count_images(SimpleNamespace(done={"g0-k0-p4": 0.0}, stage=stage))
    assert found.counts == {"not_square": 1, "fetch_failed": 1}
    told = ": image is 192×96, not square: the middle 96×96 is drawn" if with_reasons else ""
    (one,) = found.reasons.values()
    assert (one.text, one.count, one.named) == (f"not_square{told}", 1, "a")

"""North up, east left, whichever way a cutout lies: seen with sources of known position."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from galaxymill.decoding.decode import read_fits
from galaxymill.decoding.place import Place
from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import image_row
from galaxymill.sky.angles import separation_arcsec

SIDE, SCALE = 41, 0.262
RA, DEC = 150.0, 2.0
DRAWN = sorted(name for name, recipe in RECIPES.items() if recipe.colour is not None)
ANGLES = [0, 13, -30, 44, 60, 90, 103, 180, 225, 270, 300]


def cards(angle_deg, mirrored=False, side=SIDE):
    """Header of an image whose north lies so far from +y, counter-clockwise."""
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag([1 if mirrored else -1, 1]) @ turn * SCALE / 3600
    header = fits.Header()
    for axis, (kind, value) in enumerate((("RA---TAN", RA), ("DEC--TAN", DEC)), start=1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = kind, value
        header[f"CRPIX{axis}"] = (side + 1) / 2
        for other in (1, 2):
            header[f"CD{axis}_{other}"] = matrix[axis - 1, other - 1]
    return header


def sky_with(header, bands, *offsets, width=1.2):
    """A cutout with a round source at each offset (east, north), in arcsec, from the middle."""
    y, x = np.mgrid[:SIDE, :SIDE]
    plane = np.zeros((SIDE, SIDE))
    for east, north in offsets:
        ra = RA + east / 3600 / np.cos(np.radians(DEC))
        at_x, at_y = WCS(header).world_to_pixel_values(ra, DEC + north / 3600)
        plane += np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 2 / width**2)
    hdu = fits.PrimaryHDU(np.stack([plane] * len(bands)).astype(np.float32), header)
    for index, band in enumerate(bands):
        hdu.header[f"BAND{index}"] = band
    file = io.BytesIO()
    hdu.writeto(file)
    return file.getvalue()


def brightest(row):
    """(east, north) in pixels of the light's centre in a rendered image, north taken as up."""
    with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
        light = np.asarray(picture, float).sum(axis=2)
    light = np.where(light > 0.6 * light.max(), light, 0)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    middle = (light.shape[0] - 1) / 2
    down, right = ((light * at).sum() / light.sum() - middle for at in (rows, columns))
    return -right, -down


def draw(payload, recipe, **settings):
    chosen = RECIPES[recipe].settings(size=SIDE, format="png", **settings)
    return image_row({"object_id": "g", "status": "ok", "payload": payload}, recipe, chosen)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("name", DRAWN)
def test_a_source_north_east_lands_upper_left(name, angle, mirrored):
    """Where it lands, turned by the angle that the row tells, is where it is on the sky."""
    bands = RECIPES[name].settings().drawn_bands()
    payload = sky_with(cards(angle, mirrored), bands, (2.6, 2.1))
    row = draw(payload, name)
    left, up = brightest(row)
    assert -45.01 <= row["rotation"] <= 45.01
    if abs(row["rotation"]) < 35:
        assert left > 0
        assert up > 0
    turn = np.radians(row["rotation"])
    east, north = left * np.cos(turn) + up * -np.sin(turn), left * np.sin(turn) + up * np.cos(turn)
    if abs(row["rotation"]) < 0.01:
        assert (left, up) == pytest.approx((2.6 / SCALE, 2.1 / SCALE), abs=0.3)
    assert (east, north) == pytest.approx((2.6 / SCALE, 2.1 / SCALE), abs=0.3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("name", DRAWN)
def test_reprojected_north_is_exactly_up(name, angle, mirrored):
    bands = RECIPES[name].settings().drawn_bands()
    row = draw(sky_with(cards(angle, mirrored), bands, (2.6, 2.1)), name, reproject=True)
    assert row["rotation"] == 0
    assert brightest(row) == pytest.approx((2.6 / SCALE, 2.1 / SCALE), abs=0.3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_quarter_turns_leave_every_pixel_as_it_is(angle, mirrored):
    rng = np.random.default_rng(1)
    hdu = fits.PrimaryHDU(rng.normal(size=(3, SIDE, SIDE)).astype(np.float32))
    hdu.header.update(cards(angle, mirrored), BANDS="grz")
    file = io.BytesIO()
    hdu.writeto(file)
    row = draw(file.getvalue(), "lupton")
    with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
        ours = np.asarray(picture)
    straight = RECIPES["lupton"].colour(
        read_fits(file.getvalue()).planes, RECIPES["lupton"].settings()
    )
    assert sorted(map(tuple, ours.reshape(-1, 3))) == sorted(map(tuple, straight.reshape(-1, 3)))
    assert row["rotation"] == pytest.approx(0, abs=1e-6)


def test_without_a_position_fits_is_shown_y_up_and_cannot_be_reprojected():
    payload = sky_with(cards(0), "grz", (2.6, 2.1)).replace(b"CTYPE1", b"CTYPEX")
    row = draw(payload, "lupton")
    assert row["rotation"] is None
    assert brightest(row) == pytest.approx((2.6 / SCALE, 2.1 / SCALE), abs=0.3)
    assert "image" not in draw(payload, "lupton", reproject=True)


@given(
    st.floats(-180, 180),
    st.booleans(),
    st.floats(0.05, 3),
)
def test_the_residual_angle_is_that_of_the_wcs(angle, mirrored, scale):
    matrix = np.array([[-scale, 0], [0, scale]])
    turn = np.radians(angle)
    matrix = matrix @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    if mirrored:
        matrix[0] *= -1
    from galaxymill.images.orientation import residual_deg

    left = residual_deg(Place(10.0, 20.0, scale, tuple(map(tuple, matrix.T))))
    assert -45 - 1e-6 <= left <= 45 + 1e-6
    away = (angle - left) % 90 if not mirrored else (-angle - left) % 90
    assert min(away, 90 - away) < 1e-6


@given(st.floats(0, 360), st.floats(-89.9, 89.9), st.floats(0, 360), st.floats(-90, 90))
def test_separations_are_those_of_astropy(ra1, dec1, ra2, dec2):
    from astropy.coordinates import angular_separation

    expected = np.degrees(angular_separation(*np.radians([ra1, dec1, ra2, dec2]))) * 3600
    assert separation_arcsec(ra1, dec1, ra2, dec2) == pytest.approx(expected, rel=1e-6, abs=1e-3)

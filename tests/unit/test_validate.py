"""Every verdict on what a service may send."""

import io

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from galaxymill.surveys.base import Target
from galaxymill.surveys.validate import check_payload, is_empty

TARGET = Target("g1", 150.0, 2.0, 0.262, 32)
DATA = np.random.default_rng(1).normal(0.01, 0.01, (3, 32, 32)).astype(np.float32)


def with_band(index, value):
    data = DATA.copy()
    data[index] = value
    return data


def raster(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_what_was_asked_for_is_ok(cutout):
    assert check_payload(cutout, TARGET, "grz") == check_payload(cutout, None, None)
    assert check_payload(cutout, TARGET, "grz").status == "ok"
    assert check_payload(cutout, TARGET, "grz").reason == ""


@pytest.mark.parametrize("payload", [None, b""])
def test_nothing_is_invalid(payload):
    assert check_payload(payload, TARGET, "grz").status == "invalid"


@pytest.mark.parametrize("payload", [b"no such layer", b"<html>", b"SIMPLE  = but no more"])
def test_text_is_invalid(payload):
    verdict = check_payload(payload, TARGET, "grz")
    assert verdict.status == "invalid"
    assert verdict.reason


def test_truncated_fits_is_invalid(cutout):
    verdict = check_payload(cutout[:9000], TARGET, "grz")
    assert (verdict.status, verdict.reason) == ("invalid", "FITS data end too early")


@pytest.mark.parametrize("shape", [(3, 32, 31), (3, 64, 64)])
def test_another_size_is_invalid(make_fits, shape):
    verdict = check_payload(make_fits(np.ones(shape, np.float32)), TARGET, "grz")
    assert verdict.status == "invalid"
    assert "not 32" in verdict.reason


@pytest.mark.parametrize("empty", [0.0, np.nan, np.inf])
def test_an_empty_band_is_partial(make_fits, empty):
    verdict = check_payload(make_fits(with_band(2, empty)), TARGET, "grz")
    assert (verdict.status, verdict.reason) == ("partial", "band z is empty")


@pytest.mark.parametrize("few", [0.0, np.nan, 3.5])
def test_two_values_make_a_band(few):
    plane = np.full((4, 4), few, np.float32)
    assert is_empty(plane)
    plane[1, 2:] = np.inf, -np.inf
    assert is_empty(plane)
    plane[3, :2] = -1e-9, 1e-9
    assert not is_empty(plane)


@pytest.mark.parametrize("flux", [1e38, -1e9])
def test_impossible_fluxes_are_invalid_where_the_unit_is_known(make_fits, flux):
    data = DATA.copy()
    data[1, 3, 4], data[1, 5, 6] = flux, np.inf
    verdict = check_payload(make_fits(data), TARGET, "grz")
    assert (verdict.status, verdict.reason) == ("invalid", "band r holds impossible fluxes")
    assert check_payload(make_fits(data), TARGET, None).status == "ok"


def test_swapped_bytes_are_invalid(make_fits):
    payload = make_fits(DATA)
    start = len(payload) - 5 * 2880
    swapped = np.frombuffer(payload, ">u4", offset=start).byteswap().tobytes()
    assert check_payload(payload[:start] + swapped, TARGET, "grz").status == "invalid"


def test_pixels_that_are_not_square_are_invalid(make_fits):
    payload = make_fits(DATA).replace(b"CD2_2   =", b"CD2_2   = 1.0E-4 /")[: 2880 + 5 * 2880]
    assert check_payload(payload, TARGET, "grz").status == "invalid"


def test_an_absent_band_is_partial(make_fits):
    verdict = check_payload(make_fits(DATA, "gri"), TARGET, "grz")
    assert (verdict.status, verdict.reason) == ("partial", "no band z")


@given(
    st.floats(0, 360, exclude_max=True),
    st.floats(-85, 85),
    st.floats(0, 2),
    st.floats(0, 360),
)
def test_half_a_pixel_off_centre_is_too_much(make_fits, ra, dec, off_pixels, angle):
    centre = SkyCoord(ra, dec, unit="deg")
    moved = centre.directional_offset_by(angle * units.deg, off_pixels * 0.262 * units.arcsec)
    payload = make_fits(DATA, ra=moved.ra.deg, dec=moved.dec.deg)
    verdict = check_payload(payload, Target("g", ra, dec, 0.262, 32), "grz")
    if abs(off_pixels - 0.5) > 0.01:
        assert verdict.status == ("ok" if off_pixels < 0.5 else "invalid")


def test_without_a_wcs_the_place_is_not_believed():
    from astropy.io import fits

    file = io.BytesIO()
    fits.PrimaryHDU(DATA, fits.Header({"BANDS": "grz"})).writeto(file)
    assert check_payload(file.getvalue(), TARGET, "grz").status == "invalid"
    assert check_payload(file.getvalue(), None, "grz").status == "ok"


def test_raster_verdicts():
    pixels = np.arange(32 * 32 * 3).reshape(32, 32, 3) % 251
    assert check_payload(raster(pixels), TARGET, None).status == "ok"
    told = check_payload(raster(pixels), TARGET, "grz")
    assert (told.status, told.reason) == ("invalid", "not a FITS file")
    assert check_payload(raster(pixels[:30]), TARGET, None).reason == "image is 32×30, not 32"
    assert check_payload(raster(pixels[:30]), None, None).status == "ok"
    blank = check_payload(raster(np.zeros((32, 32, 3))), TARGET, None)
    assert (blank.status, blank.reason) == ("invalid", "every pixel has the same value")


@pytest.mark.parametrize(
    ("share", "status"), [(0.0, "ok"), (0.009, "ok"), (0.011, "partial"), (0.5, "partial")]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_band_with_holes_is_partial(make_fits, share, status, value):
    data = np.random.default_rng(1).normal(0.01, 0.01, (3, 32, 32)).astype(np.float32)
    data[1].flat[: round(share * 1024)] = value
    told = check_payload(make_fits(data), TARGET, "grz")
    assert told.status == status
    assert ("band r has pixels that are not finite" in told.reason) is (status == "partial")

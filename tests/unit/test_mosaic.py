"""Cuts are those of astropy, pixel for pixel, and their headers say where they lie."""

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.nddata.utils import NoOverlapError
from astropy.wcs import WCS

from galaxymill.decoding.decode import read_fits
from galaxymill.surveys.base import Target
from galaxymill.surveys.mosaics.mosaic import Mosaic, cut, stack, zero_point_factor

DATA = np.random.default_rng(3).normal(size=(80, 120)).astype(np.float32)
SCALE = 0.3


def make_wcs(ra=150.0, dec=2.0, angle=0.0, crpix=(60.5, 40.5), frame="ICRS"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = crpix
    wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
    turn = np.radians(angle)
    wcs.wcs.pc = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    wcs.wcs.radesys = frame
    return wcs


def target_at(wcs, x, y, size=32, scale=SCALE):
    ra, dec = wcs.all_pix2world(x, y, 0)
    return Target("g", float(ra), float(dec), scale, size)


@pytest.mark.parametrize("size", [1, 16, 31, 32, 200])
@pytest.mark.parametrize("angle", [0.0, 33.0])
def test_cuts_are_those_of_astropy(size, angle):
    wcs = make_wcs(angle=angle)
    mosaic = Mosaic(DATA, wcs.to_header())
    for x, y in np.random.default_rng(size).uniform((-150, -150), (270, 230), (80, 2)):
        target = target_at(wcs, x, y, size)
        plane = cut(mosaic, target)
        try:
            expected = Cutout2D(DATA, (x, y), size, wcs, mode="partial", fill_value=np.nan)
        except NoOverlapError:
            assert plane is None
            continue
        np.testing.assert_array_equal(plane.data, expected.data)
        assert plane.whole == np.isfinite(expected.data).all()
        found = WCS(plane.header).all_world2pix(target.ra, target.dec, 0)
        np.testing.assert_allclose(found, expected.wcs.all_world2pix(target.ra, target.dec, 0))


def test_size_is_that_of_the_field():
    mosaic = Mosaic(DATA, make_wcs().to_header())
    target = target_at(make_wcs(), 60, 40, size=40, scale=0.15)
    assert cut(mosaic, target).data.shape == (20, 20)


def test_the_file_is_standard_and_render_reads_it():
    wcs = make_wcs(angle=20)
    mosaic = Mosaic(DATA, wcs.to_header(), zero_point_factor(25.0))
    target = target_at(wcs, 50.2, 45.2)
    planes = {"r": cut(mosaic, target), "g": cut(Mosaic(-DATA, wcs.to_header()), target)}
    payload = stack(planes, ("g", "r", "z"))
    assert len(payload) % 2880 == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(io.BytesIO(payload)) as hdus:
            hdus.verify("exception")
            assert hdus[0].data.shape == (2, 32, 32)
            assert hdus[0].header["BUNIT"] == "nanomaggy"
            seen = WCS(hdus[0].header).celestial.all_world2pix(target.ra, target.dec, 0)
    np.testing.assert_allclose(seen, (15.2, 15.2), atol=1e-6)
    cutout = read_fits(payload)
    assert list(cutout.planes) == ["g", "r"]
    np.testing.assert_allclose(cutout.planes["r"], DATA[30:62, 35:67] * 0.1, rtol=1e-6)
    np.testing.assert_array_equal(cutout.planes["g"], -DATA[30:62, 35:67])
    assert cutout.pixel_scale == pytest.approx(SCALE)


def test_distortions_go_along():
    header = make_wcs().to_header()
    header.update({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"})
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_1_1": -2e-4})
    wcs = WCS(header)
    target = target_at(wcs, 99.8, 59.8)
    plane = cut(Mosaic(DATA, header), target)
    expected = Cutout2D(DATA, (99.8, 59.8), 32, wcs, mode="partial", fill_value=np.nan)
    np.testing.assert_array_equal(plane.data, expected.data)
    with fits.open(io.BytesIO(stack({"g": plane}, "g"))) as hdus:
        seen = WCS(hdus[0].header, naxis=2)
    corners = np.array([[0, 0], [31, 31], [0, 31]])
    np.testing.assert_allclose(
        seen.all_pix2world(corners, 0), expected.wcs.all_pix2world(corners, 0), atol=1e-9
    )
    centre = read_fits(stack({"g": plane}, "g")).centre
    np.testing.assert_allclose(centre, wcs.all_pix2world(99.5, 59.5, 0), atol=1e-9)
    assert np.abs(seen.all_pix2world(corners, 0) - seen.wcs_pix2world(corners, 0)).max() > 1e-5


def test_polynomials_of_scamp_go_along():
    header = make_wcs().to_header()
    header.update({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV1_4": 0.5})
    header.update({"PV2_1": 1.0, "PV2_5": -0.5})
    # The polynomials are defined with a CD matrix.
    header.update({f"CD{axis}_{axis}": header.pop(f"CDELT{axis}") for axis in (1, 2)})
    wcs = WCS(header)
    target = target_at(wcs, 99.8, 59.8)
    payload = stack({"g": cut(Mosaic(DATA, header), target)}, "g")
    with fits.open(io.BytesIO(payload)) as hdus:
        seen = WCS(hdus[0].header, naxis=2)
    corners = np.array([[0, 0], [31, 31], [0, 31]])
    expected = wcs.all_pix2world(corners + np.array([84, 44]), 0)
    np.testing.assert_allclose(seen.all_pix2world(corners, 0), expected, atol=1e-9)
    centre = read_fits(payload).centre
    np.testing.assert_allclose(centre, wcs.all_pix2world(99.5, 59.5, 0), atol=1e-9)


def test_a_reference_pixel_of_zero():
    """The WCS library leaves its card out."""
    wcs = make_wcs(crpix=(0.0, 0.0))
    plane = cut(Mosaic(DATA, wcs.to_header()), target_at(wcs, 60, 40))
    assert (plane.header["CRPIX1"], plane.header["CRPIX2"]) == (-44, -24)


@pytest.mark.parametrize(("ra", "dec"), [(330.0, -2.0), (150.0, 80.0), (np.nan, 0.0)])
def test_far_from_the_image_there_is_no_pixel(ra, dec):
    assert cut(Mosaic(DATA, make_wcs().to_header()), Target("g", ra, dec, SCALE, 32)) is None


@pytest.mark.parametrize("kind", ["FK4", "galactic", "swapped", "none"])
def test_other_coordinates_are_refused(kind):
    header = make_wcs(frame="FK4" if kind == "FK4" else "ICRS").to_header()
    if kind == "galactic":
        header.update({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"})
        del header["RADESYS"]
    elif kind == "swapped":
        header.update({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.0, "CRVAL2": 150.0})
    elif kind == "none":
        header = fits.Header()
    with pytest.raises(ValueError, match="WCS"):
        cut(Mosaic(DATA, header), Target("g", 150.0, 2.0, SCALE, 32))


@pytest.mark.parametrize("axes", [0, 10, 20_000, 10**11])
def test_axes_that_would_take_all_memory_are_refused(axes):
    header = make_wcs().to_header()
    header["WCSAXES"] = axes
    with pytest.raises(ValueError, match="too few or too many axes"):
        cut(Mosaic(DATA, header), Target("g", 150.0, 2.0, SCALE, 32))

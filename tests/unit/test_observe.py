"""Galaxies moved and seen anew: against GalSim, astropy and skies whose noise is known."""

import galsim
import numpy as np
import pytest
from astropy import units
from astropy.cosmology import Planck18
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from galaxymill.decoding.decode import read_fits
from galaxymill.decoding.place import Place
from galaxymill.surveys.observe.distance import STILL, arcsec_per_parsec, farther, to_redshift
from galaxymill.surveys.observe.draw import CannotShowError, Source, Wanted, draw
from galaxymill.surveys.observe.optics import depth_of, moffat_transform, noise_area, sky_sigma
from galaxymill.surveys.observe.sky import REACH, measure_sky, missing_noise, white
from galaxymill.surveys.services.synthetic import to_nanomaggies
from galaxymill.surveys.telescope import Telescope

PIXEL = 0.262
SIGMA = 0.01
NORTH_UP = Place(150.0, 2.0, PIXEL, ((-PIXEL, 0.0), (0.0, PIXEL)))


def rng_of(band):
    return np.random.default_rng([7, ord(band[0])])


def galsim_image(fwhm, pixel, side, size=1.0, flux=50.0):
    """An exponential galaxy of half-light radius 1.5 arcsec times size, as a survey pixels it."""
    light = galsim.Exponential(half_light_radius=1.5 * size, flux=flux).shear(g1=0.2, g2=0.1)
    seen = galsim.Convolve(light, galsim.Moffat(beta=3, fwhm=fwhm))
    return seen.drawImage(nx=side, ny=side, scale=pixel).array.astype(np.float32)


def sky_of(side=256, sigma=SIGMA, seed=1):
    return np.random.default_rng(seed).normal(0, sigma, (side, side)).astype(np.float32)


def source(plane, seeing=1.2, depth=None, place=NORTH_UP, cards=None, pixel=PIXEL):
    telescope = Telescope(seeing={"r": seeing}, depth={} if depth is None else {"r": depth})
    return Source({"r": plane}, pixel, place, telescope, cards or {})


def wanted(seeing=1.2, depth=None, pixel=0.0, size=0):
    telescope = Telescope(seeing={"r": seeing}, depth={} if depth is None else {"r": depth})
    return Wanted(("r",), telescope, pixel, size, same_sky=depth is None)


def drawn(one, move, how):
    return read_fits(draw(one, move, how, rng_of))


@pytest.mark.parametrize("beta", [2.5, 3.0, 4.7])
def test_the_transform_of_a_moffat_is_galsims(beta):
    frequency = np.linspace(0, 3, 50)
    profile = galsim.Moffat(beta=beta, fwhm=1.2)
    expected = [profile.kValue(2 * np.pi * k, 0).real for k in frequency]
    np.testing.assert_allclose(moffat_transform(frequency, 1.2, beta), expected, atol=3e-5)


@pytest.mark.parametrize("pixel", [0.2, 0.262, 0.4])
def test_depth_is_that_of_a_point_source_measured_best(pixel):
    profile = galsim.Moffat(beta=3, fwhm=1.2)
    image = profile.drawImage(nx=301, ny=301, scale=pixel).array.astype(float)
    image /= image.sum()
    assert noise_area(1.2, 3.0, pixel) == pytest.approx(1 / (image**2).sum(), rel=2e-3)
    # Least squares of a point source's flux in white noise has this error.
    sigma = sky_sigma(23.9, 1.2, 3.0, pixel)
    error = sigma / np.sqrt((image**2).sum())
    assert 22.5 - 2.5 * np.log10(5 * error) == pytest.approx(23.9, abs=2e-3)
    assert depth_of(sigma, 1.2, 3.0, pixel) == pytest.approx(23.9)


@pytest.mark.parametrize(
    ("times", "fwhm", "pixel"), [(2.0, 1.2, PIXEL), (1.5, 1.2, PIXEL), (1.0, 1.6, 0.396)]
)
def test_light_is_what_galsim_draws_there(times, fwhm, pixel):
    near = galsim_image(1.2, PIXEL, 257)
    one = Source({"r": near}, PIXEL, None, Telescope(seeing={"r": 1.2}, depth={"r": 60 - 20.1}), {})
    how = Wanted(("r",), Telescope(seeing={"r": fwhm}, depth={"r": 39.0}), pixel, 97, False)
    found = drawn(one, farther(times), how).planes["r"]
    expected = galsim_image(fwhm, pixel, 97, 1 / times, 50 / times**2)
    assert found.sum() == pytest.approx(expected.sum(), rel=3e-3)
    np.testing.assert_allclose(found, expected, atol=4e-3 * expected.max())


@given(times=st.floats(1.05, 3), pixel=st.floats(0.262, 0.5), beta=st.floats(2.5, 6))
@settings(max_examples=25, deadline=None)
def test_flux_falls_as_the_square_of_distance(times, pixel, beta):
    plane = galsim_image(1.0, PIXEL, 256, 0.6)
    telescope = Telescope(seeing={"r": 1.0}, depth={"r": 39.5}, beta=beta)
    one = Source({"r": plane}, PIXEL, None, telescope, {})
    how = Wanted(
        ("r",), Telescope(seeing={"r": 1.0}, depth={"r": 39.0}, beta=beta), pixel, 0, False
    )
    found = drawn(one, farther(times), how).planes["r"]
    assert found.sum() * times**2 == pytest.approx(plane.sum(), rel=0.01)


def test_redshift_is_that_of_a_cosmology():
    move = to_redshift(0.05, 0.2)
    kpc = [Planck18.kpc_proper_per_arcmin(z).value for z in (0.05, 0.2)]
    assert move.size == pytest.approx(kpc[0] / kpc[1])
    distances = [Planck18.luminosity_distance(z).value for z in (0.05, 0.2)]
    assert move.flux == pytest.approx((distances[0] / distances[1]) ** 2)
    # Tolman: surface brightness falls by (1 + z)^4.
    assert move.flux / move.size**2 == pytest.approx((1.05 / 1.2) ** 4)
    parsec = (units.pc / Planck18.angular_diameter_distance(0.046)).to("").value
    assert arcsec_per_parsec(0.046) == pytest.approx(np.degrees(parsec) * 3600, rel=1e-6)


def correlated(seed, weights=(0.25, 1.0, 0.25)):
    """Noise of standard deviation 1 that a resampling has smeared along both axes."""
    noise = np.random.default_rng(seed).standard_normal((300, 300))
    for axis in (0, 1):
        noise = ndimage.convolve1d(noise, weights, axis=axis, mode="wrap")
    return noise / np.sqrt(sum(np.square(weights))) ** 2


def test_the_sky_is_measured_between_sources():
    found = []
    for seed in range(10):
        noise = SIGMA * correlated(seed)[:256, :256]
        galaxy = galsim_image(1.2, PIXEL, 256, flux=300.0)
        stars = np.zeros((256, 256))
        rows, columns = np.random.default_rng(seed).integers(0, 256, (2, 30))
        stars[rows, columns] = 20
        blurred = ndimage.gaussian_filter(stars, 2)
        found.append(measure_sky((noise + galaxy + blurred).astype(np.float32)).covariance)
    mean = np.mean(found, axis=0) / SIGMA**2
    lag = 2 * 0.25 / (1 + 2 * 0.25**2)
    assert mean[REACH, REACH] == pytest.approx(1, abs=0.02)
    assert mean[REACH, REACH + 1] == pytest.approx(lag, abs=0.02)
    assert mean[REACH + 1, REACH] == pytest.approx(lag, abs=0.02)
    assert mean[REACH + 1, REACH + 1] == pytest.approx(lag**2, abs=0.02)
    assert mean[REACH + 3, REACH] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("plane", [np.zeros((64, 64)), np.full((64, 64), np.nan), np.ones((9, 9))])
def test_no_sky_is_measured_where_there_is_none(plane):
    assert measure_sky(plane.astype(np.float32)) is None


def test_missing_noise_is_the_difference():
    there = white(0.6).covariance
    fields = [
        missing_noise(white(1.0), there, 96, np.random.default_rng(seed)) for seed in range(20)
    ]
    assert np.std(fields) == pytest.approx(0.8, rel=0.01)
    none = missing_noise(white(0.5), there, 96, np.random.default_rng(1))
    assert np.abs(none).max() < 1e-9


@pytest.mark.parametrize("times", [1.2, 1.5, 2.0, 3.0])
def test_noise_far_away_is_the_telescopes_own(times):
    sigmas, lags = [], []
    for seed in range(12):
        plane = SIGMA * correlated(seed)[:256, :256]
        found = drawn(source(plane.astype(np.float32)), farther(times), wanted()).planes["r"]
        found = found.astype(float)
        sigmas.append(found.std())
        lags.append((found[1:] * found[:-1]).mean() / found.var())
    assert np.mean(sigmas) == pytest.approx(SIGMA, rel=0.02)
    assert np.mean(lags) == pytest.approx(2 * 0.25 / (1 + 2 * 0.25**2), abs=0.05)


def test_another_telescope_has_its_depth():
    how = wanted(seeing=1.4, depth=21.5, pixel=0.396)
    planes = [drawn(source(sky_of(seed=s)), STILL, how) for s in range(5)]
    sigma = np.std([one.planes["r"] for one in planes])
    assert depth_of(sigma, 1.4, 3.0, 0.396) == pytest.approx(21.5, abs=0.02)
    assert planes[0].cards["FWHM0"] == 1.4
    assert planes[0].cards["DEPTH0"] == pytest.approx(21.5, abs=1e-6)


WORSE = {
    "not sharp enough": (source(sky_of()), STILL, wanted(seeing=1.0)),
    "not deep enough": (source(sky_of()), STILL, wanted(seeing=1.3, depth=27.0)),
    "would be 0.262 arcsec, larger": (source(sky_of()), STILL, wanted(pixel=0.2)),
    "256 pixels of it cover 128 of those wanted, not 200": (
        source(sky_of()),
        farther(2),
        wanted(size=200),
    ),
    "cover 8 of those wanted, fewer than 16": (source(sky_of(64)), farther(8), wanted()),
    "too little of the cutout is sky": (
        source(galsim_image(1.2, PIXEL, 64, 6)),
        farther(1.5),
        wanted(),
    ),
    "seeing is not known": (
        Source({"r": sky_of()}, PIXEL, None, Telescope(), {}),
        farther(2),
        wanted(),
    ),
    "none of the bands r": (
        Source({"g": sky_of()}, PIXEL, None, Telescope(), {}),
        farther(2),
        wanted(),
    ),
}


@pytest.mark.parametrize("reason", WORSE)
def test_what_is_no_better_is_not_shown(reason):
    with pytest.raises(CannotShowError, match=reason):
        draw(*WORSE[reason], rng_of)


def test_a_header_knows_the_seeing_better():
    how = wanted(seeing=1.3)
    with pytest.raises(CannotShowError, match=r"1\.5 arcsec wide, more than the 1\.3"):
        draw(source(sky_of(), cards={"FWHM0": 1.5}), STILL, how, rng_of)


@pytest.mark.parametrize("angle", [0, 33, 200])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_image_stays_turned(angle, mirrored):
    turn = np.radians(angle)
    axes = PIXEL * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    axes[0] *= 1 if mirrored else -1
    place = Place(150.0, 2.0, PIXEL, tuple(map(tuple, axes)))
    plane = sky_of(sigma=1e-4)
    plane += ndimage.shift(galsim_image(1.2, PIXEL, 256, 0.2), (30, -50), order=3)
    found = drawn(source(plane, place=place), farther(2), wanted())
    assert found.place.pixel_scale == pytest.approx(PIXEL, rel=1e-6)
    data = found.planes["r"]
    row, column = ndimage.center_of_mass(np.where(data > 0.1 * data.max(), data, 0))
    header = {key: found.cards[key] for key in found.cards if key[:2] in ("CT", "CR", "CD")}
    ra, dec = WCS(header).all_pix2world(column, row, 0)
    # Half as far from the middle as it was, in the same direction.
    expected = (30 * axes[1] - 50 * axes[0]) / 2
    east = (ra - 150) * np.cos(np.radians(2)) * 3600
    np.testing.assert_allclose([east, (dec - 2) * 3600], expected, atol=0.1)


def test_holes_stay_holes_and_do_not_spread():
    plane = sky_of() + galsim_image(1.2, PIXEL, 256)
    whole = drawn(source(plane), farther(2), wanted()).planes["r"]
    plane[120:124, 130:134] = np.nan
    found = drawn(source(plane), farther(2), wanted()).planes["r"]
    assert 4 <= np.isnan(found).sum() <= 9
    assert np.isnan(found[60:62, 65:67]).all()
    far = np.hypot(*(np.indices(found.shape) - 62)) > 15
    np.testing.assert_allclose(found[far], whole[far], atol=5 * SIGMA)


def test_an_empty_band_stays_empty_and_an_absent_one_absent():
    planes = {"g": np.zeros((256, 256), np.float32), "r": sky_of()}
    telescope = Telescope(seeing={"g": 1.3, "r": 1.2, "z": 1.1})
    how = Wanted(("g", "r", "z"), telescope, 0.0, 0, True)
    found = drawn(Source(planes, PIXEL, None, telescope, {}), farther(2), how)
    assert list(found.planes) == ["g", "r"]
    assert not found.planes["g"].any()
    assert found.planes["r"].std() == pytest.approx(SIGMA, rel=0.05)
    assert found.place is None


UNITS = {
    "mag/arcsec2": lambda v: (v * units.ABmag).to(units.nJy) * 0.1**2,
    "Jy": lambda v: v * units.Jy,
    "uJy": lambda v: v * units.uJy,
    "nJy": lambda v: v * units.nJy,
    "MJy/sr": lambda v: (v * units.MJy / units.sr * (0.1 * units.arcsec) ** 2).to(units.nJy),
    "nanomaggy": lambda v: v * (22.5 * units.ABmag).to(units.nJy),
}


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_astropys(unit):
    value = 21.3
    expected = (UNITS[unit](value) / (22.5 * units.ABmag).to(units.nJy)).to("").value
    found = to_nanomaggies(np.array([[value]], np.float32), unit, 0.1)
    assert found[0, 0] == pytest.approx(expected, rel=1e-3)


def test_where_no_photon_fell_there_is_no_light():
    light = np.array([[np.nan, 0.0, 99.0, 20.0]], np.float32)
    found = to_nanomaggies(light, "mag/arcsec2", 1.0)
    np.testing.assert_allclose(found[0, 1:], [0, 0, 10], rtol=1e-5)
    assert np.isnan(found[0, 0]) or found[0, 0] == 0

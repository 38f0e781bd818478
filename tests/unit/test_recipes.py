"""Recipes against the published formula, astropy, and the sky's handedness."""

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from galaxymill.images.decode import read_fits
from galaxymill.images.recipes import RECIPES, DecalsSettings, LuptonSettings, decals, lupton

FLUX = st.floats(-1e3, 1e4, width=32) | st.sampled_from([0.0, np.nan, np.inf, -np.inf, -0.004])
PLANES = arrays(np.float32, (3, 6, 5), elements=FLUX)


def reference_decals(z, r, g):
    """Walmsley+22's colours in float64, pixel by pixel as the formula is written."""
    image = np.empty((*z.shape, 3))
    for place in np.ndindex(z.shape):
        fluxes = [np.nan_to_num(float(band[place]), posinf=0, neginf=0) for band in (z, r, g)]
        v = np.array(fluxes) / [0.019, 0.014, 0.008]
        x = (np.arcsinh(v) - np.arcsinh(-0.5)) / (np.arcsinh(300) - np.arcsinh(-0.5))
        a = x.mean() if x.mean() != 0 else 1.0
        w = np.sin(np.pi / 2 * (1 - min(1, max(x / a) / 2.5)))
        image[place] = x * w + a * (1 - w) + a * (1 - w) ** 2 * x
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)[::-1]


def differ_by(one, other):
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@given(PLANES)
def test_decals_is_the_published_formula(planes):
    image = decals(dict(zip("grz", planes, strict=True)), DecalsSettings())
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    assert differ_by(image, reference_decals(planes[2], planes[1], planes[0])) <= 1


@pytest.mark.parametrize(
    "name", ["zoodecals_temp_small", "gzbcnn_example_b", "zoodecals_example_bad_pix"]
)
def test_decals_on_real_cutouts(shared_data, name):
    payload = (shared_data / "legacy_grz_fits" / f"{name}.fits").read_bytes()
    planes = {band: plane[-90:, :90] for band, plane in read_fits(payload).planes.items()}
    expected = reference_decals(planes["z"], planes["r"], planes["g"])
    assert differ_by(decals(planes, DecalsSettings()), expected) <= 1


@settings(max_examples=30)
@given(
    arrays(np.float32, (3, 6, 5), elements=st.floats(-1, 100, width=32)),
    st.floats(0.01, 10),
    st.floats(0.1, 20),
)
def test_lupton_is_astropy_s(planes, stretch, q):
    chosen = LuptonSettings(stretch=stretch, q=q, minimum=-0.1)
    image = lupton(dict(zip("grz", planes, strict=True)), chosen)
    flipped = planes[::-1, ::-1]
    expected = make_lupton_rgb(*flipped, minimum=-0.1, stretch=stretch, Q=q)
    np.testing.assert_array_equal(image, expected)


@given(PLANES)
def test_lupton_takes_what_is_not_finite(planes):
    image = lupton(dict(zip("grz", planes, strict=True)), LuptonSettings())
    assert image.shape == (6, 5, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("name", ["decals", "lupton"])
def test_a_source_north_east_lands_upper_left(name, make_fits):
    """North is up, and east is left, as one sees the sky."""
    from astropy.io import fits
    from astropy.wcs import WCS

    data = np.zeros((3, 41, 41), np.float32)
    header = fits.Header.fromstring(make_fits(data)[:2880].decode("ascii"))
    x, y = WCS(header, naxis=2).wcs_world2pix([[150.0 + 3 / 3600, 2.0 + 2 / 3600]], 0)[0]
    data[:, round(y), round(x)] = 5.0
    planes = read_fits(make_fits(data)).planes
    recipe = RECIPES[name]
    image = recipe.colour(planes, recipe.settings())
    row, column = np.unravel_index(image.sum(axis=2, dtype=int).argmax(), (41, 41))
    assert (row, column) == (20 - round(2 / 0.262), 20 - round(3 / 0.262))


@pytest.mark.parametrize("name", ["decals", "lupton"])
def test_bands_are_shown_in_the_colours_they_are_set_to(name):
    planes = {band: np.full((4, 4), 1e-3, np.float32) for band in "giz"}
    planes["i"] += 0.05
    recipe = RECIPES[name]
    image = recipe.colour(planes, recipe.settings(red="i", green="z", blue="g"))
    assert image[0, 0].argmax() == 0


def test_the_planes_are_left_as_they_were():
    planes = {band: np.full((4, 4), np.nan, np.float32) for band in "grz"}
    decals(planes, DecalsSettings())
    lupton(planes, LuptonSettings())
    assert all(np.isnan(plane).all() for plane in planes.values())

"""Recipes against the published formulas, written anew in float64, and astropy."""

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from galaxymill.decoding.decode import read_fits
from galaxymill.images.colours import asinh, decals, lupton
from galaxymill.images.recipes import RECIPES
from galaxymill.images.settings import (
    AsinhSettings,
    DecalsSettings,
    EuclidSettings,
    FluxSettings,
    LuptonSettings,
)

# Subnormal numbers, below 1e-38 nanomaggies, become 0 when single precision multiplies them by 0.2.
FLUX = st.floats(-1e3, 1e4, width=32, allow_subnormal=False) | st.sampled_from(
    [0.0, np.nan, np.inf, -np.inf, -0.004]
)
PLANES = arrays(np.float32, (3, 6, 5), elements=FLUX)
DRAWN = sorted(name for name, recipe in RECIPES.items() if recipe.colour is not None)


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
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def reference_asinh(planes, scales, percentile):
    """Each band by itself in float64: asinh(flux · scale), clipped to [0, its percentile]."""
    drawn = []
    for plane, scale in zip(planes, scales, strict=True):
        value = np.arcsinh(np.nan_to_num(plane.astype(float), posinf=0, neginf=0) * scale)
        top = max(np.percentile(value, percentile), 0) or 1.0
        drawn.append(np.clip(value, 0, top) / top if top > 0 else value)
    if len(drawn) == 2:
        drawn = [drawn[0], (drawn[0] + drawn[1]) / 2, drawn[1]]
    drawn = drawn if len(drawn) == 3 else drawn * 3
    return (255 * np.clip(np.stack(drawn[::-1], axis=2), 0, 1)).astype(np.uint8)


def planes_of(recipe, make):
    """Planes of all bands that a recipe draws."""
    return {band: make() for band in recipe.settings().drawn_bands()}


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


def test_decals_on_more_rows_than_one_strip():
    rng = np.random.default_rng(1)
    planes = {band: rng.normal(0.05, 0.1, (40, 3000)).astype(np.float32) for band in "grz"}
    part = {band: plane[25:, :70] for band, plane in planes.items()}
    expected = reference_decals(part["z"], part["r"], part["g"])
    assert differ_by(decals(planes, DecalsSettings())[25:, :70], expected) <= 1


@settings(max_examples=50)
@given(
    arrays(np.float32, (3, 6, 5), elements=st.floats(-1, 100, width=32)),
    st.floats(0.01, 10),
    st.sampled_from([0.0, 1e-9, 0.1, 8.0, 30.0, 1e12]),
)
def test_lupton_is_astropy_s(planes, stretch, q):
    chosen = LuptonSettings(stretch=stretch, q=q, minimum=-0.1)
    image = lupton(dict(zip("grz", planes, strict=True)), chosen)
    expected = make_lupton_rgb(*planes[::-1], minimum=-0.1, stretch=stretch, Q=q)
    assert differ_by(image, expected) <= 1


@pytest.mark.parametrize("name", ["zoodecals_example", "gzbcnn_example_a"])
def test_lupton_on_real_cutouts(shared_data, name):
    payload = (shared_data / "legacy_grz_fits" / f"{name}.fits").read_bytes()
    planes = read_fits(payload).planes
    expected = make_lupton_rgb(planes["z"], planes["r"], planes["g"], stretch=0.5, Q=8)
    assert differ_by(lupton(planes, LuptonSettings()), expected) <= 1


@given(PLANES, st.integers(1, 3), st.sampled_from([50.0, 99.0, 99.85, 100.0]))
def test_asinh_is_its_formula(planes, number, percentile):
    bands, scales = tuple("abc"[:number]), (100.0, 0.2, 7.0)[:number]
    chosen = AsinhSettings(bands=bands, scales=scales, percentile=percentile)
    image = asinh(dict(zip("abc", planes, strict=True)), chosen)
    assert differ_by(image, reference_asinh(planes[:number], scales, percentile)) <= 1
    if number == 1:
        assert (image == image[..., :1]).all()


def test_euclid_s_factors_are_the_published_ones_in_the_mosaics_own_units():
    """100 for VIS and 0.2 for NISP-Y (Galaxy Zoo Euclid), at zero points 24.6 and 29.8."""
    vis, nisp = EuclidSettings().scales
    assert vis == pytest.approx(100 * 10 ** (0.4 * (24.6 - 22.5)), rel=0.01)
    assert nisp == pytest.approx(0.2 * 10 ** (0.4 * (29.8 - 22.5)), rel=0.01)


@pytest.mark.parametrize("name", DRAWN)
@given(data=st.data())
def test_whatever_the_fluxes_are_there_is_an_image(name, data):
    wild = arrays(np.float32, (6, 5), elements=st.floats(width=32))
    recipe = RECIPES[name]
    image = recipe.colour(planes_of(recipe, lambda: data.draw(wild)), recipe.settings())
    assert (image.shape, image.dtype) == ((6, 5, 3), np.uint8)


@pytest.mark.parametrize("name", ["decals", "lupton"])
def test_bands_are_shown_in_the_colours_they_are_set_to(name):
    planes = {band: np.full((4, 4), 1e-3, np.float32) for band in "giz"}
    planes["i"] += 0.05
    recipe = RECIPES[name]
    image = recipe.colour(planes, recipe.settings(red="i", green="z", blue="g"))
    assert image[0, 0].argmax() == 0


@pytest.mark.parametrize(
    ("name", "band", "colour"), [("asinh", "z", 0), ("euclid", "VIS", 2), ("hsc", "r", 1)]
)
def test_bands_are_listed_blue_to_red(name, band, colour):
    recipe = RECIPES[name]
    ramp = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    planes = planes_of(recipe, lambda: ramp * 0)
    planes[band] = ramp
    assert recipe.colour(planes, recipe.settings())[2, 2].argmax() == colour


@pytest.mark.parametrize("name", DRAWN)
def test_the_planes_are_left_as_they_were(name):
    recipe = RECIPES[name]
    planes = planes_of(recipe, lambda: np.full((4, 4), np.nan, np.float32))
    recipe.colour(planes, recipe.settings())
    assert all(np.isnan(plane).all() for plane in planes.values())


@pytest.mark.parametrize("name", DRAWN)
def test_pixels_that_are_not_finite_are_drawn_as_the_fill(name):
    recipe = RECIPES[name]
    rng = np.random.default_rng(1)
    planes = planes_of(recipe, lambda: rng.uniform(0, 1, (8, 8)).astype(np.float32))
    holes = {band: np.where(plane > 0.8, np.nan, plane) for band, plane in planes.items()}
    filled = {band: np.where(plane > 0.8, np.float32(0.3), plane) for band, plane in planes.items()}
    chosen = recipe.settings(fill=0.3)
    np.testing.assert_array_equal(recipe.colour(holes, chosen), recipe.colour(filled, chosen))


@pytest.mark.parametrize(
    "wrong",
    [
        {"bands": ("g",), "scales": (1.0, 2.0)},
        {"bands": ("g", "r"), "scales": (1.0, -2.0)},
        {"bands": ("a", "b", "c", "d"), "scales": (1.0,) * 4},
        {"percentile": 0},
        {"fill": float("nan")},
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(ValidationError):
        AsinhSettings(**wrong)


def test_every_recipe_of_fluxes_can_be_reprojected_and_filled():
    assert all(issubclass(RECIPES[name].settings, FluxSettings) for name in DRAWN)

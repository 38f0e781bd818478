"""What is measured on an image, and the flags that follow."""

import numpy as np
import pytest
from astropy.stats import mad_std
from hypothesis import given
from hypothesis import strategies as st

from galaxymill import flags
from galaxymill.decoding.decode import read_raster
from galaxymill.images.quality import (
    darkness,
    flux_quality,
    peak_snr,
    picture_flags,
    saturated_fraction,
)


def noise(side=128, sigma=0.01, seed=1):
    return np.random.default_rng(seed).normal(0.2, sigma, (side, side)).astype(np.float32)


def galaxy(peak, side=128):
    y, x = np.mgrid[:side, :side] - side // 2
    return noise(side) + (peak * np.exp(-(x**2 + y**2) / 50)).astype(np.float32)


def named(planes, bands="gr"):
    return flags.names(flux_quality(planes, bands)["flags"])


@pytest.mark.parametrize("peak", [0.1, 1.0, 30.0])
def test_peak_snr_is_that_of_the_mean_of_nine_pixels(peak):
    plane = galaxy(peak)
    middle = plane[63:66, 63:66].mean() - 0.2
    assert peak_snr(plane) == pytest.approx(middle / (mad_std(plane) / 3), rel=0.1)


@given(st.integers(0, 1000))
def test_noise_has_no_signal(seed):
    assert 0 <= peak_snr(noise(seed=seed)) < 5.5


def test_a_bright_star_at_the_edge_is_no_signal():
    plane = noise()
    plane[10:14, 10:14] += 100
    assert peak_snr(plane) < 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_holes_do_not_count(value):
    plane = galaxy(1.0)
    plane[64, 64] = value
    plane[::7] = value
    assert 5 < peak_snr(plane) < 1000
    assert peak_snr(np.full((20, 20), value, np.float32)) is None


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 3), (16, 16), (17, 40)])
def test_small_planes_are_measured_too(shape):
    rng = np.random.default_rng(1)
    found = peak_snr(rng.normal(size=shape).astype(np.float32))
    assert found is None or found >= 0


def test_a_plane_without_noise_has_no_ratio():
    plane = np.zeros((64, 64), np.float32)
    plane[32, 32] = 1
    assert peak_snr(plane) is None
    assert "low_signal" not in named({"g": plane, "r": plane})


def test_the_best_band_tells_the_signal_and_the_worst_the_bad_pixels():
    planes = {"g": noise(), "r": galaxy(1.0), "i": np.zeros((128, 128), np.float32)}
    planes["g"][:20] = np.nan
    found = flux_quality(planes, "gr")
    assert found["peak_snr"] == peak_snr(planes["r"])
    assert found["bad_pixel_fraction"] == 20 / 128
    assert flags.names(found["flags"]) == ["zero_or_nan_above_15pc"]


def test_low_signal_is_flagged():
    assert named({"g": noise(), "r": noise(seed=2)}) == ["low_signal"]


@pytest.mark.parametrize("value", [0, np.nan])
def test_no_data_is_all_bands_empty(value):
    empty = np.full((16, 16), value, np.float32)
    assert "no_data" in named({"g": empty, "r": empty})
    assert "no_data" not in named({"g": empty, "r": galaxy(1.0)})
    assert "band_empty" in named({"g": empty, "r": galaxy(1.0)})


def test_nothing_of_what_is_wanted_is_no_data():
    found = flux_quality({"z": galaxy(1.0)}, "gr")
    assert set(flags.names(found["flags"])) >= {"band_missing", "no_data"}
    assert (found["bad_pixel_fraction"], found["peak_snr"]) == (1.0, None)


def test_white_pixels_are_counted():
    colour = np.zeros((10, 20, 3), np.uint8)
    colour[0, :4] = 255
    colour[1, :9, :2] = 255
    assert saturated_fraction(colour) == 4 / 200
    assert flags.names(picture_flags(colour, 4 / 200)) == ["saturated"]
    assert flags.names(picture_flags(colour, 0.01)) == []


def shades(low, high, side=64):
    return np.random.default_rng(1).integers(low, high + 1, (side, side, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("low", "high", "shade"),
    [(0, 15, "black"), (3, 3, "black"), (17, 20, "of one shade"), (241, 255, "white")],
)
def test_one_shade_nearly_all_over_is_told(low, high, shade):
    colour = shades(low, high)
    colour[5, 5] = 255 - low
    told = f"nearly {shade} all over: its values lie between {low} and {high} of 255"
    assert darkness(colour) == told


def test_a_small_galaxy_on_a_black_sky_is_not_dark():
    colour = np.zeros((424, 424, 3), np.uint8)
    colour[207:218, 207:218, 0] = 40
    assert darkness(colour) == ""


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_unused_bits_of_16_are_told(bits):
    colour = shades(0, 2 ** (bits - 8) - 1)
    assert f"its data fill {bits} of 16 bits: set depth to" in darkness(colour, 16)
    assert darkness(shades(0, 64), 16) == ""
    assert darkness(shades(0, 20), 12) == ""


@pytest.mark.parametrize("name", ["gz2_sdss_jpeg", "rings_decals_png", "gz_examples"])
def test_no_real_picture_is_dark(shared_data, name):
    paths = sorted((shared_data / name / "images").iterdir())[::5]
    assert len(paths) >= 20
    assert [path.name for path in paths if darkness(read_raster(path.read_bytes()))] == []

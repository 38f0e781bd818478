"""The piece of sky that Galaxy Zoo DECaLS showed of each galaxy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.surveys.base import ServiceSettings
from galaxymill.surveys.pixel_scale import NATIVE_PIXEL_SCALE, pixel_scale_and_size

RADII = st.floats(0, 200)
SIZES = st.integers(16, 1700)


def by_radius(size=424):
    return ServiceSettings(pixel_scale="gz_decals", size=size)


@given(st.none() | RADII, st.none() | RADII, st.floats(0.01, 5), SIZES)
def test_a_fixed_scale_is_kept(small, large, scale, size):
    settings = ServiceSettings(pixel_scale=scale, size=size)
    assert pixel_scale_and_size(small, large, settings) == (scale, size)


@given(RADII, RADII, SIZES)
def test_the_field_is_that_of_galaxy_zoo(small, large, size):
    scale, pixels = pixel_scale_and_size(small, large, by_radius(size))
    field = 424 * max(min(0.04 * small, 0.02 * large), 0.1)
    assert scale >= NATIVE_PIXEL_SCALE
    assert 16 <= pixels <= size
    if scale > NATIVE_PIXEL_SCALE:
        assert pixels == size
    if pixels > 16:
        assert abs(scale * pixels - field) <= 0.5 * NATIVE_PIXEL_SCALE + 1e-9


@pytest.mark.parametrize(
    ("small", "large", "size", "expected"),
    [
        (10.0, 30.0, 424, (0.4, 424)),  # 0.04·10 = 0.4 < 0.02·30
        (10.0, 15.0, 424, (0.3, 424)),  # 0.02·15 = 0.3 < 0.04·10
        (5.0, 12.0, 424, (0.262, 324)),  # 0.2 "/px: fewer native pixels, 424·0.2/0.262
        (1.0, 2.0, 424, (0.262, 162)),  # never finer than 0.1 "/px
        (10.0, 30.0, 128, (424 * 0.4 / 128, 128)),
    ],
)
def test_by_hand(small, large, size, expected):
    assert pixel_scale_and_size(small, large, by_radius(size)) == pytest.approx(expected)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -3.0, 0.0])
def test_without_a_radius_the_smallest_field_is_cut(missing):
    smallest = pixel_scale_and_size(0.1, 0.1, by_radius())
    assert pixel_scale_and_size(missing, 30.0, by_radius()) == smallest
    assert pixel_scale_and_size(10.0, missing, by_radius()) == smallest

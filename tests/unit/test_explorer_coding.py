"""Codes compare as the values do; maps and likeness are those of others."""

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.explorer.coding import (
    GRID,
    SHARES,
    UNKNOWN,
    density,
    direction_codes,
    directions,
    histogram,
    mollweide,
    morton,
    place_codes,
    steps_of,
    worth_of,
)

RNG = np.random.default_rng(8)


def require_exact(steps, values, width):
    """Every threshold, asked of the codes, is met by those whose values meet it."""
    codes = steps.codes(values, width).astype(np.int64)
    known = ~np.isnan(values)
    assert (codes[~known] == UNKNOWN[width]).all()
    for place, limit in enumerate(steps.thresholds(values.dtype)):
        middle = 2 * place + 1
        np.testing.assert_array_equal(codes[known] >= middle, values[known] >= limit)
        np.testing.assert_array_equal(codes[known] <= middle, values[known] <= limit)


def test_codes_of_shares_compare_as_the_shares_do_in_both_directions():
    shares = RNG.uniform(0, 1, 5000).astype(np.float32)
    shares[:101] = np.arange(101) / 100
    shares[200:210] = np.nan
    require_exact(SHARES, shares, 1)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(17, 2, 3000).astype(np.float32),
        RNG.lognormal(0, 3, 3000),
        RNG.normal(-1e9, 3e7, 3000),
        np.concatenate([RNG.uniform(0, 0.2, 3000), [-9999.0, 1e30, np.nan]]),
        np.full(50, 3.0),
        np.zeros(10),
        np.array([0.123456789]),
        np.array([np.nan, np.nan]),
        np.array([-np.inf, np.inf, 1.0, 2.0]),
    ],
)
def test_codes_of_any_numbers_compare_as_the_numbers_do(values):
    steps = steps_of(values)
    assert 1 <= steps.count <= 1002
    require_exact(steps, values, 2)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40))
def test_codes_of_a_few_numbers_compare_too(values):
    values = np.array(values, np.float64)
    require_exact(steps_of(values), values, 2)


def test_thresholds_are_the_shortest_decimals():
    steps = steps_of(RNG.uniform(14, 22, 9000))
    for limit in steps.thresholds(np.float64):
        assert float(f"{limit:.{steps.decimals}f}") == limit


def test_histogram_counts_each_known_value_once():
    codes = SHARES.codes(np.array([0, 0, 0.5, 1, np.nan], np.float32), 1)
    counts = histogram(codes, 2 * SHARES.count)
    assert sum(counts) == 4
    assert counts[0] == 2


def test_the_sky_is_projected_as_wcslib_does():
    ra, dec = RNG.uniform(0, 360, 3000), np.degrees(np.arcsin(RNG.uniform(-1, 1, 3000)))
    dec[:4] = -90, 90, 0, 89.9999
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval, sky.wcs.cdelt = ["RA---MOL", "DEC--MOL"], [180, 0], [-1, 1]
    wanted = sky.wcs_world2pix(np.column_stack([ra, dec]), 0) + 1
    half = 180 * np.sqrt(8) / np.pi
    across, up = mollweide(ra, dec)
    np.testing.assert_allclose(across, (wanted[:, 0] / half + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(up, (2 * wanted[:, 1] / half + 1) / 2, atol=1e-6)


def test_places_beyond_the_edge_are_on_it_and_unknown_ones_have_a_code():
    codes = place_codes(np.array([0, 0.5, 1, 1.2, -3, np.nan]))
    assert codes.tolist() == [0, 32767, 65534, 65534, 0, 65535]


def test_morton_order_interleaves_bits():
    across, up = (RNG.integers(0, 65536, 200).astype(np.uint16) for _ in "xy")
    wanted = [
        sum(((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << 2 * bit + 1) for bit in range(16))
        for x, y in zip(across.tolist(), up.tolist(), strict=True)
    ]
    assert morton(across, up).tolist() == wanted


def test_density_counts_as_numpy_does_to_a_few_percent():
    # Cells of 64 steps, so that no rounding is asked of numpy.
    edges = (16384, 49151, 0, 32767)
    spread = RNG.normal(16384, 4000, (2, 50_000)).clip(0, 32767)
    across, up = (spread[0] + 16384).astype(np.uint16), spread[1].astype(np.uint16)
    across[::100] = UNKNOWN[2]
    codes, most = density(across, up, edges)
    known = across < 65535
    limits = [[edges[2], edges[3] + 1], [edges[0], edges[1] + 1]]
    wanted = np.histogram2d(up[known], across[known], bins=GRID, range=limits)[0]
    assert most == wanted.max()
    counts = np.expm1(codes * np.log1p(most) / 255)
    assert ((counts > 0) == (wanted > 0)).all()
    np.testing.assert_allclose(np.round(counts), wanted, atol=1, rtol=0.05)


def test_coded_directions_find_most_of_those_that_are_alike():
    features = (RNG.normal(0, 1, (4000, 64)) * np.geomspace(4, 0.2, 64)).astype(np.float32)
    features[7] = np.nan
    unit = directions(features)
    worth = worth_of(unit)
    codes = direction_codes(unit, worth)
    assert (codes[7] == -128).all()
    found = []
    for row in range(20, 40):
        whole = features / np.linalg.norm(features, axis=1, keepdims=True)
        wanted = np.argsort(-np.nan_to_num(whole @ whole[row], nan=-9))[:50]
        likeness = codes.astype(np.float32) @ (codes[row] * worth**2)
        likeness[7] = -np.inf
        found.append(len(set(np.argsort(-likeness)[:50]) & set(wanted)) / 50)
    assert np.mean(found) > 0.85

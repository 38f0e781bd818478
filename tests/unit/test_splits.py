"""Splits are a hash of the place on the sky: nobody changes sides."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from hats.pixel_math.spatial_index import compute_spatial_index
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxymill.sky.healpix import count_pixels, healpix_pixels
from galaxymill.splits import (
    SPLITS,
    SplitSettings,
    assign_folds,
    assign_splits,
    near_training,
    uniform,
)

IDS = [f"J{number:06d}" for number in range(20_000)]
FROZEN = ["val", "train", "train", "test"]
LON, LAT = st.floats(0, 360), st.floats(-90, 90)


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (1.0, 0.0, 0.0), (0.5, 0.0, 0.5)])
def test_shares_are_kept(shares):
    splits = assign_splits(IDS, None, SplitSettings(train=shares[0], val=shares[1], test=shares[2]))
    for name, share in zip(SPLITS, shares, strict=True):
        spread = np.sqrt(share * (1 - share) / len(IDS))
        assert abs(splits.count(name) / len(IDS) - share) <= 5 * spread


def test_another_salt_gives_another_split():
    one, other = (assign_splits(IDS, None, SplitSettings(salt=salt)) for salt in ("", "x"))
    agree = np.mean(np.array(one) == np.array(other))
    assert abs(agree - (0.7**2 + 0.1**2 + 0.2**2)) < 0.03


@given(st.permutations(IDS[:50]), st.integers(1, 50))
def test_new_galaxies_move_no_old_one(order, n):
    alone = dict(zip(order[:n], assign_splits(order[:n], None, SplitSettings()), strict=True))
    together = dict(zip(order, assign_splits(order, None, SplitSettings()), strict=True))
    assert alone.items() <= together.items()


def test_the_hash_never_changes():
    """Another hash would carry test galaxies into training."""
    assert uniform("J000000") == pytest.approx(0.4551661890923429, abs=1e-15)
    assert assign_splits(["a", "b", "c", "d"], None, SplitSettings()) == FROZEN


def test_neighbours_share_a_split():
    generator = np.random.default_rng(1)
    ra, dec = generator.uniform(149, 151, 5000), generator.uniform(1, 3, 5000)
    splits = assign_splits(IDS[:5000], np.stack([ra, dec], axis=1), SplitSettings())
    pixels = compute_spatial_index(ra, dec, spatial_index_order=10)
    sides = {}
    for pixel, split in zip(pixels, splits, strict=True):
        sides.setdefault(pixel, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert set(splits) == set(SPLITS)


def test_a_galaxy_seen_twice_has_one_split_whatever_its_id():
    place = np.array([[10.0, -5.0], [10.0, -5.0]])
    one, other = assign_splits(["old name", "new name"], place, SplitSettings())
    assert one == other


@settings(max_examples=50)
@given(st.lists(st.tuples(LON, LAT), min_size=1, max_size=50))
def test_pixels_are_those_of_hats(positions):
    ra, dec = np.array(positions).T
    np.testing.assert_array_equal(healpix_pixels(ra, dec, 29), compute_spatial_index(ra, dec))


@given(LON, LAT, st.integers(0, 29))
def test_pixels_are_nested(ra, dec, order):
    place = np.array([ra]), np.array([dec])
    assert healpix_pixels(*place, order) == healpix_pixels(*place, 29) >> 2 * (29 - order)


def test_pixels_are_counted():
    index = healpix_pixels(np.array([10.0, 10.0, 200.0]), np.array([5.0, 5.0, -60.0]), 29)
    counts = count_pixels(index)
    assert counts.sum() == 3
    assert counts.max() == 2


def test_galaxies_without_a_place_are_split_by_their_id():
    place = np.array([[10.0, -5.0], [np.nan, np.nan]])
    one, other = assign_splits(["a", "b"], place, SplitSettings())
    assert other == assign_splits(["b"], None, SplitSettings())[0]
    assert [one] == assign_splits(["a"], place[:1], SplitSettings())


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([-90.0, -60.0, 0.0, 89.99]))
def test_near_training_is_what_separations_say(seed, dec):
    generator = np.random.default_rng(seed)
    n = 60
    # Within 72" of a point on the zero meridian, the poles included.
    offset = generator.uniform(-0.02, 0.02, (2, n))
    place = np.column_stack([(offset[0] * 30) % 360, np.clip(dec + offset[1], -90, 90)])
    place[generator.random(n) < 0.1] = np.nan
    splits = generator.choice(SPLITS, n)
    known = np.isfinite(place).all(axis=1)
    train = SkyCoord(place[known & (splits == "train")] * units.deg)
    expected = np.zeros(n, dtype=bool)
    for row in np.flatnonzero(known & (splits == "test")):
        apart = SkyCoord(*place[row], unit="deg").separation(train)
        expected[row] = (apart.arcsec <= 30).any()
    np.testing.assert_array_equal(near_training(place, splits), expected)


def test_nothing_is_near_without_positions():
    assert not near_training(None, np.array(["train", "test"])).any()


def test_the_radius_is_a_setting():
    place = np.array([[10.0, 0.0], [10.0, 45 / 3600]])
    splits = np.array(["train", "test"])
    assert near_training(place, splits).tolist() == [False, False]
    assert near_training(place, splits, radius_arcsec=46).tolist() == [False, True]


def test_folds_are_even_and_kept():
    folds = assign_folds(IDS, None, 5)
    assert (abs(np.bincount(folds) - len(IDS) / 5) < 5 * np.sqrt(len(IDS) * 0.16)).all()
    assert assign_folds(IDS[:50], None, 5).tolist() == folds[:50].tolist()
    # A split by the same draws would leave folds empty.
    train = np.array(assign_splits(IDS, None, SplitSettings())) == "train"
    assert (abs(np.bincount(folds[train]) - train.sum() / 5) < 5 * np.sqrt(len(IDS) * 0.16)).all()


def test_a_galaxy_seen_twice_is_in_one_fold():
    place = np.array([[10.0, -5.0], [10.0, -5.0], [np.nan, np.nan]])
    one, other, nowhere = assign_folds(["old name", "new name", "c"], place, 32)
    assert one == other
    assert nowhere == assign_folds(["c"], None, 32)[0]

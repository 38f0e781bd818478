"""Galaxies without positions have places that nothing but their identifier decides."""

import hashlib

import numpy as np
from cdshealpix.nested import healpix_to_lonlat
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from galaxymill.catalog.positions import hash_places

IDS = [f"g{number}" for number in range(20_000)]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=5))
def test_places_are_the_first_bits_of_the_sha256(ids):
    bits = [f"{int(hashlib.sha256(key.encode()).hexdigest(), 16):0256b}" for key in ids]
    assert hash_places(ids).tolist() == [int(each[:58], 2) for each in bits]


def test_places_stay_as_they_are():
    """Another version that draws others would move every galaxy to another partition."""
    assert hash_places(["NGC 1", "587722984180548043"]).tolist() == [
        260656069761766039,
        182014502197460830,
    ]


def test_places_are_uniform_over_one_base_pixel_and_differ():
    places = hash_places(IDS)
    assert kstest(places / 4.0**29, "uniform").pvalue > 0.01
    assert len(set(places.tolist())) == len(IDS)
    # Each of the 16 pixels of order 2 has its share, to four standard deviations.
    counts = np.bincount(places >> 54, minlength=16)
    assert (abs(counts - len(IDS) / 16) < 4 * np.sqrt(len(IDS) / 16)).all()
    assert len(counts) == 16
    # They are pixels of order 29 indeed.
    healpix_to_lonlat(places[:100].astype(np.uint64), 29)


def test_an_order_of_rows_decides_nothing():
    assert hash_places(IDS[::-1]).tolist() == hash_places(IDS)[::-1].tolist()

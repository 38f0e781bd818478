"""The registry of quality bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxymill import flags


def test_bits_are_unique_powers_of_two_that_fit_the_column():
    bits = [flag.bit for flag in flags.FLAGS]
    assert len(set(bits)) == len(bits)
    assert all(bit.bit_count() == 1 and bit < 2**31 for bit in bits)


def test_names_are_unique_and_described():
    assert len(flags.BITS) == len(flags.FLAGS)
    assert all(flag.description for flag in flags.FLAGS)


@given(st.sets(st.sampled_from(sorted(flags.BITS))))
def test_names_and_mask_are_inverse(chosen):
    assert set(flags.names(flags.mask(chosen))) == chosen


@given(st.integers(0, sum(flags.BITS.values())))
def test_mask_and_names_are_inverse(bits):
    assert flags.mask(flags.names(bits)) == bits


def test_unknown_name_raises():
    with pytest.raises(KeyError):
        flags.mask(["blurred"])


def test_only_a_domain_shift_leaves_an_image_fit():
    assert flags.names(sum(flags.BITS.values()) & ~flags.UNFIT) == ["domain_shift"]

"""The registry of quality bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

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


def test_what_leaves_an_image_fit_by_default():
    fit = sum(flags.BITS.values()) & ~flags.unfit_bits(flags.UNFIT)
    told = {"domain_shift", "zero_or_nan_above_15pc", "saturated", "off_centre", "low_signal"}
    told |= {"not_square", "size_differs", "scale_differs", "no_features", "lower_limit"}
    assert set(flags.names(fit)) == told


def test_a_galaxy_without_an_image_is_never_fit():
    told = {"no_coverage", "fetch_failed", "invalid_payload", "unreadable"}
    assert set(flags.names(flags.unfit_bits([]))) == told


def test_a_config_names_flags_of_the_registry():
    adapter = TypeAdapter(flags.FlagNames)
    assert adapter.validate_python("saturated,constant") == ("saturated", "constant")
    with pytest.raises(ValidationError, match="unknown flag 'blurred'; allowed: no_coverage"):
        adapter.validate_python(["blurred"])

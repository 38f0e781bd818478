"""Header cards, against astropy's own reading of them."""

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given
from hypothesis import strategies as st

from galaxymill.decoding.cards import read_cards

KEYWORDS = st.from_regex(r"(?!END$|CONTINUE$)[A-Z][A-Z0-9_-]{0,7}", fullmatch=True)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
VALUES = (
    st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT.filter(lambda text: len(text.replace("'", "''")) < 66)
)


@given(st.dictionaries(KEYWORDS, VALUES, max_size=20))
@example({"A": "'/"})
def test_what_astropy_writes_is_read_as_it_reads_it(values):
    """But for texts, which are read as they were written: astropy itself loses the / of '/."""
    header = fits.Header()
    for keyword, value in values.items():
        header[keyword] = value
    read = read_cards(header.tostring())
    again = fits.Header.fromstring(header.tostring())
    plain = {
        key: again[key]
        for key in again
        if key not in ("COMMENT", "HISTORY", "") and not isinstance(again[key], fits.card.Undefined)
    }
    texts = {key: text.rstrip() for key, text in values.items() if isinstance(text, str)}
    assert read == plain | {key: texts[key] for key in texts.keys() & plain.keys()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5D-3", 0.0015),
        ("  T / a comment", True),
        ("'it''s' / one", "it's"),
        ("'a / b  '", "a / b"),
        ("''", ""),
        ("+7", 7),
        (".5", 0.5),
        ("5.", 5.0),
    ],
)
def test_spellings_of_the_standard(text, value):
    assert read_cards(f"KEY     = {text}".ljust(80)) == {"KEY": value}


@pytest.mark.parametrize(
    "text", ["", "/ none", "(1, 2)", "nan", "1e400x", "9" * 60, "'open", "T F", "'a' b"]
)
def test_what_is_no_value_is_none(text):
    assert read_cards(f"KEY     = {text}".ljust(80)) == {"KEY": None}


def test_the_first_of_several_counts():
    head = "".join(f"KEY     = {number}".ljust(80) for number in (1, 2))
    assert read_cards(head) == {"KEY": 1}


def test_a_real_header_is_read():
    file = io.BytesIO()
    fits.PrimaryHDU(np.zeros((3, 4, 5), ">f4")).writeto(file)
    cards = read_cards(file.getvalue()[:2880].decode())
    assert cards["SIMPLE"] is True
    assert [cards[f"NAXIS{axis}"] for axis in (1, 2, 3)] == [5, 4, 3]

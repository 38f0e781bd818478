"""The cards of a FITS header, as far as cutouts need them: plain values, read once and quickly.

astropy's header does far more (long strings, comments, records, writing) and took two thirds of
the time that it takes to check a cutout; every cutout of a survey passes through twice.
"""

import re

Value = bool | int | float | str | None

_CARD = 80
_STRING = re.compile(r" *'((?:[^']|'')*)' *(?:/.*)?")
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?")
_MAX_DIGITS = 40


def read_cards(head: str) -> dict[str, Value]:
    """Read the values of a header's cards (FITS standard 4.0, section 4.2), up to END.

    Of several cards of a keyword the first counts. None stands for a card without a value, or with
    one that is complex or malformed: whoever needs it must not take it for absent.
    """
    cards: dict[str, Value] = {}
    for start in range(0, len(head), _CARD):
        card = head[start : start + _CARD]
        keyword = card[:8].rstrip()
        if card[8:10] == "= " and keyword not in cards:
            cards[keyword] = _value(card[10:])
    return cards


def _value(text: str) -> Value:
    string = _STRING.fullmatch(text)
    if string:
        return string[1].replace("''", "'").rstrip()
    word = text.split("/", 1)[0].strip()
    if word in ("T", "F"):
        return word == "T"
    if len(word) > _MAX_DIGITS:
        return None
    if _INTEGER.fullmatch(word):
        return int(word)
    return float(word.replace("D", "E")) if _NUMBER.fullmatch(word) else None

"""Units of users' columns, as astropy reads and the standards spell them."""

import warnings
from typing import Any


def _parse(text: str) -> Any:
    """Read a unit in any of the usual spellings: ``deg``, ``degrees``, ``DEG``."""
    from astropy import units

    for spelling in (text, text.lower(), text.lower().removesuffix("s")):
        try:
            return units.Unit(spelling)
        except ValueError:
            continue
    raise ValueError(f"{text!r} is no unit that astropy knows")


def scale(unit: str, wanted: str) -> float:
    """Factor that turns numbers in one unit, e.g. ``rad``, into another, e.g. ``deg``.

    Raises ValueError when ``unit`` is none, or measures something else.
    """
    return float(_parse(unit).to(wanted))


def in_vounit(text: str) -> str:
    """Spell a unit as a VOTable may hold it (VOUnits 1.1); empty for one that it cannot hold."""
    from astropy import units

    # Of units that the standard knows but discourages, such as erg, it warns.
    with warnings.catch_warnings(action="ignore"):
        try:
            return str(_parse(text).to_string("vounit"))
        except ValueError:
            # A unit of the user's own, such as nmgy, is a word that the standard allows.
            found = units.Unit(text, format="vounit", parse_strict="silent")
    return "" if isinstance(found, units.UnrecognizedUnit) else text


def in_fits(text: str) -> str:
    """Give a unit as it is; empty for one that the FITS standard (4.0, 4.3) does not know."""
    from astropy import units

    try:
        units.Unit(text, format="fits")
    except ValueError:
        return ""
    return text

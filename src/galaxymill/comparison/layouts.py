"""How morphology catalogues name their columns: a new layout is one entry of ``LAYOUTS``."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from galaxymill.errors import UserError, unknown_name

# The share of an image's pixels that are bad is no vote.
_GALAXY_ZOO = re.compile(
    r"(?!bad_pixel_)(?P<question>.+)_(?P<answer>[^_]+)_(?P<kind>fraction|debiased)"
)
# Questions and answers of Galaxy Zoo 2 hold underscores, but both have numbers.
_GZ2 = re.compile(
    r"(?P<question>t\d\d_.+)_(?P<answer>a\d\d_.+)(?<!_weighted)_(?P<kind>fraction|debiased)"
)


class Label(NamedTuple):
    """What a column's name says."""

    question: str
    answer: str


@dataclass(frozen=True)
class Layout:
    """What the columns of a catalogue are called: its identifier, positions (ICRS) and answers.

    ``pattern`` matches the name of an answer's column; groups ``question``, ``answer``, ``kind``.
    """

    title: str
    object_id: str
    ra: str = "ra"
    dec: str = "dec"
    pattern: re.Pattern[str] = field(default=_GALAXY_ZOO)

    def label(self, column: str) -> Label | None:
        """Give the question and answer that a column is about; None: about none."""
        found = self.pattern.fullmatch(column)
        return Label(found["question"], found["answer"]) if found else None

    def is_fraction(self, column: str) -> bool:
        """Tell whether a column is the vote fraction of an answer."""
        found = self.pattern.fullmatch(column)
        return found is not None and found["kind"] == "fraction"


LAYOUTS = {
    "galaxymill": Layout("a Galaxymill release", "object_id"),
    "gz_desi": Layout("Galaxy Zoo DESI (Walmsley+23)", "dr8_id"),
    "gz_decals": Layout("Galaxy Zoo DECaLS (Walmsley+22)", "iauname"),
    "euclid_q1": Layout("Euclid Q1 (Walmsley+25)", "object_id", "right_ascension", "declination"),
    "gz2": Layout("Galaxy Zoo 2 (Willett+13, Hart+16)", "dr7objid", pattern=_GZ2),
}


def find_layout(place: str, columns: Collection[str], name: str | None, option: str) -> str:
    """Name the layout of a catalogue: the value of ``option``, or whose columns are all there.

    Raises
    ------
    UserError
        When the name is unknown, or the columns fit no layout, or several.
    """
    if name is not None:
        if name not in LAYOUTS:
            raise unknown_name(option, name, LAYOUTS, "layout")
        return name
    fit = [
        key
        for key, layout in LAYOUTS.items()
        if {layout.object_id, layout.ra, layout.dec} <= set(columns)
    ]
    if len(fit) == 1:
        return fit[0]
    if fit:
        raise UserError(f"{place}: may be {' or '.join(fit)}; say which with {option}")
    layouts = "; ".join(
        f"{key}: {layout.object_id}, {layout.ra}, {layout.dec}" for key, layout in LAYOUTS.items()
    )
    first = ", ".join([*columns][:20]) + (", …" if len(columns) > 20 else "")
    raise UserError(
        f"{place}: the columns are those of no layout known ({layouts}); they are: {first}. "
        f"Rename them, or say which layout it is with {option}"
    )

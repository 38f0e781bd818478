"""Histograms and examples for the pictures of a release, gathered while its tiles are merged."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.release.predictions import Prediction
from galaxymill.tasks.released import Answer, Panel

EXAMPLES, BINS = 6, 20
_VALUES_A_TILE = 2000
"""Of numbers, whose range is not known beforehand: so many of each tile make the histogram."""

_BY_HALF = np.float32(0.5)

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Example = tuple[str, float]
"""A galaxy's id, and its value."""


@dataclass
class AnswerHighlights:
    """The histogram and the surest galaxies of an answer, so far.

    ``counts`` are galaxies by share, from 0 to 1; ``values`` are, of numbers, some of each tile.
    """

    panel: Panel
    answer: Answer
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    values: list[Floats] = field(default_factory=list)
    _surest: list[tuple[float, str, float]] = field(default_factory=list)

    @property
    def examples(self) -> list[Example]:
        """The surest galaxies, the surest first."""
        return [(galaxy, value) for _, galaxy, value in self._surest]

    def count(self, rows: pa.Table, places: Places) -> None:
        """Add some rows, by their places, to the histogram."""
        values = rows[self.answer.column].to_numpy()[places]
        if self.panel.adds_up:
            bins = np.minimum((values * BINS).astype(np.int8), BINS - 1)
            self.counts += np.bincount(bins, minlength=BINS)
        else:
            self.values.append(values[:: max(len(values) // _VALUES_A_TILE, 1)])

    def choose(self, rows: pa.Table, places: Places) -> None:
        """Keep the surest of some rows, by their places, and of those before."""
        sign = -1 if self.answer.lowest else 1
        values = rows[self.answer.column].to_numpy()[places]
        certain = sign * rows[self.answer.certainty].to_numpy()[places]
        best = self._surest
        least = best[-1][0] if len(best) == EXAMPLES else -np.inf
        for place in _best(certain, least).tolist():
            galaxy = rows["object_id"][places[place]].as_py()
            best.append((float(certain[place]), galaxy, float(values[place])))
        # The id settles who comes first among equals.
        self._surest = sorted(best, key=lambda it: (-it[0], it[1]))[:EXAMPLES]


class Highlights:
    """Histograms of what is predicted, and the galaxies that most surely get each answer.

    Only galaxies count of which the friendly table has the value: the proportion of the volunteers
    who would be asked is at least ``cut``. Examples of an answer are those that at least half of
    them would be asked about, whatever the cut: a star has no surest spiral arms.
    """

    def __init__(self, predictions: Sequence[Prediction], cut: float) -> None:
        self._cut = cut
        self.panels = [
            (panel, [AnswerHighlights(panel, answer) for answer in panel.answers])
            for one in predictions
            for panel in one.task.panels()
        ]

    def add(self, rows: pa.Table) -> None:
        """Add rows with all columns of the release."""
        for panel, answers in self.panels:
            has_value = ~np.isnan(rows[panel.answers[0].column].to_numpy())
            asked = rows[panel.asked].to_numpy() if panel.asked else np.ones(rows.num_rows)
            counted = np.flatnonzero(has_value & (asked >= np.float32(self._cut)))
            by_half = np.flatnonzero(has_value & (asked >= max(self._cut, _BY_HALF)))
            for each in answers:
                each.count(rows, counted)
                each.choose(rows, by_half)

    @property
    def answers(self) -> list[AnswerHighlights]:
        """Every answer of every panel."""
        return [each for _, answers in self.panels for each in answers]


def _best(values: Floats, least: float) -> npt.NDArray[np.int64]:
    """Places of the ``EXAMPLES`` highest values of at least ``least``, and of their equals."""
    if len(values) > EXAMPLES:
        least = max(least, float(np.partition(values, -EXAMPLES)[-EXAMPLES]))
    return np.flatnonzero(values >= least)

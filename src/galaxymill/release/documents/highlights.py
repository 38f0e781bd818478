"""What the pictures of a release show, gathered while its tiles are merged."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.trees.tree import Question, Tree

EXAMPLES, BINS = 6, 20

Example = tuple[str, float]
"""A galaxy's id, and the fraction of votes for an answer."""


class Highlights:
    """Histograms of the fractions, and the galaxies that most surely get each answer.

    Only galaxies count that the friendly table has, of which enough volunteers would be asked.

    Parameters
    ----------
    tree : Tree
        The model's questions.
    cut : float
        Least proportion of the volunteers.
    """

    def __init__(self, tree: Tree, cut: float) -> None:
        self._tree, self._cut = tree, cut
        self.histograms = {column: np.zeros(BINS, np.int64) for column in tree.columns}
        self._surest: dict[str, list[tuple[float, str, float]]] = {c: [] for c in tree.columns}

    def add(self, rows: pa.Table) -> None:
        """Add rows with all columns of the release."""
        for question in self._tree.questions:
            self._add(rows, question)

    def _add(self, rows: pa.Table, question: Question) -> None:
        proportions = rows[f"{question.name}_proportion-asked"].to_numpy()
        asked = np.flatnonzero(proportions >= np.float32(self._cut))
        for column in question.columns:
            fractions = rows[f"{column}_fraction"].to_numpy()[asked]
            bins = np.minimum((fractions * BINS).astype(np.int8), BINS - 1)
            self.histograms[column] += np.bincount(bins, minlength=BINS)
            lower = rows[f"{column}_90pc-lower"].to_numpy()[asked]
            known = self._surest[column]
            for place in _best(lower, known[-1][0] if len(known) == EXAMPLES else 0).tolist():
                galaxy = rows["object_id"][asked[place]].as_py()
                known.append((float(lower[place]), galaxy, float(fractions[place])))
            # The id settles who comes first among equals.
            self._surest[column] = sorted(known, key=lambda it: (-it[0], it[1]))[:EXAMPLES]

    @property
    def examples(self) -> dict[str, list[Example]]:
        """The surest galaxies of each answer, by the answer's column; the surest first."""
        return {
            column: [(galaxy, fraction) for _, galaxy, fraction in known]
            for column, known in self._surest.items()
        }


def _best(values: npt.NDArray[np.float32], least: float) -> npt.NDArray[np.int64]:
    """Places of the ``EXAMPLES`` highest values of at least ``least``, and of their equals."""
    if len(values) > EXAMPLES:
        least = max(least, float(np.partition(values, -EXAMPLES)[-EXAMPLES]))
    return np.flatnonzero(values >= least)

"""What to show next: it learns in the background from all that was rated so far."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galaxymill.interest.choose import score
from galaxymill.interest.page.pool import Galaxies, Pool
from galaxymill.interest.process import Floats, Process, directions, distances, fit_process

_PROMISING = 5000
"""The best galaxies, of which batches are chosen."""
_SAME = 0.35
"""How near to an artifact others are nearly the same, of directions; the two most alike of 698 real
galaxies were 0.44 from each other."""

_LEADERS = 30
"""The galaxies to begin with whose likes follow."""

Given = tuple[Sequence[str], npt.NDArray[np.float64]]

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Lesson:
    """What was learned from some ratings.

    Attributes
    ----------
    process : Process
    best : ndarray of int
        Numbers of the galaxies that are worth most to be rated, in order.
    galaxies : Galaxies
        Those that the numbers are of.
    rated : int
        Galaxies whose ratings it was learned from.
    """

    process: Process
    best: npt.NDArray[np.intp]
    galaxies: Galaxies
    rated: int


class Guide:
    """Learns in a thread of its own; ``given`` gives it all ratings, of galaxies by name."""

    def __init__(self, pool: Pool, scale: Floats, given: Callable[[], Given]) -> None:
        self._pool, self._scale, self._given = pool, scale, given
        self._changed = threading.Condition()
        self._version = self._learned = 0
        self._lesson: Lesson | None = None
        threading.Thread(target=self._run, name="learn", daemon=True).start()

    def tell(self) -> None:
        """Say that there are new ratings."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def lesson(self, patience_s: float) -> Lesson | None:
        """What it has learned; waits a while for what it was told last."""
        with self._changed:
            wanted = self._version
            self._changed.wait_for(lambda: self._learned >= wanted, patience_s)
            return self._lesson

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._learned < self._version)
                version = self._version
            names, ratings = self._given()
            lesson = self._lesson
            try:
                lesson = self._learn(names, ratings)
            except Exception:
                # It goes on with what it knew: ratings are kept in any case.
                logger.exception("rate: could not learn from %d ratings", len(names))
            with self._changed:
                self._lesson, self._learned = lesson, version
                self._changed.notify_all()

    def _learn(self, names: Sequence[str], ratings: npt.NDArray[np.float64]) -> Lesson | None:
        numbers = self._pool.find(names)
        galaxies = self._pool.galaxies
        known = [place for place, name in enumerate(names) if name in numbers]
        if not known:
            return None
        rows = [numbers[names[place]] for place in known]
        process = fit_process(galaxies.features[rows], ratings[known], self._scale)
        worth = score(*process.predict(galaxies.features))
        count = min(_PROMISING + len(known), len(worth))
        some = np.argpartition(-worth, count - 1)[:count]
        best = some[np.argsort(-worth[some], kind="stable")]
        return Lesson(process, best, galaxies, len(known))


def same_as(
    galaxies: Galaxies, numbers: npt.NDArray[np.intp], artifacts: Sequence[int], scale: Floats
) -> npt.NDArray[np.bool_]:
    """Which of some galaxies look nearly the same as one of the artifacts."""
    if not len(numbers) or not artifacts:
        return np.zeros(len(numbers), np.bool_)
    some, others = (
        directions(galaxies.features[rows], scale) for rows in (numbers, list(artifacts))
    )
    return np.asarray(distances(some, others).min(axis=1) < _SAME)


def strangest(galaxies: Galaxies, scale: Floats) -> npt.NDArray[np.intp]:
    """All galaxies, those first that an isolation forest (Liu, Ting & Zhou 2008) finds strange."""
    from sklearn.ensemble import IsolationForest

    ways = directions(galaxies.features, scale)
    return np.argsort(IsolationForest(random_state=0).fit(ways).score_samples(ways))


def nearest_to(galaxies: Galaxies, rows: Sequence[int], scale: Floats) -> npt.NDArray[np.intp]:
    """All galaxies: some as they are given, then the others, those first that look like these."""
    ways = directions(galaxies.features, scale)
    away = np.full(len(ways), np.inf, np.float32)
    for row in rows[:_LEADERS]:
        away = np.minimum(away, distances(ways, ways[row : row + 1])[:, 0])
    away[list(rows)] = np.arange(-len(rows), 0)
    return np.argsort(away, kind="stable")

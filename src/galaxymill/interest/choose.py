"""Which galaxies to show next: promising ones, little known, and not all alike."""

from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.interest.process import Floats, Process, directions, distances, matern

CURIOSITY = 0.5
"""Deviations that are added to the mean: on real galaxies it finds as many of the interesting as
log expected improvement, which needs to know the best rating there may be."""
_FIRST = 50
"""Galaxies for each that is chosen, the best, among which it is looked for at first."""
_SAME = 0.9999
"""Of the kernel; galaxies that are so near to each other are one, catalogued twice."""


def score(mean: Floats, deviation: Floats) -> Floats:
    """How much galaxies are worth being shown, by predicted ratings, shape (n,)."""
    return mean + np.float32(CURIOSITY) * deviation


def choose_batch(
    process: Process, features: npt.NDArray[Any], count: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Choose galaxies to be rated together, the best first.

    After each, the others are thought of as if it were rated as expected: that leaves the means,
    and takes from the deviations of those that are like it (Ginsbourger, Le Riche & Carraro 2010,
    the kriging believer). Where all ratings so far are alike, nothing tells galaxies apart, and
    they are drawn at random: the farthest from those rated would be artifacts.

    Parameters
    ----------
    process : Process
    features : ndarray, shape (n, f)
        Of galaxies that may be shown.
    count : int
        Fewer are chosen where there are fewer; one that is there twice is chosen once.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int
        Rows of ``features``.
    """
    count = min(count, len(features))
    if not process.deviation:
        return rng.choice(len(features), count, replace=False)
    mean, deviation = process.predict(features)
    worth = score(mean, deviation)
    order = np.argsort(-worth, kind="stable")
    few = _FIRST * count
    while True:
        rows = order[:few]
        chosen, least = _believe(process, features[rows], count)
        # Nothing gains in worth while others are chosen, so that those left out come after.
        if few >= len(order) or least >= worth[order[few]]:
            return rows[chosen]
        few *= 4


def _believe(process: Process, features: npt.NDArray[Any], count: int) -> tuple[list[int], float]:
    """Choose among some galaxies; gives the worth of the last one too."""
    points = directions(features, process.scale)
    near = np.float32(process.variance) * matern(distances(points, process.points), process.length)
    mean = process.mean + process.deviation * (near @ process.weights)
    known = near @ process.root.T
    variance = np.maximum(np.float32(process.variance) - np.square(known).sum(axis=1), 0)
    chosen: list[int] = []
    gone = np.zeros(len(features), np.bool_)
    learned: list[Floats] = []
    least = np.inf
    while len(chosen) < count:
        worth = score(mean, process.deviation * np.sqrt(variance))
        worth[gone] = -np.inf
        best = int(worth.argmax())
        least = float(worth[best])
        if least == -np.inf:
            break
        chosen.append(best)
        alike = matern(distances(points, points[best : best + 1])[:, 0], process.length)
        gone |= alike > _SAME
        gone[best] = True
        shared = np.float32(process.variance) * alike - known @ known[best]
        shared -= sum(one * one[best] for one in learned)
        learned.append(shared / np.sqrt(variance[best] + np.float32(process.noise)))
        variance = np.maximum(variance - np.square(learned[-1]), 0)
    return chosen, least

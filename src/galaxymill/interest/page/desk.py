"""What the page asks for: galaxies to rate, ratings that are kept, the best so far, pictures."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.interest.choose import choose_batch
from galaxymill.interest.page.guide import Given, Guide, Lesson, same_as
from galaxymill.interest.page.notebook import Notebook, Row
from galaxymill.interest.page.pictures import Pictures
from galaxymill.interest.page.pool import Pool
from galaxymill.interest.process import Floats
from galaxymill.interest.ratings import HIGHEST, LOWEST, Ratings, read_ratings

BATCH = 30
FOUND = 4
"""Rating from which a galaxy counts as found."""
_SHARED = 3
"""Galaxies of a batch that others alone have rated: they tell how far people agree."""
_SHOWN, _LEAST = 60, 3
"""Galaxies in the gallery of the best; the rating that they have at least."""
_CHOICE = 1000
"""The best galaxies, of which a batch is chosen so that they differ."""
_PATIENCE_S, _FIRST_S = 0.8, 60.0
"""How long a batch waits until the last ratings are learned from; how long the page, until those of
earlier days are."""
_LONGEST_ID, _LONGEST_NAME, _LONGEST_NOTE = 1000, 60, 200

logger = logging.getLogger("galaxymill")


class RefusedError(Exception):
    """What was asked for makes no sense; the message says why."""


class Desk:
    """All that the page can ask; threads may at once.

    Parameters
    ----------
    pool : Pool
    scale : ndarray
        Of the features.
    pictures : Pictures
    notebook : Notebook
        What ratings are written to.
    others : sequence of Path
        Tables of ratings that are only read.
    start : ndarray of int
        Galaxies by number, to begin with until ratings differ.
    leads : bool
        Whether these come first though there are ratings.
    """

    def __init__(
        self,
        pool: Pool,
        scale: Floats,
        pictures: Pictures,
        notebook: Notebook,
        others: Sequence[Path],
        start: npt.NDArray[np.intp],
        leads: bool,
    ) -> None:
        self._pool, self._scale, self._pictures = pool, scale, pictures
        self._notebook, self._others = notebook, others
        self._start, self._leads = start, leads
        self._lock = threading.RLock()
        self._shown: dict[str, set[int]] = {}
        self._current: dict[str, list[int]] = {}
        self._rng = np.random.default_rng()
        self._ratings = Ratings()
        self._means: dict[str, float] = {}
        # Of those, the numbers of the ones that are in this survey and have features.
        self._rated: dict[str, int] = {}
        self._guide = Guide(pool, scale, self._given)
        self._read()
        self._guide.lesson(_FIRST_S)

    def batch(self, rater: str, is_next: bool) -> dict[str, Any]:
        """Galaxies to be rated now: new ones, or those that this rater has before him."""
        rater = _text("the rater's name", rater, _LONGEST_NAME)
        lesson = None
        if is_next or not self._current.get(rater):
            with self._lock:
                if self._notebook.was_changed:
                    self._read()
            lesson = self._guide.lesson(_PATIENCE_S)
        with self._lock:
            if is_next or not self._current.get(rater):
                self._current[rater] = self._choose(rater, lesson)
            numbers = self._current[rater]
            self._pictures.begin(numbers)
            return {"galaxies": [self._describe(n, rater) for n in numbers], **self._told(rater)}

    def rate(self, rater: str, clicks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Keep ratings; they are on disk when this returns.

        A click has galaxy (its object_id), rating (null withdraws) and note. One that makes no
        sense lets all be refused. OSError: the disk takes no more, and none was kept.
        """
        rater = _text("the rater's name", rater, _LONGEST_NAME)
        parsed = [_click(one) for one in clicks]
        known = self._pool.find(name for name, _, _ in parsed)
        for name, _, _ in parsed:
            if name not in known:
                raise RefusedError(f"{name!r}: no such galaxy, or it has no features")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows: list[Row] = [
            (name, "" if rating is None else f"{rating:g}", rater, now, note)
            for name, rating, note in parsed
        ]
        with self._lock:
            self._notebook.append(rows)
            for name, rating, note in parsed:
                self._ratings.add(name, rating, rater, note)
                self._count(name)
            self._guide.tell()
            return {"kept": len(rows), **self._told(rater)}

    def best(self, rater: str) -> list[dict[str, Any]]:
        """The galaxies of the highest ratings, the best first."""
        with self._lock:
            good = [(-self._means[name], name) for name in self._rated]
            chosen = [one for one in sorted(good) if -one[0] >= _LEAST][:_SHOWN]
            self._pictures.begin(self._rated[name] for _, name in chosen)
            return [
                {**self._describe(self._rated[name], rater), "mean": round(-mean, 2)}
                for mean, name in chosen
            ]

    def picture(self, number: int) -> bytes | None:
        """The file of a galaxy's image; None where there is none."""
        return self._pictures.get(number) if number < len(self._pool.galaxies.ids) else None

    def _read(self) -> None:
        """Read all ratings, those of others too."""
        size = self._notebook.size()
        paths = [self._notebook.path, *self._others]
        try:
            self._ratings = read_ratings([p for p in paths if p.is_file() and p.stat().st_size])
        except UserError as error:
            # Others may be in the middle of editing it; what we know stays.
            if not self._ratings.by_rater:
                raise
            logger.warning("rate: %s", error)
            return
        self._notebook.knows(size)
        self._means = {name: float(mean) for name, mean in zip(*self._ratings.mean(), strict=True)}
        self._rated = self._pool.find(self._means)
        if self._means:
            self._guide.tell()

    def _count(self, name: str) -> None:
        """Count anew what all have said of a galaxy."""
        said = [own[name] for own in self._ratings.by_rater.values() if name in own]
        if said:
            self._means[name] = sum(said) / len(said)
            self._rated |= self._pool.find([name])
        else:
            self._means.pop(name, None)
            self._rated.pop(name, None)

    def _given(self) -> Given:
        with self._lock:
            return list(self._means), np.array(list(self._means.values()))

    def _told(self, rater: str) -> dict[str, int]:
        """How far one has come."""
        return {
            "rated": len(self._means),
            "own": len(self._ratings.by_rater.get(rater, {})),
            "found": sum(mean >= FOUND for mean in self._means.values()),
            "left": self._pool.count - len(self._rated),
            "choice": len(self._pool.galaxies.ids),
            "count": self._pool.count,
        }

    def _describe(self, number: int, rater: str) -> dict[str, Any]:
        galaxies = self._pool.galaxies
        name = galaxies.ids[number]
        return {
            "id": name,
            "number": number,
            "rating": self._ratings.by_rater.get(rater, {}).get(name),
            "artifact": name in self._ratings.artifacts.get(rater, ()),
            "flags": [one.replace("_", " ") for one in flags.names(int(galaxies.flags[number]))],
        }

    def _choose(self, rater: str, lesson: Lesson | None) -> list[int]:
        """Numbers of galaxies to show next, and a few that others have rated."""
        own = self._ratings.by_rater.get(rater, {})
        busy = {n for name, some in self._current.items() if name != rater for n in some}
        shown = self._shown.setdefault(rater, set())
        shared = [n for name, n in self._rated.items() if name not in own and n not in shown]
        chosen = self._rng.permutation(shared)[:_SHARED].tolist()
        for gone in (busy | shown, busy, set[int]()):
            # When all were shown once, those come again that were passed over.
            gone = gone.union(self._rated.values(), chosen)
            chosen += self._promising(lesson, np.array([*gone], np.intp), BATCH - len(chosen))
            if chosen:
                break
        self._leads = False
        shown.update(chosen)
        return [int(one) for one in chosen]

    def _promising(
        self, lesson: Lesson | None, gone: npt.NDArray[np.intp], count: int
    ) -> list[int]:
        """Galaxies that are worth to be rated, or else those to begin with."""
        galaxies = self._pool.galaxies
        if lesson is not None and (self._leads or not lesson.process.deviation):
            lesson = None
        order = self._start if lesson is None else lesson.best
        left = order[~np.isin(order, gone)][:_CHOICE]
        names = set[str]().union(*self._ratings.artifacts.values())
        artifacts = list(self._pool.find(names).values())
        left = left[~same_as(galaxies, left, artifacts, self._scale)]
        if lesson is not None and len(left):
            left = left[choose_batch(lesson.process, galaxies.features[left], count, self._rng)]
        some: list[int] = left[:count].tolist()
        return some


def _click(plain: Mapping[str, Any]) -> tuple[str, float | None, str]:
    if not isinstance(plain, dict) or not isinstance(plain.get("galaxy"), str):
        raise RefusedError("a click names a galaxy")
    rating = plain.get("rating")
    if rating is not None and (
        isinstance(rating, bool)
        or not isinstance(rating, int | float)
        or not LOWEST <= rating <= HIGHEST
    ):
        raise RefusedError(
            f"rating {str(rating)[:20]!r}: it is a number from {LOWEST} to {HIGHEST}, or null"
        )
    name = plain["galaxy"]
    if len(name) > _LONGEST_ID or name.encode(errors="replace").decode() != name:
        raise RefusedError("no galaxy has such a name")
    return name, rating, _text("the note", plain.get("note", ""), _LONGEST_NOTE, True)


def _text(what: str, value: Any, longest: int, may_be_empty: bool = False) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    fits = isinstance(value, str) and len(text) <= longest and text.isprintable()
    if not fits or not (text or may_be_empty):
        raise RefusedError(f"{what} is a text of 1 to {longest} letters")
    return text

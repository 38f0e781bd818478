"""Stage ``interest``: learn from ratings what people find interesting."""

import hashlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galaxymill.errors import UserError
from galaxymill.interest.process import MOST, Process, feature_scale, fit_process
from galaxymill.interest.ratings import Ratings, read_ratings
from galaxymill.interest.store import INTEREST_FILE, Interest, write_interest
from galaxymill.probes.features import find_features
from galaxymill.reasons import some
from galaxymill.spaces.space import read_space
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin, content_digest

logger = logging.getLogger("galaxymill")


def fit_interest(ratings: Sequence[Path], features: Path, space: Path, out: Path) -> None:
    """Fit a process to what galaxies were rated, the mean of their raters.

    Parameters
    ----------
    ratings : sequence of Path
        Tables as `galaxymill.interest.ratings.read_ratings` reads them.
    features : Path
        ``features.csv``, the list of the partitions, beside their features.
    space : Path
        ``space.yaml`` that the features are of.
    out : Path
        ``interest.yaml``; the numbers are written beside it, and its folder names the interest.

    Raises
    ------
    UserError
        When there are no ratings, or no rated galaxy has features.
    """
    name = out.resolve().parent.name
    given = read_given(ratings, name)
    fitted, digest = read_space(space)
    with exclusive(out), atomic_tree(out.parent, INTEREST_FILE) as folder:
        names, values = given.mean()
        found = find_features(features, digest, names)
        there = np.array([one in found.rows for one in names], np.bool_)
        known = [one for one in names if one in found.rows]
        _tell_absent([one for one in names if one not in found.rows], len(names))
        if not known:
            raise UserError(
                f"{some(map(str, ratings))}: none of the {len(names)} rated galaxies has features "
                f"in {space}, e.g. {names[0]!r}; name ratings of galaxies of this survey"
            )
        process = fit_process(found.of(known), values[there], feature_scale(fitted.deviations))
        facts = _facts(given, names, len(known), process)
        facts["space"] = space.resolve().parent.name
        learned = hashlib.sha256(found.of(known).tobytes()).hexdigest()
        inputs = {f"ratings_{n}": content_digest(path) for n, path in enumerate(ratings, 1)}
        inputs |= {"space": digest, "features": learned}
        origin = Origin("interest", {}, inputs, found.domain)
        write_interest(folder, Interest(name, digest, process, facts), origin.to_dict())


def read_given(paths: Sequence[Path], name: str) -> Ratings:
    """Read the ratings of an interest; a `UserError` says how to give some."""
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise UserError(
            f"{absent[0]}: no such file; rate some galaxies first: galaxymill rate {name}"
        )
    given = read_ratings(paths)
    if not given.by_rater:
        raise UserError(
            f"{some(map(str, paths))}: no ratings; rate some galaxies first: galaxymill rate {name}"
        )
    return given


def _tell_absent(absent: Collection[str], rated: int) -> None:
    if absent:
        logger.warning(
            "interest: %d of %d rated galaxies are not of this survey or have no features, and "
            "are left out: %s",
            *(len(absent), rated, some(map(repr, absent))),
        )


def _facts(given: Ratings, names: Sequence[str], known: int, process: Process) -> dict[str, Any]:
    """Count what was rated and learned; say what is unusual about it."""
    learned = len(process.points)
    if learned < known:
        logger.warning(
            "interest: %d galaxies are rated; it learns from the %d that cover the others best",
            *(known, MOST),
        )
    if not process.deviation:
        logger.warning(
            "interest: all ratings are %g, so that nothing tells galaxies apart; deviations and "
            "scores are distances to the nearest rated galaxy",
            process.mean,
        )
    return {
        "rated": len(names),
        "without_features": len(names) - known,
        "learned_from": learned,
        "all_alike": not process.deviation,
        "raters": {rater: len(own) for rater, own in sorted(given.by_rater.items())},
    }

"""Configs and models of earlier versions, put in today's words: one small function a change.

The functions are numbered by their place: a new one is added at the end, and none is ever taken
out. Each leaves alone what is in today's words already.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

Plain = dict[str, Any]
Migration = Callable[[Plain], Iterable[str]]
"""Changes a plain form in place, and says for each change what to write today."""

logger = logging.getLogger("galaxymill")


def name_predictions(config: Plain) -> Iterable[str]:
    """Give the predictions of releases a section of their own (before 2026-12)."""
    releases = config.get("releases")
    if not isinstance(releases, dict):
        return
    section = config.get("predictions")
    for name, release in releases.items():
        if not isinstance(release, dict) or not {"survey", "model", "predict"} & set(release):
            continue
        wanted = {key: release.pop(key) for key in ("survey", "model") if key in release}
        wanted |= release.pop("predict", None) or {}
        section = config["predictions"] = section or {}
        known = next((key for key, value in section.items() if value == wanted), str(name))
        section.setdefault(known, wanted)
        release.setdefault("predictions", known)
        yield (
            f"releases.{name}: survey, model and predict stand under predictions today: write "
            f"predictions: {{{known}: {wanted}}} and releases: {{{name}: {{predictions: {known}}}}}"
        )


CONFIG: tuple[Migration, ...] = (name_predictions,)
MODEL: tuple[Migration, ...] = ()


def migrate(plain: Mapping[str, Any], migrations: Iterable[Migration], place: str) -> Plain:
    """Put a config or a model card of an earlier version in today's words, and tell how.

    Parameters
    ----------
    plain : mapping
        As read from YAML; it is left as it is.
    migrations : iterable of Migration
        ``CONFIG`` or ``MODEL``.
    place : str
        The file, to name in messages; empty: nothing is told.
    """
    result = deepcopy(dict(plain))
    for number, migration in enumerate(migrations, 1):
        for message in migration(result):
            if place:
                logger.warning("%s: %s (migration %d)", place, message, number)
    return result

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
    releases, section = config.get("releases"), config.get("predictions") or {}
    if not isinstance(releases, dict) or not isinstance(section, dict):
        return
    for name, release in releases.items():
        if not isinstance(release, dict) or "predictions" in release:
            continue
        chosen = release.get("predict") or {}
        if not {"survey", "model"} & set(release) or not isinstance(chosen, dict):
            continue
        wanted = {key: release.pop(key) for key in ("survey", "model") if key in release} | chosen
        release.pop("predict", None)
        called = next((key for key, value in section.items() if value == wanted), str(name))
        while section.setdefault(called, wanted) != wanted:
            called += "_"
        config["predictions"] = section
        release["predictions"] = called
        yield (
            f"releases.{name}: survey, model and predict stand under predictions today: write "
            f"predictions: {{{called}: {wanted}}} and releases: "
            f"{{{name}: {{predictions: {called}}}}}"
        )


CONFIG: tuple[Migration, ...] = (name_predictions,)
MODEL: tuple[Migration, ...] = ()


def migrate(plain: Any, migrations: Iterable[Migration], place: str) -> Any:
    """Put a config or a model card of an earlier version in today's words.

    ``plain`` is not changed; what is no mapping is for others to refuse. ``migrations`` are
    ``CONFIG`` or ``MODEL``. Each change is logged, unless ``place``, the file to name, is empty.
    """
    if not isinstance(plain, Mapping):
        return plain
    result = deepcopy(dict(plain))
    for number, migration in enumerate(migrations, 1):
        for message in migration(result):
            if place:
                logger.warning("%s: %s (migration %d)", place, message, number)
    return result

"""The cells of a classification export: JSON of volunteers' browsers, bounded."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from galaxymill.labels.panoptes_tasks import MAX_LABEL_LENGTH, normalised
from galaxymill.labels.rows import without_blanks

MAX_FIELD_CHARACTERS = 1_000_000
_HIDDEN = "#!/"


class UnfitError(Exception):
    """A classification that does not count, and the reason."""


def parse(text: str, reason: str) -> Any:
    """Read a cell of JSON; an UnfitError gives the reason when it is none, or too long."""
    if len(text) > MAX_FIELD_CHARACTERS:
        raise UnfitError(reason)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnfitError(reason) from None


def already_seen(metadata: str) -> bool:
    """Tell what Zooniverse's selection of subjects noted; unreadable metadata note nothing."""
    if "seen" not in metadata:
        return False
    try:
        plain = parse(metadata, "")
    except UnfitError:
        return False
    if not isinstance(plain, dict):
        return False
    states = [plain.get(key) for key in ("subject_selection_state", "subjectSelectionState")]
    flags = [state.get("already_seen") for state in states if isinstance(state, dict)]
    return any(flag is True for flag in [*flags, plain.get("seen_before")])


def annotations(plain: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Walk through annotations; a combined task holds those of its tasks."""
    if not isinstance(plain, list):
        return
    for annotation in plain:
        if not isinstance(annotation, dict) or "value" not in annotation:
            continue
        value = annotation["value"]
        nested = isinstance(value, list) and any(
            isinstance(item, dict) and "task" in item for item in value
        )
        if nested and depth > 0:
            yield from annotations(value, depth - 1)
        elif not nested:
            yield str(annotation.get("task")), value


def key(answer: Any) -> str | int:
    """Give an answer as the file of tasks may name it: by label or index; else empty."""
    if isinstance(answer, str) and len(answer) <= MAX_LABEL_LENGTH:
        return normalised(answer)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else ""


def entry(metadata: Mapping[str, Any], name: str) -> Any:
    """Value of a key of the metadata, also where ``#``, ``!`` or ``//`` hides it."""
    wanted = _plain(name)
    return next((value for key, value in metadata.items() if _plain(key) == wanted), None)


def _plain(key: str) -> str:
    return without_blanks(without_blanks(key).lstrip(_HIDDEN))


def text(value: Any) -> str:
    """Give an identifier of the metadata as text, for `galaxymill.tables.check_ids` to judge."""
    plain = without_blanks(str(value)) if isinstance(value, str | int | float) else ""
    # JSON may hold halves of characters, which no table can.
    return plain.encode(errors="backslashreplace").decode()


def position(metadata: Mapping[str, Any], names: tuple[str, str]) -> tuple[float, float]:
    """Position by the metadata; NaN when there is none on the sky."""
    try:
        ra, dec = (float(entry(metadata, name)) for name in names)
    except (TypeError, ValueError):
        return np.nan, np.nan
    on_sky = 0 <= ra <= 360 and -90 <= dec <= 90
    return (ra, dec) if on_sky else (np.nan, np.nan)

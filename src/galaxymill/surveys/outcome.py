"""What became of a partition's galaxies: with reasons, and refused when too many are lost."""

import logging
import re
from collections import Counter
from collections.abc import Callable

from galaxymill.reasons import Reasons
from galaxymill.surveys.footprint import OUTSIDE
from galaxymill.surveys.part_file import PartFile
from galaxymill.web.network import ServiceError

_FEW = 8
"""Of fewer galaxies a share says little, unless no word came of any of them."""
_NO_FILE = re.compile(r"no file ('[^']|\")")
"""Of the service ``files``: the catalogue names a file that is not there."""

logger = logging.getLogger("galaxymill")


def refuse_losses(part: PartFile, what: str, max_failed: float) -> None:
    """Fail the job when too many of its galaxies could not be had; log the others.

    Lost are those that are ``failed`` or ``invalid``, or whose own file is missing; others that are
    ``no_coverage`` are left out. ``max_failed`` is the share that may be lost. Where fewer than
    eight remain, it must also be more than this share of all, none may have been had, and one at
    least is not ``invalid``: a service that sends pictures, if no good ones, is at work.

    Raises
    ------
    ServiceError
        Says how many, why, and what to do. Those that are lost are forgotten, so that a rerun asks
        for them again.
    """
    lost = [key for key, *outcome in part.outcomes() if _is_lost(*outcome)]
    counts, total = Counter(part.statuses()), len(part)
    had = counts["ok"] + counts["partial"]
    there = len(lost) + had
    message = f"{what}: {len(lost)} of {total} galaxies could not be had: {_why(part, _is_lost)}"
    answered = had or counts["invalid"] == len(lost)
    few = there < _FEW and (answered or len(lost) <= max_failed * total)
    if len(lost) > max_failed * there and not few:
        part.forget(lost)
        raise ServiceError(
            f"{message}. Of those that the survey may hold that is more than "
            f"max_failed={max_failed:g} (a limit of `network`) allows, so no product is written. "
            f"{len(part)} galaxies are kept: see to the reason, then run again to ask for the "
            "others; or set max_failed to 1 to go on without them"
        )
    if lost:
        logger.warning(message)
    if total and counts["no_coverage"] == total:
        warning = f"{what}: all {total} galaxies are no_coverage: {_why(part, lambda *_: True)}"
        if not all(reason.startswith(OUTSIDE) for _, _, reason in part.outcomes()):
            warning += (
                ". Has the survey really not been here? If what is asked for is misspelled there "
                "is nothing anywhere; a footprint would settle such galaxies without a request"
            )
        logger.warning(warning)


def _is_lost(status: str, reason: str) -> bool:
    return status in ("failed", "invalid") or _NO_FILE.match(reason) is not None


def _why(part: PartFile, counts: Callable[[str, str], bool]) -> str:
    """Tell the commonest of the outcomes that count."""
    return Reasons.of(
        (object_id, f"{status}: {reason}")
        for object_id, status, reason in part.outcomes()
        if counts(status, reason)
    ).summary()

"""What a server answered to one request, and whether another try may bring more."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from galaxymill.surveys.base import Cutout, Target

TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Answer:
    """The last answer to one request.

    Attributes
    ----------
    payload : bytes
        The body; at most as many bytes as the client takes.
    http_status : int or None
        None when no answer came.
    reason : str
        What was wrong with it; empty for success.
    url : str
        Path and query that were asked for.
    fetched_at : datetime
        When it came.
    headers : mapping
        Of the answer, names in lower case.
    retry_after_s : float or None
        The wait that the server asks for.
    repeats : int
        How many tries of this request have ended with this status.
    cut : bool
        Whether the body was longer than the client takes; it is never a good cutout.
    """

    payload: bytes
    http_status: int | None
    reason: str
    url: str
    fetched_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    repeats: int = 1
    cut: bool = False

    @property
    def transient(self) -> bool:
        """Whether the fault may pass."""
        return self.http_status is None or self.http_status in TRANSIENT

    @property
    def failed(self) -> bool:
        """Whether the fault is the server's or the network's, not the request's."""
        return self.transient or (self.http_status or 0) >= 500

    def cutout(self, target: Target, status: str, reason: str = "") -> Cutout:
        """Make this answer the cutout of ``target``; only image bytes are kept."""
        if self.cut and self.http_status == 200:
            # What follows an image may be anything: a decoder would not look at it.
            status, reason = "invalid", f"the answer is longer than {len(self.payload)} bytes"
        keep = self.http_status == 200 and status != "no_coverage" and not self.cut
        payload = self.payload or None if keep else None
        return Cutout(target, status, payload, self.http_status, reason, self.url, self.fetched_at)


class TryAgain(Exception):  # noqa: N818 - control flow between try and retry, not an error
    """A fault that may pass; carries its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def retry_after_s(value: str) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), given as such or as a date."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        # A date without a zone is one in UTC.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None

"""What a server answered to one request, what it means, and whether another try may bring more."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256

from galaxymill.decoding.decode import PayloadError, begins_as_image

TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_SUCCESS = {200, 206}
_QUOTED_BYTES, _QUOTED_LETTERS = 300, 60


@dataclass(frozen=True)
class Verdict:
    """What one answer means: a status of `galaxymill.products.CUTOUT_STATUSES`, and why.

    ``truncated`` when the bytes end before their image does: another try may bring all of it;
    ``refused`` when the service has understood and says no: another try brings the same.
    """

    status: str
    reason: str = ""
    truncated: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Answer:
    """The last answer to one request.

    ``http_status`` is None when none came; ``reason`` is empty for success. ``payload`` is the
    body, ``cut`` when it was longer than the client takes, and so never a good cutout. Names of
    ``headers`` are in lower case. The ``verdict`` has no status when nobody has judged it.
    """

    payload: bytes
    http_status: int | None
    reason: str
    url: str
    fetched_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    cut: bool = False
    verdict: Verdict = Verdict("")

    @property
    def transient(self) -> bool:
        """Whether the fault may pass: of the server, the network, or of a body that is no good."""
        if self.http_status in _SUCCESS:
            return self.verdict.status == "failed" and not self.verdict.refused
        fault = self.http_status is None or self.http_status in TRANSIENT
        return fault and not self._settled

    @property
    def failed(self) -> bool:
        """Whether it counts towards the failures in a row: neither an image, nor a word."""
        if self._settled:
            return False
        if self.http_status in _SUCCESS:
            return bool(self.verdict.status) and not begins_as_image(self.payload)
        return self.transient or (self.http_status or 0) >= 500

    @property
    def refused(self) -> bool:
        """Whether the service has understood what it was asked, and says no."""
        if self._settled:
            return self.verdict.refused
        return 400 <= (self.http_status or 0) < 500 and not self.transient

    @property
    def _settled(self) -> bool:
        """Whether the service has had its say on the galaxy."""
        return self.verdict.refused or self.verdict.status not in ("", "failed")

    @property
    def why(self) -> str:
        """Why it is no good: the reason of its judge, else its status."""
        return self.verdict.reason or self.reason

    def judged(
        self, judge: "Judge", earlier: set[bytes], otherwise: "Judge | None" = None
    ) -> "Answer":
        """Judge this answer, by ``judge`` for success and ``otherwise`` for the rest.

        Bytes that are not what was asked for are ``failed``, as any fault that may pass, until
        the same image, whole but another one, has come twice: then they are ``invalid``.
        ``earlier`` holds digests of the unfit bodies of earlier tries; this one's is added.
        """
        verdict = self._verdict(judge if self.http_status in _SUCCESS else otherwise)
        if verdict.status == "invalid":
            digest = sha256(self.payload).digest()
            whole = begins_as_image(self.payload) and not verdict.truncated
            if not (whole and digest in earlier):
                verdict = replace(verdict, status="failed")
            earlier.add(digest)
        return replace(self, verdict=verdict)

    def _verdict(self, judge: "Judge | None") -> Verdict:
        if self.http_status == 204:
            return Verdict("no_coverage", "HTTP 204: the service has nothing here")
        try:
            verdict = judge(self) if judge else None
        except PayloadError as error:
            verdict = Verdict("invalid", str(error), error.truncated)
        verdict = verdict or Verdict("failed", self.reason or f"HTTP {self.http_status}")
        if self.cut and self.http_status in _SUCCESS and not verdict.refused:
            # What follows an image may be anything: a decoder would not look at it.
            return Verdict("invalid", f"the answer is longer than {len(self.payload)} bytes")
        if verdict.status == "invalid" and (quote := _quote(self.payload)):
            return replace(verdict, reason=f"{verdict.reason}: {quote}")
        return verdict


Judge = Callable[[Answer], Verdict | None]
"""What an answer means for its galaxy; None when that is no more than its HTTP status.

It raises PayloadError for bytes that are not what was asked for.
"""


def _quote(payload: bytes) -> str:
    """Quote the beginning of a text that came instead of an image; empty for other bytes."""
    if begins_as_image(payload):
        return ""
    try:
        words = payload[:_QUOTED_BYTES].decode("ascii").split()
    except UnicodeDecodeError:
        return ""
    line = " ".join(words)[:_QUOTED_LETTERS]
    return f"'{line}'" if line.isprintable() and line else ""


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

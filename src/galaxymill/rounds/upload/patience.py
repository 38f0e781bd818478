"""What `panoptes_client` lacks: time limits, waiting when a server says so, and plain failures.

Its session has no timeouts, it asks again after a 504 when a subject may have been made already,
and it takes a 429 for an answer. All that is settled below it, where its requests leave.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from galaxymill.errors import UserError
from galaxymill.web.answer import retry_after_s

TIMEOUT_S = 60.0
"""Without a byte; twice as much is the most for a whole answer."""
WAIT_S = 1.0
"""Before the second try; each later wait is longer."""
ATTEMPTS = 8
GO_ON = "run again to go on from there"
_MAX_WAIT_S = 900.0
_MAX_BYTES = 20_000_000

Result = TypeVar("Result")

logger = logging.getLogger("galaxymill")


class UnsureError(Exception):
    """No answer, or that of a gateway: what was asked for may have been done."""


class RefusedError(Exception):
    """The server has understood, and says no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status})")
        self.status = status

    @property
    def stale(self) -> bool:
        """Whether someone has changed in between what was to be changed."""
        return self.status in (409, 412) or "stale object" in str(self).lower()


class PatientAdapter(HTTPAdapter):
    """Sends requests; each answer comes back whole, or as an error."""

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send a request, again while the server says that there are too many."""
        options |= {"timeout": TIMEOUT_S, "stream": True}
        for number in range(ATTEMPTS):
            response = self._once(request, **options)
            if response.status_code != 429:
                break
            told = retry_after_s(response.headers.get("Retry-After", ""))
            wait_s = min(WAIT_S * 2**number if told is None else told, _MAX_WAIT_S)
            logger.info("upload: the server asks to wait, %.0f s", wait_s)
            time.sleep(wait_s)
        status = response.status_code
        if status >= 500 or status in (408, 425, 429):
            raise UnsureError(f"HTTP {status}")
        if status >= 300:
            # Elsewhere, too: credentials do not follow.
            raise RefusedError(status, _message(response))
        return response

    def _once(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send once and read the answer, within bounds; errors do not hold signed addresses."""
        deadline = time.monotonic() + 2 * TIMEOUT_S
        body = bytearray()
        try:
            response = super().send(request, **options)
            for piece in response.iter_content(65536):
                body += piece
                if len(body) > _MAX_BYTES or time.monotonic() > deadline:
                    response.close()
                    raise UnsureError("an answer that does not end")
        except (requests.RequestException, OSError) as error:
            raise UnsureError(type(error).__name__) from None
        response._content = bytes(body)
        return response


def retries(*, stale: bool = False) -> Any:
    """Attempts of one thing to do: ``for attempt in retries(): with attempt: …``.

    They are repeated on `UnsureError`, and on a `RefusedError` that is ``stale`` if so wished.
    """
    import stamina

    def passes(error: Exception) -> bool:
        return isinstance(error, UnsureError) or (
            stale and isinstance(error, RefusedError) and error.stale
        )

    return stamina.retry_context(
        on=passes, attempts=ATTEMPTS, timeout=None, wait_initial=WAIT_S, wait_max=60 * WAIT_S
    )


def again(ask: Callable[[], Result], *, stale: bool = False) -> Result:
    """Do one thing until it is done; see `retries`.

    Raises `UserError`, which nobody retries, when the server stays away.
    """
    try:
        for attempt in retries(stale=stale):
            with attempt:
                return ask()
    except UnsureError as error:
        raise UserError(f"the server does not answer ({error}); {GO_ON}") from None
    raise AssertionError("the last attempt returns or raises")


def _message(response: requests.Response) -> str:
    """Quote what the server says, which may hold secrets; see `without_secrets`."""
    try:
        plain = response.json()
        errors = plain.get("errors") or plain.get("error") or ""
        first = errors[0] if isinstance(errors, list) and errors else errors
        text = first.get("message", "") if isinstance(first, dict) else first
    except (ValueError, AttributeError):
        text = ""
    return "".join(char if char.isprintable() else " " for char in str(text)) or "refused"

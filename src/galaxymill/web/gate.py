"""When a request may be made: paced, not before a Retry-After is over, not after a stop."""

import threading
import time
from collections import Counter

from galaxymill.web.answer import Answer
from galaxymill.web.network import ServiceError

_MARGIN = 1.015
"""Requests are so much further apart than the rate says: some are quicker on their way."""
_FIRST_ANSWERS = 8
_UNAUTHORIZED = "the server wants credentials, or other ones than it got"


class Gate:
    """Pace the requests of all threads evenly; a stop wakes those that wait.

    No two requests are closer together than the inverse of ``requests_per_second``: a server's own
    limiter sees no bursts. Measured, pyrate-limiter 4.5 lets threads that queue in it through late
    and then two at once (at 20 requests/s 18.4 were made, some 0.04 ms apart).
    """

    def __init__(self, requests_per_second: float) -> None:
        self._interval_s = _MARGIN / requests_per_second
        self._turn = threading.Lock()
        self._next = self._not_before = 0.0
        self._stopped = threading.Event()
        self._reason = ""

    def wait_turn(self) -> None:
        """Wait until one request may be made; raises ServiceError when none may any more."""
        with self._turn:
            self.sleep(0)
            while (wait_s := max(self._next, self._not_before) - time.monotonic()) > 0:
                self.sleep(wait_s)
            self._next = time.monotonic() + self._interval_s

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep; raises ServiceError as soon as no more requests are to be made."""
        if self._stopped.wait(seconds):
            raise ServiceError(self._reason)

    def stop(self, reason: str) -> None:
        """Let nobody through any more, and wake those who wait; the first reason stands."""
        self._reason = self._reason or reason
        self._stopped.set()


class Breaker:
    """Count failures in a row, and refusals from the first; at ``limit`` the gate is shut.

    Refusals of one status, as of a name that the service does not know, shut it when they are all
    of the first answers, unless ``all_may_fail``.
    """

    def __init__(self, gate: Gate, limit: int, all_may_fail: bool = False) -> None:
        self._gate, self._limit, self._all_may_fail = gate, limit, all_may_fail
        self._streaks: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, int | None]] = Counter()
        self._served: set[str] = set()
        self._lock = threading.Lock()

    def note(self, answer: Answer, group: str = "") -> None:
        """Count one answer, ``group`` as for `Http.ask`; ServiceError when the gate is shut."""
        unauthorized = answer.http_status == 401
        if unauthorized and not group:
            self._gate.stop(f"HTTP 401: {_UNAUTHORIZED}")
        elif unauthorized or answer.failed:
            self._count(answer, group)
        elif answer.refused and group not in self._served and not self._all_may_fail:
            self._refuse(answer, group)
        else:
            self._served.add(group)
            self._streaks[group] = 0
            return
        self._gate.sleep(0)

    def _refuse(self, answer: Answer, group: str) -> None:
        """Count a refusal by a service that has served nobody yet."""
        with self._lock:
            self._streaks[group] = 0
            # The words may name the galaxy.
            kind = group, answer.http_status
            self._refusals[kind] += 1
            if self._refusals[kind] >= _FIRST_ANSWERS:
                asked = f"{group} requests" if group else "galaxies"
                self._gate.stop(
                    f"the first {_FIRST_ANSWERS} {asked} were all refused with {answer.why}; "
                    "is what is asked for named as the service names it? (If all these really are "
                    "unknown there, set max_failed to 1)"
                )

    def _count(self, answer: Answer, group: str) -> None:
        with self._lock:
            self._streaks[group] += 1
            if self._streaks[group] < self._limit:
                return
            self._gate.sleep(0)
            kind = f"{group} requests" if group else "requests"
            reason = f"{self._streaks[group]} {kind} in a row failed, the last with {answer.why}"
            wants = f": {_UNAUTHORIZED}" if answer.http_status == 401 else ""
            self._gate.stop(reason + wants)

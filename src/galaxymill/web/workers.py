"""Work on many items at once, never ahead of what has been kept."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TypeVar

from galaxymill.web.network import ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")

_GRACE_S = 5.0


def map_bounded(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield the result of every item, worked on by so many threads, as the results come.

    An item is begun when another's result has been taken and kept: no more than ``threads`` can
    ever be lost. The threads do not keep the process from ending. After a ServiceError no item
    is begun; it is raised when those under way have ended, or five seconds later.
    """
    todo: SimpleQueue[Item | None] = SimpleQueue()
    done: SimpleQueue[Future[Result]] = SimpleQueue()

    def work_off() -> None:
        while (item := todo.get()) is not None:
            outcome: Future[Result] = Future()
            try:
                outcome.set_result(work(item))
            except BaseException as error:
                outcome.set_exception(error)
            done.put(outcome)
            # Nothing of it is kept while the thread waits for more work.
            del outcome

    waiting = iter(items)
    under_way = 0
    stopped: ServiceError | None = None
    try:
        for item in islice(waiting, threads):
            todo.put(item)
            under_way += 1
            threading.Thread(target=work_off, daemon=True).start()
        while under_way:
            try:
                outcome = done.get(timeout=_GRACE_S if stopped else None)
            except Empty:
                break
            error = outcome.exception()
            under_way -= 1
            if isinstance(error, ServiceError):
                # Those that are under way may still bring an answer that counts; those that wait
                # for another try will not.
                stopped = stopped or error
            else:
                yield outcome.result()
            # Its payload is not kept while the next one is waited for.
            del outcome
            for item in islice(waiting, 0 if stopped else 1):
                todo.put(item)
                under_way += 1
    finally:
        for _ in range(threads):
            todo.put(None)
    if stopped is not None:
        raise stopped

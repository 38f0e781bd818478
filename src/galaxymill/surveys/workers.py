"""Many targets at once: threads that are never ahead of what has been kept."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import Empty, SimpleQueue

from galaxymill.surveys.base import Cutout, ServiceError, Target

_GRACE_S = 5.0


def each(
    work: Callable[[Target], Cutout], targets: Iterable[Target], threads: int
) -> Iterator[Cutout]:
    """Do the work of every target on so many threads.

    A target is begun when another's cutout has been taken and kept: no more than ``threads`` can
    ever be lost. The threads do not keep the process from ending.
    """
    todo: SimpleQueue[Target | None] = SimpleQueue()
    done: SimpleQueue[Future[Cutout]] = SimpleQueue()
    waiting = iter(targets)
    under_way = 0
    stopped: ServiceError | None = None
    try:
        for target in islice(waiting, threads):
            todo.put(target)
            under_way += 1
            threading.Thread(target=_work_off, args=(work, todo, done), daemon=True).start()
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
            for target in islice(waiting, 0 if stopped else 1):
                todo.put(target)
                under_way += 1
    finally:
        for _ in range(threads):
            todo.put(None)
    if stopped is not None:
        raise stopped


def _work_off(
    work: Callable[[Target], Cutout],
    todo: "SimpleQueue[Target | None]",
    done: "SimpleQueue[Future[Cutout]]",
) -> None:
    while (target := todo.get()) is not None:
        outcome: Future[Cutout] = Future()
        try:
            outcome.set_result(work(target))
        except BaseException as error:
            outcome.set_exception(error)
        done.put(outcome)
        # Nothing of it is kept while the thread waits for more work.
        del outcome

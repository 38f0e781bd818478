"""Compute tasks on the parts of catalogues: in this process, or on workers of dask."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from galaxymill.errors import UserError

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from distributed import Client

MEMORY_LIMIT = 2 * 10**9
"""Of one local worker, in bytes: dask writes to disk what is more, and ends a worker above it."""
FEW_ROWS = 1_000_000
"""Of catalogues with fewer galaxies in tiles this process is through before a cluster stands."""
_CONNECT_S = 10

logger = logging.getLogger(__name__)


class Workers:
    """Compute tasks of dask; without a client, one after the other in this process."""

    def __init__(self, client: "Client | None") -> None:
        self._client = client

    def keep(self, tasks: "Sequence[Delayed]") -> "list[Delayed]":
        """Compute tasks and leave the results where they are made."""
        import dask

        with _user_errors():
            return list(dask.persist(*tasks, scheduler=self._client or "synchronous"))

    def results(self, tasks: "Sequence[Delayed]") -> Iterator[tuple[int, Any]]:
        """Compute tasks; yield the place of each among them and its result, as they end.

        Raises
        ------
        UserError
            When a task raises one, a file cannot be read, or the memory does not suffice.
        """
        import dask
        from distributed import as_completed

        with _user_errors():
            if self._client is None:
                yield from enumerate(dask.compute(*tasks, scheduler="synchronous"))
                return
            futures = self._client.compute(list(tasks))
            places = {future.key: place for place, future in enumerate(futures)}
            done = as_completed(futures, with_results=True)
            del futures  # else results would stay on the workers until the last
            for future, result in done:
                yield places[future.key], result

    def gather(self, tasks: "Sequence[Delayed]") -> list[Any]:
        """Compute tasks and give their results in order; errors as `results`."""
        return [result for _, result in sorted(self.results(tasks), key=lambda found: found[0])]


@contextmanager
def _user_errors() -> Iterator[None]:
    """Raise what a user can mend of a task's errors as `UserError`."""
    import pyarrow as pa
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise UserError(
            f"a tile was too much for {error.allowed_failures + 1} workers one after the other, "
            "most likely for their memory: give workers of more memory by --scheduler"
        ) from error
    except CommClosedError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"a tile cannot be read: {error}") from error


@contextmanager
def open_workers(scheduler: str | None, tiled_rows: int) -> Iterator[Workers]:
    """Start workers, or join those of a scheduler.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://node:8786``; None: a process a core of this machine, or this
        process when ``tiled_rows``, the galaxies in tiles, are few.

    Raises
    ------
    UserError
        When the scheduler does not answer.
    """
    if scheduler is None and tiled_rows < FEW_ROWS:
        yield Workers(None)
        return
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.ERROR)
    if scheduler is None:
        with _local_cluster() as cluster, Client(cluster) as client:
            yield Workers(client)
        return
    try:
        client = Client(scheduler, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--scheduler {scheduler}: no scheduler of dask answers there within {_CONNECT_S} s; "
            "`dask scheduler` prints its address, such as tcp://node:8786"
        ) from error
    with client:
        count = len(client.scheduler_info(n_workers=-1)["workers"])
        logger.info("%s: %d workers%s", scheduler, count, "" if count else "; waits for the first")
        yield Workers(client)


def _local_cluster() -> Any:
    from dask.system import CPU_COUNT
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT as MACHINE

    return LocalCluster(
        n_workers=CPU_COUNT,
        threads_per_worker=1,
        memory_limit=min(MEMORY_LIMIT, MACHINE // CPU_COUNT),
        dashboard_address="127.0.0.1:0",
        # Who may send tasks may do all that the user may; others are on this machine too.
        security=True,
        # The command reports what a task raises, once.
        silence_logs=logging.CRITICAL,
    )

"""Pictures of galaxies, read from the images of their partitions."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from galaxymill.errors import UserError
from galaxymill.interest.page.pool import Pool
from galaxymill.search.folders import Folders
from galaxymill.search.scan import Hit

_KEPT = 1000
"""Pictures that are kept in memory."""

logger = logging.getLogger("galaxymill")


class Pictures:
    """Reads pictures ahead, all of a partition at once, and keeps the last ones."""

    def __init__(self, pool: Pool, folders: Folders) -> None:
        self._pool, self._folders = pool, folders
        self._kept: OrderedDict[int, Future[dict[int, bytes]]] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(4, "pictures")

    def begin(self, numbers: Iterable[int]) -> None:
        """Begin to read the pictures of galaxies."""
        file = self._pool.galaxies.file
        by_file: dict[int, list[int]] = {}
        with self._lock:
            for number in numbers:
                if number in self._kept:
                    self._kept.move_to_end(number)
                else:
                    by_file.setdefault(int(file[number]), []).append(number)
            for some in by_file.values():
                self._kept |= dict.fromkeys(some, self._threads.submit(self._read, some))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def get(self, number: int) -> bytes | None:
        """The file of a galaxy's image; None where there is none."""
        self.begin([number])
        with self._lock:
            future = self._kept[number]
        try:
            return future.result().get(number)
        except UserError as error:
            logger.warning("rate: %s", error)
            with self._lock:
                self._kept.pop(number, None)
            return None

    def _read(self, numbers: Sequence[int]) -> dict[int, bytes]:
        galaxies = self._pool.galaxies
        hits = [
            Hit(0, galaxies.ids[n], self._pool.files[galaxies.file[n]], int(galaxies.row[n]))
            for n in numbers
        ]
        rows = self._folders.take(hits, self._folders.images, ["object_id", "image"])
        return {
            number: row["image"]["bytes"]
            for number, hit, row in zip(numbers, hits, rows, strict=True)
            if row["image"] and row["object_id"] == hit.object_id
        }

"""Write a product while its galaxies are still being fetched: the network is slower than a disk."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from galaxymill.surveys.base import Cutout, Target
from galaxymill.surveys.part_file import PartFile

_LOOK_S = 0.05


class _AbandonedError(Exception):
    """The product is not to be finished."""


class OrderedReader:
    """Gives the cutouts of a part file in the order of the tile, each once it is there."""

    def __init__(self, part: PartFile, targets: Iterable[Target]) -> None:
        self._part, self._targets = part, targets
        self._over = threading.Event()
        self._complete = False

    def __iter__(self) -> Iterator[Cutout]:
        for target in self._targets:
            while target.object_id not in self._part:
                if self._over.wait(_LOOK_S) and not self._complete:
                    raise _AbandonedError
            yield self._part.read(target.object_id)
        # All are there, but whether they are a product is still to be judged.
        self._over.wait()
        if not self._complete:
            raise _AbandonedError

    def end(self, complete: bool) -> None:
        """Say that no more will come, and whether the product may take its place."""
        self._complete = complete
        self._over.set()


@contextmanager
def written_beside(
    write: Callable[[Iterable[Cutout]], None], reader: OrderedReader
) -> Iterator[None]:
    """Run ``write`` on what comes while the block runs; it ends well only if the block does."""
    with ThreadPoolExecutor(1, "write") as pool:
        product = pool.submit(write, reader)
        try:
            yield
        except BaseException:
            reader.end(complete=False)
            raise
        reader.end(complete=True)
        product.result()

"""Images on their way from Parquet to the network: shuffled as files, decoded in threads."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import torch

from galaxymill.images.pixels import RowGroup, to_pixels

BUFFER = 4096
"""Image files that the shuffle draws from: about 100 MB of JPEG."""

AHEAD = 256
"""Images that are decoded before they are asked for."""

Pixels = npt.NDArray[np.uint8]


def shuffled(
    groups: Sequence[RowGroup], seed: int | None, count: int, buffer: int = BUFFER
) -> Iterator[tuple[str, bytes]]:
    """Read ``count`` galaxies, ``object_id`` and image, in a random order within a buffer.

    ``groups`` are in the order to read them; from the last it goes on at the first. ``seed`` is
    that of the draws from the buffer; None for the order on disk.
    """
    rows = islice((row for group in cycle(groups) for row in group.read()), count)
    if seed is None:
        yield from rows
        return
    generator = torch.Generator().manual_seed(seed)
    held = list(islice(rows, buffer))
    while held:
        place = int(torch.randint(len(held), (), generator=generator))
        held[place], held[-1] = held[-1], held[place]
        yield held.pop()
        held += islice(rows, 1)


def decoded(rows: Iterable[tuple[str, bytes]], side: int) -> Iterator[tuple[str, Pixels]]:
    """Decode images in threads, ahead of their use and in their order.

    Yields ``object_id`` and pixels (3, side, side), uint8.
    """
    waiting: deque[tuple[str, Future[Pixels]]] = deque()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        try:
            for key, image in rows:
                waiting.append((key, pool.submit(to_pixels, image, side)))
                if len(waiting) >= AHEAD:
                    done, pixels = waiting.popleft()
                    yield done, pixels.result()
            while waiting:
                done, pixels = waiting.popleft()
                yield done, pixels.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

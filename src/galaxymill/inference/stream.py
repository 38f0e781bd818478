"""Images on their way to a network in use: read in order, decoded in threads ahead of it."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.images.pixels import central_pixels
from galaxymill.models.settings import TrainSettings
from galaxymill.storage.parquet import ROWS_PER_GROUP, read_batches

AHEAD = 2
"""Chunks that are decoded before they are asked for."""

_CHUNK_BYTES = 12_000_000
"""Five to seven chunks are in memory at a time: at 40 MB each, large partitions took 10 % more."""
_COLUMNS = ["object_id", "image", "flags"]

Pixels = npt.NDArray[np.uint8]
logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class Chunk:
    """Some galaxies that follow each other in an images product, with their images' flags.

    ``fit`` are the places of those whose image is fit and could be decoded, ``unreadable`` of those
    whose image is fit but damaged. ``pixels`` (m, size, size, 3) are those of ``fit``, as the
    network takes them.
    """

    object_ids: list[str]
    flags: npt.NDArray[np.int32]
    fit: npt.NDArray[np.intp]
    unreadable: npt.NDArray[np.intp]
    pixels: Pixels

    @property
    def fit_ids(self) -> list[str]:
        """Identifiers of ``fit``."""
        return [self.object_ids[place] for place in self.fit]


@contextmanager
def chunk_stream(
    images: Path, settings: TrainSettings, unfit: int, rows: int, skip: int, threads: int
) -> Iterator[Iterator[Chunk]]:
    """Read the chunks of an images product, in its order; decoding starts at once.

    ``settings`` are the model's. An image must have no bit of ``unfit``, of `galaxymill.flags`.
    Chunks have at most so many ``rows``, see `chunk_rows`, and begin after ``skip`` galaxies;
    ``threads`` images are decoded at a time.
    """
    pool = ThreadPoolExecutor(threads, "decode")
    batches = _skipped(read_batches(images, _COLUMNS, rows), skip)
    begun = (_begin(batch, settings, unfit, pool) for batch in batches)

    def chunks() -> Iterator[Chunk]:
        while ahead:
            chunk = ahead.popleft()()
            ahead.extend(islice(begun, 1))
            yield chunk

    try:
        ahead = deque(islice(begun, AHEAD))
        yield chunks()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(
    batch: pa.Table, settings: TrainSettings, unfit: int, pool: ThreadPoolExecutor
) -> Callable[[], Chunk]:
    """Begin to decode a chunk; the function returned waits for the end."""
    ids: list[str] = batch["object_id"].to_pylist()
    bits = batch["flags"].to_numpy().astype(np.int32)
    images: list[dict[str, Any] | None] = batch["image"].to_pylist()
    fit = np.array([n for n, image in enumerate(images) if image and not bits[n] & unfit], np.intp)
    size = settings.image_size
    pixels = np.empty((len(fit), size, size, 3), np.uint8)
    decoded = [
        pool.submit(_decode, ids[n], images[n], settings, pixels[place])
        for place, n in enumerate(fit)
    ]

    def finish() -> Chunk:
        good = np.array([future.result() for future in decoded], bool)
        return Chunk(ids, bits, fit[good], fit[~good], pixels if good.all() else pixels[good])

    return finish


def _decode(object_id: str, image: Any, settings: TrainSettings, out: Pixels) -> bool:
    """Decode an image into ``out``; False when it cannot be decoded."""
    try:
        out[:] = central_pixels(image["bytes"], settings.side, settings.image_size)
    except Exception as error:
        # Whatever damaged bytes make the imaging library do, it is one galaxy's fault.
        logger.warning("%s: image cannot be decoded: %s", object_id, error)
        return False
    return True


def chunk_rows(size: int, result_bytes: int) -> int:
    """Choose the rows of a chunk: fewer when images, or what is kept of each galaxy, are large."""
    return max(16, min(ROWS_PER_GROUP, _CHUNK_BYTES // (3 * size * size + result_bytes)))


def _skipped(batches: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    for batch in batches:
        kept = batch.slice(min(rows, batch.num_rows))
        rows -= batch.num_rows - kept.num_rows
        if kept.num_rows:
            yield kept

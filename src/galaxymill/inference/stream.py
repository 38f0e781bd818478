"""Images on their way to a network in use: read in order, decoded in threads ahead of it."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
    """Some galaxies that follow each other in an images product.

    ``flags`` (n,) are those of the images. ``fit`` (m,) are the places of those whose image is fit
    and could be decoded; ``unreadable`` of those whose image is fit, but could not be. ``pixels``
    (m, size, size, 3), uint8, are those of ``fit`` as the network is to see them.
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


class ChunkStream:
    """The chunks of an images product, in its order; decoding starts at once.

    Images must have none of the bits ``unfit`` of `galaxymill.flags`. A chunk has at most so many
    ``rows``, see `chunk_rows`; the first ``skip`` galaxies are left out; so many ``threads``
    decode.
    """

    def __init__(
        self,
        images: Path,
        settings: TrainSettings,
        unfit: int,
        rows: int,
        skip: int,
        threads: int,
    ) -> None:
        self._settings, self._unfit = settings, unfit
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._batches = _skipped(read_batches(images, _COLUMNS, rows), skip)
        self._waiting: deque[_Decoding] = deque()
        self._fill()

    def __enter__(self) -> "ChunkStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Chunk]:
        while self._waiting:
            chunk = self._waiting.popleft().result()
            self._fill()
            yield chunk

    def _fill(self) -> None:
        while len(self._waiting) < AHEAD:
            batch = next(self._batches, None)
            if batch is None:
                return
            self._waiting.append(_Decoding(batch, self._settings, self._unfit, self._pool))


class _Decoding:
    """A chunk whose images are being decoded."""

    def __init__(
        self, batch: pa.Table, settings: TrainSettings, unfit: int, pool: ThreadPoolExecutor
    ) -> None:
        self._ids: list[str] = batch["object_id"].to_pylist()
        self._flags = batch["flags"].to_numpy().astype(np.int32)
        images: list[dict[str, Any] | None] = batch["image"].to_pylist()
        self._fit = np.array(
            [n for n, image in enumerate(images) if image and not self._flags[n] & unfit], np.intp
        )
        size = settings.image_size
        self._pixels = np.empty((len(self._fit), size, size, 3), np.uint8)
        self._done: list[Future[bool]] = [
            pool.submit(_decode, self._ids[n], images[n], settings, self._pixels[place])
            for place, n in enumerate(self._fit)
        ]

    def result(self) -> Chunk:
        """Wait for all of them."""
        good = np.array([future.result() for future in self._done], bool)
        pixels = self._pixels if good.all() else self._pixels[good]
        return Chunk(self._ids, self._flags, self._fit[good], self._fit[~good], pixels)


def _decode(object_id: str, image: Any, settings: TrainSettings, out: Pixels) -> bool:
    """Decode an image into its place; tell whether that could be done."""
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

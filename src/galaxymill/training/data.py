"""The labelled galaxies of one training run: kept decoded when they fit, else streamed."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import ImageSource, RowGroup, to_pixels
from galaxymill.labels.table import Votes
from galaxymill.models.settings import TrainSettings
from galaxymill.splits import LEARNED_FROM, assign_folds

BUFFER = 4096
"""Image files that the shuffle draws from: about 100 MB of JPEG."""

AHEAD = 256
"""Images that are decoded ahead of their use."""

Pixels = npt.NDArray[np.uint8]
logger = logging.getLogger("galaxymill")


class Batch(NamedTuple):
    """What one process sees of one step, of whose galaxies there are ``whole``.

    ``pixels`` have the shape (n, 3, side, side), uint8; ``labels`` (n, …), float32.
    """

    pixels: Tensor
    labels: Tensor
    whole: int


@dataclass(frozen=True)
class Batches:
    """One epoch's batches of one process, each time in the same order."""

    cuts: Sequence[tuple[int, int]]
    read: Callable[[], Iterator[Batch]]

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[Batch]:
        return self.read()


@dataclass(frozen=True)
class Split:
    """The galaxies of one split with a fit image; ``side`` is the width of the decoded images."""

    groups: list[RowGroup]
    labels: dict[str, Tensor]
    side: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Size of all its images when decoded."""
        return len(self) * 3 * self.side**2

    def range_of_labels(self) -> str:
        """Describe between which values the labels lie, and whose those are."""
        keys, values = list(self.labels), torch.stack(list(self.labels.values()))
        low, high = values.flatten(1).amin(1), values.flatten(1).amax(1)
        first, last = int(low.argmin()), int(high.argmax())
        return (
            f"Labels go from {low[first]:g} (galaxy {keys[first]}) to {high[last]:g} (galaxy "
            f"{keys[last]})"
        )

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Identifiers and image files, in the order in which they lie on disk."""
        for group in self.groups:
            yield from group.read()


Splits = dict[str, Split]


def load_splits(votes: Votes, images: ImageSource, settings: TrainSettings) -> list[Splits]:
    """Find the images of the training and validation galaxies.

    Galaxies whose image is absent or unfit are left out. Gives the splits ``train`` and ``val`` of
    all networks, or with folds those of each in turn. Raises UserError when fewer than two training
    galaxies have a usable image, or none of a fold has.
    """
    pool = votes.task.has_label(votes.values) & np.isin(votes.splits, LEARNED_FROM)
    labelled = set(np.array(votes.object_ids, dtype=object)[pool])
    unfit = flags.unfit_bits(settings.unfit)
    groups = images.find(labelled, unfit)
    absent = images.lacking(labelled, groups, unfit)
    if absent:
        absent = f"without a fit image: {absent}"
        logger.warning("train: %s", absent)
    divisions = [votes.splits]
    if settings.folds:
        folds = assign_folds(votes.object_ids, votes.positions, settings.folds)
        divisions = [np.where(folds == fold, "val", "train") for fold in range(settings.folds)]
    found = []
    for number, names in enumerate(divisions, 1):
        if settings.folds:
            logger.info("train: fold %d of %d is the validation split:", number, settings.folds)
        splits = _divide(votes, groups, names, pool, settings.side)
        if (count := len(splits["train"])) < 2:
            raise UserError(
                f"{count} of {len(votes.object_ids)} labelled galaxies can be learned from; looked "
                f"for images in {images.files[0].parent}; "
                f"{absent or 'see the share of the split train'}"
            )
        if settings.folds and not len(splits["val"]):
            raise UserError(
                f"train: no galaxy of fold {number} of {settings.folds} can be learned from: "
                f"{len(labelled)} labelled galaxies are too few; give fewer folds"
            )
        found.append(splits)
    return found


def _divide(
    votes: Votes,
    groups: list[RowGroup],
    names: npt.NDArray[np.str_],
    pool: npt.NDArray[np.bool_],
    side: int,
) -> Splits:
    """Put the galaxies of ``pool`` that have an image into the splits that they are named for."""
    ids = np.array(votes.object_ids, dtype=object)
    values = torch.from_numpy(votes.values).float()
    labels = dict(zip(votes.object_ids, values, strict=True))
    splits = {}
    for name in LEARNED_FROM:
        keys = set(ids[pool & (names == name)])
        own = [replace(group, ids=group.ids & keys) for group in groups if group.ids & keys]
        found = sorted(key for group in own for key in group.ids)
        splits[name] = Split(own, {key: labels[key] for key in found}, side)
        logger.info("train: %s: %d galaxies, %d with a fit image", name, len(keys), len(found))
    return splits


class Cached:
    """A split decoded once: batches are gathered from memory."""

    def __init__(self, split: Split) -> None:
        self.split, self.count = split, len(split)
        order = {key: row for row, key in enumerate(split.labels)}
        self.pixels = torch.empty((len(split), 3, split.side, split.side), dtype=torch.uint8)
        self.labels = torch.stack(list(split.labels.values())) if len(split) else torch.empty(0, 1)
        for key, pixels in decoded(split.images(), split.side):
            self.pixels[order[key]] = torch.from_numpy(pixels)

    def batches(self, batch_size: int, seed: int | None, own: slice) -> Batches:
        """Cut an epoch into batches of so many galaxies, over all processes together.

        ``seed`` is that of the order; None for the order of ``object_id``. Of each batch this
        process takes ``own``, so that all together see in each step what one process would.
        """
        steps = cuts(self.count, batch_size)
        if seed is None:
            order = torch.arange(self.count)
        else:
            order = torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))

        def gather() -> Iterator[Batch]:
            for low, high in steps:
                chosen = order[low:high][own]
                yield Batch(self.pixels[chosen], self.labels[chosen], high - low)

        return Batches(steps, gather)


class Streamed:
    """A split larger than the cache: read, shuffled through a buffer and decoded on the way."""

    def __init__(self, split: Split) -> None:
        self.split, self.count = split, len(split)

    def batches(self, batch_size: int, seed: int | None, own: slice) -> Batches:
        """Cut an epoch into batches; see `Cached.batches`.

        Every process reads all files, which keeps the order, and decodes its own: decoding takes
        ten times as long.
        """
        groups, labels, side = self.split.groups, self.split.labels, self.split.side
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            groups = [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
        steps = cuts(self.count, batch_size)

        def own_rows() -> Iterator[tuple[str, bytes]]:
            rows = shuffled(groups, seed, self.count)
            for low, high in steps:
                yield from islice(islice(rows, high - low), own.start, own.stop, own.step)

        def read() -> Iterator[Batch]:
            galaxies = decoded(own_rows(), side)
            width = len(next(iter(labels.values()), ()))
            for low, high in steps:
                count = len(range(high - low)[own])
                pixels = torch.empty((count, 3, side, side), dtype=torch.uint8)
                values = torch.empty((count, width))
                for place, (key, image) in enumerate(islice(galaxies, count)):
                    pixels[place], values[place] = torch.from_numpy(image), labels[key]
                yield Batch(pixels, values, high - low)

        return Batches(steps, read)


def open_split(split: Split, cache_gb: float) -> Cached | Streamed:
    """Decode a split now when it fits in the cache, else stream it."""
    if split.nbytes <= cache_gb * 2**30:
        return Cached(split)
    logger.info(
        "train: %d images would take %.1f GB decoded, more than cache_gb: %g; they are streamed",
        *(len(split), split.nbytes / 2**30, cache_gb),
    )
    return Streamed(split)


def cuts(n: int, batch_size: int) -> list[tuple[int, int]]:
    """Cut n galaxies into batches; a last single galaxy joins the batch before.

    Batch normalisation cannot learn from a batch of one.
    """
    starts = [low for low in range(0, n, batch_size) if n - low > 1 or low == 0]
    return list(pairwise([*starts, n]))


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

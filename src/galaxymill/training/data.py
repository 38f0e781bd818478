"""The labelled galaxies of one training run, decoded once and held in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import ImageSource, to_pixels
from galaxymill.models.settings import TrainSettings
from galaxymill.votes.table import Votes


@dataclass(frozen=True)
class LabelledImages:
    """Images and votes of one split.

    Attributes
    ----------
    pixels : Tensor, shape (n, 3, h, w), uint8
    votes : Tensor, shape (n, n_answers), float32
    """

    pixels: Tensor
    votes: Tensor

    def __len__(self) -> int:
        """Number of galaxies."""
        return len(self.pixels)


def load_splits(
    votes: Votes, images: ImageSource, settings: TrainSettings
) -> dict[str, LabelledImages]:
    """Decode the images of the training and validation galaxies.

    Parameters
    ----------
    votes : Votes
    images : ImageSource
        Galaxies whose image is absent or unfit are left out.
    settings : TrainSettings
        ``image_size`` and ``zoom`` decide the size that is kept.

    Returns
    -------
    dict of str to LabelledImages
        ``train`` and ``val``, each in the order of ``object_id``.

    Raises
    ------
    UserError
        When no training galaxy has a usable image.
    """
    rows = votes.rows()
    wanted = [key for key, row in rows.items() if votes.splits[row] in ("train", "val")]
    usable = images.usable(wanted, flags.unfit_bits(settings.unfit))
    side = round(settings.image_size * float(np.mean(settings.zoom)))
    splits = {}
    for split in ("train", "val"):
        keys = [key for key in usable if votes.splits[rows[key]] == split]
        pixels = np.empty((len(keys), 3, side, side), np.uint8)
        for place, key in enumerate(keys):
            pixels[place] = to_pixels(usable[key], side)
        counts = votes.counts[[rows[key] for key in keys]].astype(np.float32)
        splits[split] = LabelledImages(torch.from_numpy(pixels), torch.from_numpy(counts))
    if len(splits["train"]) == 0:
        raise UserError(
            f"none of the {len(wanted)} labelled galaxies has a usable image in "
            f"{images.files[0].parent}; check that object_id is the same in votes and images"
        )
    return splits


class Batches:
    """Batches of a split: shuffled anew each epoch by a seed, or in order.

    Parameters
    ----------
    data : LabelledImages
    batch_size : int
    seed : int or None
        None for the order of the data.
    """

    def __init__(self, data: LabelledImages, batch_size: int, seed: int | None) -> None:
        self._data, self._batch_size = data, batch_size
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Number of batches; a last single galaxy joins the batch before."""
        return len(self._cuts(len(self._data)))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self._data)
        order = torch.arange(n)
        if self._generator is not None:
            order = torch.randperm(n, generator=self._generator)
        for low, high in self._cuts(n):
            chosen = order[low:high]
            yield self._data.pixels[chosen], self._data.votes[chosen]

    def _cuts(self, n: int) -> Sequence[tuple[int, int]]:
        # Batch normalisation cannot learn from a batch of one.
        starts = [low for low in range(0, n, self._batch_size) if n - low > 1 or low == 0]
        return list(zip(starts, [*starts[1:], n], strict=True))

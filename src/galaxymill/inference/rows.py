"""Rows of the products of a prediction, from the network's outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.inference.settings import PredictSettings
from galaxymill.inference.stream import Chunk, chunk_rows
from galaxymill.models.store import ModelCard
from galaxymill.tasks.task import Task


class Rows:
    """Makes the rows of predictions and embeddings together.

    With ``shifted`` every row is flagged: the model learned from other images. ``features`` is the
    length of the embeddings; 0 when there is no product of them.
    """

    def __init__(
        self, card: ModelCard, settings: PredictSettings, shifted: bool, features: int
    ) -> None:
        self._task, self._shifted, self._embedded = card.task, shifted, features > 0
        self._keeps_embeddings = "embeddings" in settings.keep
        draws = settings.draws(card.settings)
        width = draws * card.task.sample_width()[0]
        self._keeps_samples = "samples" in settings.keep and width > 0
        self.at_once = chunk_rows(card.settings.image_size, 4 * width + 2 * features)
        self.predictions = products.predictions(card.task, draws if self._keeps_samples else 0)
        described = settings.described(card.settings)
        described += "".join(f", {key} {card.encoder_dict[key]}" for key in ("mean", "std"))
        self.embeddings = products.embeddings(max(features, 1), described)

    def table(self, chunk: Chunk, outputs: Any, embedded: Any) -> pa.Table:
        """Rows of a chunk for all products; nulls where nothing was predicted.

        ``outputs`` (m, draws, width) and ``embedded`` (m, features) are tensors of the fit
        galaxies, which the device may still be computing.
        """
        count = len(chunk.object_ids)
        absent = np.ones(count, bool)
        absent[chunk.fit] = False
        drawn = outputs.cpu().numpy()
        check_finite(chunk.fit_ids, drawn)
        samples = np.full((count, *drawn.shape[1:]), np.nan, np.float32)
        samples[chunk.fit] = drawn
        bits = chunk.flags | (flags.BITS["domain_shift"] if self._shifted else 0)
        bits[chunk.unreadable] |= flags.BITS["unreadable"]
        columns: dict[str, pa.Array] = {
            "object_id": pa.array(chunk.object_ids, pa.string()),
            "flags": pa.array(bits, pa.int32()),
        }
        if self._keeps_samples:
            flat = samples.reshape(count, -1)
            columns[self._task.sample_column] = vectors(flat, absent, pa.float32())
        columns |= summarise(samples, self._task)
        if self._embedded:
            whole = np.zeros((count, embedded.shape[1]), np.float16)
            whole[chunk.fit] = embedded.cpu().numpy().astype(np.float16)
            hidden = absent if self._keeps_embeddings else np.ones_like(absent)
            columns["embedding"] = vectors(whole, hidden, pa.float16())
        return pa.table(columns)


def check_finite(object_ids: Sequence[str], outputs: npt.NDArray[np.floating]) -> None:
    """Raise UserError when a galaxy's outputs, shape (n, S, width), are not finite.

    They would pass for those of a galaxy that was not predicted.
    """
    good = np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim)))
    if not good.all():
        raise UserError(
            f"{object_ids[int(good.argmin())]}: the model's outputs are not finite, nor those of "
            f"{int((~good).sum()) - 1} others of {len(good)}: with precision fp16 take fp32; else "
            "the model is of no use: train it again"
        )


def summarise(samples: npt.NDArray[np.floating], task: Task) -> dict[str, pa.Array]:
    """Compute every summary column of a task, float32.

    ``samples``, shape (n, S, …), are the head's outputs, and NaN for a galaxy that was not
    predicted; its columns are null.
    """
    absent: npt.NDArray[np.bool_] = np.isnan(samples).any(axis=tuple(range(1, samples.ndim)))
    filled = samples.copy()
    filled[absent] = 1
    return {
        name: pa.array(values.astype(np.float32), mask=absent)
        if values.ndim == 1
        else vectors(values.reshape(len(values), -1), absent, pa.float32())
        for name, values in task.summarise(filled).items()
    }


def vectors(
    values: npt.NDArray[Any], absent: npt.NDArray[np.bool_], kind: pa.DataType
) -> pa.FixedSizeListArray:
    """Make a column of lists of values (n, length); null where they are absent."""
    flat = pa.array(np.where(absent[:, None], 0, values).ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(absent))

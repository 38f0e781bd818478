"""Rows of the products of a prediction, from what the network gave."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill import flags, products
from galaxymill.inference.settings import PredictSettings
from galaxymill.inference.stream import Chunk, chunk_rows
from galaxymill.inference.summary import check_finite, summarise
from galaxymill.models.store import ModelCard


class Rows:
    """Makes the rows of predictions and embeddings together.

    Parameters
    ----------
    card : ModelCard
    settings : PredictSettings
    shifted : bool
        Whether the model learned from other images: every row is flagged.
    features : int
        Length of the embeddings; 0 when there is no product of them.
    """

    def __init__(
        self, card: ModelCard, settings: PredictSettings, shifted: bool, features: int
    ) -> None:
        self._task, self._shifted, self._embedded = card.task, shifted, features > 0
        self._keeps_embeddings = "embeddings" in settings.keep
        self._keeps_samples = "samples" in settings.keep
        draws = settings.draws(card.settings)
        width = products.sample_field(card.task, draws).type.list_size
        self.at_once = chunk_rows(card.settings.image_size, 4 * width + 2 * features)
        self.predictions = products.predictions(card.task, draws if self._keeps_samples else 0)
        self.embeddings = products.embeddings(max(features, 1))

    def table(self, chunk: Chunk, outputs: Any, embedded: Any) -> pa.Table:
        """Give a chunk's rows of all products; nulls where nothing was predicted.

        Parameters
        ----------
        chunk : Chunk
        outputs : Tensor, shape (m, draws, width)
            For the fit galaxies; the network may still be at it.
        embedded : Tensor, shape (m, features)
        """
        count = len(chunk.object_ids)
        absent = np.ones(count, bool)
        absent[chunk.fit] = False
        given = outputs.cpu().numpy()
        check_finite(chunk.fit_ids, given)
        samples = np.full((count, *outputs.shape[1:]), np.nan, np.float32)
        samples[chunk.fit] = given
        bits = chunk.flags | (flags.BITS["domain_shift"] if self._shifted else 0)
        bits[chunk.unreadable] |= flags.BITS["unreadable"]
        columns: dict[str, pa.Array] = {
            "object_id": pa.array(chunk.object_ids, pa.string()),
            "flags": pa.array(bits, pa.int32()),
        }
        if self._keeps_samples:
            name = products.SAMPLES[self._task.kind][0]
            columns[name] = _vectors(samples.reshape(count, -1), absent, pa.float32())
        columns |= summarise(samples, self._task)
        if self._embedded:
            columns["embedding"] = self._embeddings(chunk, embedded, absent)
        return pa.table(columns)

    def _embeddings(self, chunk: Chunk, embedded: Any, absent: npt.NDArray[np.bool_]) -> pa.Array:
        whole = np.zeros((len(absent), embedded.shape[1]), np.float16)
        whole[chunk.fit] = embedded.cpu().numpy().astype(np.float16)
        none = np.ones_like(absent)
        return _vectors(whole, absent if self._keeps_embeddings else none, pa.float16())


def _vectors(
    values: npt.NDArray[Any], absent: npt.NDArray[np.bool_], kind: pa.DataType
) -> pa.FixedSizeListArray:
    """Rows of a matrix as a fixed-size list column, null where ``absent``."""
    flat = pa.array(np.where(absent[:, None], 0, values).ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(absent))

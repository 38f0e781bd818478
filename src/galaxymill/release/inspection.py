"""Count the catalogue's galaxies on the sky and measure its texts, before anything is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill.products import CUTOUT_STATUSES
from galaxymill.release.columns import Column
from galaxymill.release.tables.fits_table import is_text
from galaxymill.sky.healpix import HIGHEST_ORDER, INDEX_ORDER
from galaxymill.storage.parquet import read_batches

Histogram = npt.NDArray[np.int64]
_ROWS = 100_000


def inspect_catalog(
    objects: Path, columns: Sequence[Column]
) -> tuple[Histogram, Mapping[str, int]]:
    """Count the galaxies of each pixel of ``objects.parquet``, and measure the texts.

    Returns
    -------
    counts : ndarray of int64, shape (12 · 4^HIGHEST_ORDER,)
        Galaxies in each nested HEALPix pixel.
    widths : mapping of str to int
        Most bytes of each column of texts.
    """
    counts: Histogram = np.zeros(12 * 4**HIGHEST_ORDER, np.int64)
    names = {column.name for column in columns if is_text(column.field.type)}
    texts = [name for name in pq.read_schema(objects).names if name in names]
    widths = dict.fromkeys(texts, 1) | {"status": max(map(len, CUTOUT_STATUSES))}
    for batch in read_batches(objects, ["_healpix_29", *texts], _ROWS):
        index = batch["_healpix_29"].to_numpy() >> 2 * (INDEX_ORDER - HIGHEST_ORDER)
        pixels, numbers = np.unique(index, return_counts=True)
        counts[pixels] += numbers
        for name in texts:
            longest = pc.max(pc.binary_length(batch[name])).as_py() or 1
            widths[name] = max(widths[name], longest)
    return counts, widths

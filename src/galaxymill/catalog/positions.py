"""Catalogues without positions: what takes the place of a HEALPix pixel in them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from galaxymill.sky.healpix import INDEX_ORDER, Integers
from galaxymill.storage.parquet import read_batches


def hash_places(object_ids: Iterable[str]) -> Integers:
    """Draw column ``_healpix_29``, shape (n,), for n galaxies without positions.

    The first 58 bits of the SHA-256 of the identifier (UTF-8), most significant first: uniform
    over the 4^29 pixels of order 29 in the first of HEALPix's 12 base pixels, so that few
    galaxies make one partition and not twelve. It is no place on the sky, but a galaxy keeps it
    whatever else is in the catalogue: it is sorted and partitioned by it as by a pixel.
    """
    digests = (hashlib.sha256(key.encode()).digest()[:8] for key in object_ids)
    unused = 64 - 2 * INDEX_ORDER
    return np.array([int.from_bytes(first, "big") >> unused for first in digests], np.int64)


def has_positions(product: Path) -> bool:
    """Whether the galaxies of ``objects.parquet``, or of a tile, have positions: all, or none."""
    first = next(read_batches(product, ["ra"], rows=1), None)
    return first is None or first["ra"].null_count == 0

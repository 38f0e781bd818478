"""Where on the sky the galaxies of a release are, as a multi-order coverage map (MOC 2.0)."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

ORDER = 10


def write_coverage(folder: Path, counts: npt.NDArray[np.int64]) -> None:
    """Write ``coverage.moc.fits`` and ``coverage.moc.json``, with pixels of 3.4 arcmin.

    ``counts`` are galaxies in each nested HEALPix pixel of an order of at least ``ORDER``.
    """
    from mocpy import MOC

    pixels = np.flatnonzero(counts.reshape(12 * 4**ORDER, -1).sum(axis=1)).astype(np.uint64)
    moc = MOC.from_healpix_cells(pixels, np.full(len(pixels), ORDER, np.uint8), max_depth=ORDER)
    moc.save(str(folder / "coverage.moc.fits"), format="fits")
    moc.save(str(folder / "coverage.moc.json"), format="json")

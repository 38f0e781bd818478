"""Which galaxies a model learns from: a hash decides, so that nobody changes sides."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from galaxymill.settings import Settings
from galaxymill.sky.angles import chord, unit_vectors
from galaxymill.sky.healpix import healpix_pixels

SPLITS = ("train", "val", "test")
LEARNED_FROM = ("train", "val")
SPLIT_ORDER = 10


class SplitSettings(Settings):
    """Shares of the splits; they add up to 1, and any may be 0."""

    train: float = Field(0.7, gt=0, le=1, description="share of galaxies to learn from")
    val: float = Field(0.1, ge=0, le=1, description="share that chooses the best epoch")
    test: float = Field(0.2, ge=0, le=1, description="share kept for evaluation")
    salt: str = Field("", max_length=64, description="another salt gives another split")

    @model_validator(mode="after")
    def _shares_add_up(self) -> "SplitSettings":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, not {total:g}")
        return self


def assign_splits(
    object_ids: Sequence[str],
    positions: npt.NDArray[np.float64] | None,
    settings: SplitSettings,
) -> list[str]:
    """Give each galaxy its split.

    Galaxies with coordinates are split by the HEALPix pixel of order 10 (3.4 arcmin) that they
    lie in, so that one seen twice never sits on both sides; others by their ``object_id``.

    Parameters
    ----------
    object_ids : sequence of str, length n
    positions : ndarray, shape (n, 2), or None
        Right ascension and declination, degrees; NaN where unknown.
    settings : SplitSettings

    Returns
    -------
    list of str, length n
        ``train``, ``val`` or ``test``.
    """
    bounds = np.cumsum([settings.train, settings.val])
    draws = _draws(object_ids, positions, settings.salt)
    return [SPLITS[index] for index in np.searchsorted(bounds, draws, side="right")]


def assign_folds(
    object_ids: Sequence[str], positions: npt.NDArray[np.float64] | None, folds: int
) -> npt.NDArray[np.intp]:
    """Give each galaxy the fold that it is judged in, from 0, shape (n,), by the rule of splits.

    Whatever other galaxies there are, a galaxy stays in its fold; see `assign_splits`.
    """
    assigned: npt.NDArray[np.intp] = (_draws(object_ids, positions, "fold") * folds).astype(np.intp)
    return assigned


def _draws(
    object_ids: Sequence[str], positions: npt.NDArray[np.float64] | None, salt: str
) -> npt.NDArray[np.float64]:
    """Draw a number in [0, 1) for each galaxy, by its place on the sky or else by its name."""
    draws = np.empty(len(object_ids))
    placed = np.zeros(len(object_ids), np.bool_)
    if positions is not None:
        placed[:] = np.isfinite(positions).all(axis=1)
        pixels = healpix_pixels(positions[placed, 0], positions[placed, 1], SPLIT_ORDER)
        # Many galaxies lie in one pixel.
        own, rows = np.unique(pixels, return_inverse=True)
        draws[placed] = np.array([uniform(f"{salt}:{pixel}") for pixel in own.tolist()])[rows]
    for row in np.flatnonzero(~placed).tolist():
        draws[row] = uniform(f"{salt}:{object_ids[row]}")
    return draws


def near_training(
    positions: npt.NDArray[np.float64] | None,
    splits: npt.NDArray[np.str_],
    radius_arcsec: float = 30.0,
) -> npt.NDArray[np.bool_]:
    """Find the test galaxies that lie near one that was trained on, across a pixel's edge.

    Parameters
    ----------
    positions : ndarray, shape (n, 2), or None
        Right ascension and declination, degrees; NaN where unknown.
    splits : ndarray of str, shape (n,)
    radius_arcsec : float
        Great-circle distance within which a galaxy is near.

    Returns
    -------
    ndarray of bool, shape (n,)
        False for galaxies of other splits and where positions are unknown.
    """
    from scipy.spatial import cKDTree

    near = np.zeros(len(splits), dtype=bool)
    if positions is None:
        return near
    placed = np.isfinite(positions).all(axis=1)
    test = np.flatnonzero(placed & (splits == "test"))
    train = np.flatnonzero(placed & (splits == "train"))
    if not len(test) or not len(train):
        return near
    tree = cKDTree(unit_vectors(*positions[train].T))
    distances, _ = tree.query(unit_vectors(*positions[test].T))
    near[test] = distances <= chord(radius_arcsec)
    return near


def uniform(key: str) -> float:
    """Hash a key to a number in [0, 1)."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

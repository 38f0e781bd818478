"""Likeness: the cosine of the angle between the features of two galaxies.

Features lie on a grid, queries are rounded to one: products and sums are exact in double precision,
so that a likeness does not depend on which galaxies were compared together.
"""

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError

_QUERY_GRID = 1 << 20
_WHITE_GRID = 1 << 12
_QUERY_LENGTH = 32.0

Doubles = npt.NDArray[np.float64]


class Query:
    """Galaxies to compare with: one, or the mean of several, each counted alike.

    Parameters
    ----------
    features : ndarray, shape (m, components)
        Of the galaxies asked for; none is zero.
    deviations : ndarray, shape (components,), or None
        By which features are divided, so that rare differences count as much as common ones
        (whitening); None to compare them as they are.
    name : str
        To name in errors.
    """

    def __init__(
        self, features: npt.NDArray[np.floating], deviations: Doubles | None, name: str
    ) -> None:
        self.deviations = deviations
        scaled = self._scaled(features.astype(np.float64))
        mean = (scaled / np.linalg.norm(scaled, axis=1, keepdims=True)).mean(axis=0)
        length = np.linalg.norm(mean)
        if not length > 1e-6:
            raise UserError(f"{name}: these galaxies have nothing in common: their mean is zero")
        self.vector: Doubles = np.rint(mean / length * _QUERY_LENGTH * _QUERY_GRID) / _QUERY_GRID

    def _scaled(self, features: Doubles) -> Doubles:
        if self.deviations is None:
            return features
        scaled: Doubles = np.rint(features / self.deviations * _WHITE_GRID) / _WHITE_GRID
        return scaled

    def likeness(self, features: npt.NDArray[np.floating]) -> Doubles:
        """Likeness of galaxies (n, components) to the query, −1 to 1, shape (n,)."""
        scaled = self._scaled(features.astype(np.float64))
        lengths = (scaled * scaled).sum(axis=1) * (self.vector * self.vector).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Doubles = (scaled * self.vector).sum(axis=1) / np.sqrt(lengths)
        return np.nan_to_num(found, nan=-1.0)

    def rough(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """What the likeness is estimated by in single precision: a unit vector, and scales."""
        unit = self.vector / np.linalg.norm(self.vector)
        if self.deviations is None:
            return unit.astype(np.float32), None
        return unit.astype(np.float32), (1 / self.deviations).astype(np.float32)

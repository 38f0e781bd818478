"""What a whole survey is like, from galaxies that were chosen with known probabilities."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def estimate_mean(values: Floats, probabilities: Floats) -> tuple[float, float]:
    """Mean over all galaxies that might have been chosen, and its standard error.

    Each galaxy stands for as many as the inverse of its probability (Horvitz and Thompson 1952),
    over how many they stand for together (Hájek 1971); the error is that of draws that do not
    depend on each other (Särndal, Swensson and Wretman 1992, equation 5.7.4). NaN for no galaxy.
    """
    if not len(values):
        return np.nan, np.nan
    weights = 1 / probabilities
    mean = np.average(values, weights=weights)
    spread = (1 - probabilities) * (weights * (values - mean)) ** 2
    return float(mean), float(np.sqrt(spread.sum()) / weights.sum())

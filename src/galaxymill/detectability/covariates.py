"""What can be made out of a galaxy's image: its size beside the seeing, its brightness beside the
depth, its redshift.
"""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from galaxymill.errors import UserError, unknown_name
from galaxymill.settings import Settings

Values = npt.NDArray[np.float64]

NAMES = ("size_fwhm", "contrast", "redshift")
_LARGEST = 20.0
"""Largest redshift that can be."""


class View(Settings):
    """How a survey shows galaxies, in one band: as they are, or farther away."""

    seeing: float = Field(gt=0, le=60, description="FWHM of point sources, arcsec")
    depth: float = Field(ge=5, le=40, description="5 sigma depth for point sources, AB magnitude")
    farther: float = Field(1.0, ge=1, le=1000, description="times as far away")
    redshift: float | None = Field(None, gt=0, le=_LARGEST, description="or at this redshift")

    @classmethod
    def parse_flag(cls, text: str) -> "View":
        """Read what the command line gives as JSON; a `UserError` says what is not allowed."""
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"--view {text[:200]!r}: not JSON ({error})") from error
        return cls.parse(plain, "--view")


def covariates(columns: Sequence[Values], own: Values | None, view: View) -> Values:
    """Give the covariates of galaxies as a view shows them.

    Parameters
    ----------
    columns : sequence of 2 or 3 ndarray, shape (n,)
        Half-light radius, arcsec; total AB magnitude in the view's band; and the galaxy's redshift,
        where that is a covariate.
    own : ndarray, shape (n,), or None
        Redshifts from which galaxies are moved; needed where the view has a redshift.
    view : View
        With a redshift, sizes go by angular diameter distances and surface brightness dims by
        (1 + z)⁴, as the service ``observed`` does it; farther away in a space that does not expand,
        redshifts grow with the distance.

    Returns
    -------
    ndarray, shape (n, 2 or 3)
        Each grows with what can be made out: the logarithm of size / FWHM; contrast, the depth
        minus the mean surface brightness within the half-light radius (AB magnitudes per square
        arcsec; Graham & Driver 2005, PASA 22, 118, eq. 9); minus the redshift. NaN in every column
        where one of them is unknown or cannot be, as a negative redshift.
    """
    size, magnitude = columns[:2]
    shrunk, dimmed = np.full(len(size), view.farther), np.zeros(len(size))
    redshifts = [values * view.farther for values in columns[2:]]
    if own is not None and view.redshift is not None:
        there = np.full(len(size), view.redshift)
        known = np.where((own > 0) & (own <= there), own, np.nan)
        shrunk = _angular_distance(there) / _angular_distance(known)
        dimmed = 10 * np.log10((1 + there) / (1 + known))
        redshifts = [there for _ in redshifts]
    with np.errstate(divide="ignore", invalid="ignore"):
        brightness = magnitude + 2.5 * np.log10(2 * np.pi * size**2) + dimmed
        shown = [np.log(size / shrunk / view.seeing), view.depth - brightness]
        shown += [np.where((one > 0) & (one <= _LARGEST), -one, np.nan) for one in redshifts]
    rows = np.stack(shown, axis=1)
    rows[~np.isfinite(rows).all(axis=1)] = np.nan
    return rows


def _angular_distance(redshift: Values) -> Values:
    """Angular diameter distance, Mpc, in the cosmology of Planck 2018; NaN stays NaN."""
    from astropy.cosmology import Planck18

    known = np.isfinite(redshift)
    distances = np.full(len(redshift), np.nan)
    distances[known] = Planck18.angular_diameter_distance(redshift[known]).value
    return distances


def require_columns(schema: pa.Schema, names: Sequence[str], place: object) -> None:
    """Refuse a catalogue without a column, or one that holds no numbers."""
    for name in names:
        if name not in schema.names:
            known = [one.name for one in schema if _is_number(one.type)]
            why = unknown_name(f"{place}: detectability", name, known, "column of numbers")
            raise UserError(f"{why}; name it in the config: surveys.NAME.catalog.keep")
        if not _is_number(schema.field(name).type):
            raise UserError(
                f"{place}: column {name} holds {schema.field(name).type}, no numbers; give its type"
                " in the config: surveys.NAME.catalog.types"
            )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def numbers(column: pa.ChunkedArray) -> Values:
    """Values as float64, NaN for null."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)

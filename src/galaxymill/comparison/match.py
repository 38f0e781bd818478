"""Which galaxy of one catalogue is which of the other: by identifier, or by position."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from galaxymill.comparison.catalogue import Catalogue, Degrees
from galaxymill.errors import UserError

OBJECT_ID = "object_id"
MAX_RADIUS_ARCSEC = 60.0
_TILE_ROWS = 500_000  # LSDB's tiles are 0.2 square degrees or more: no survey is so crowded.
_MAX_WORDS = 64

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """Pairs of galaxies; each galaxy is in one pair at most.

    Attributes
    ----------
    rows_a, rows_b : ndarray of int64, shape (n,)
        Row of each pair in A, ascending, and in B.
    how : str
        In words.
    galaxies_a, galaxies_b : int
        Rows in all.
    separation_arcsec : ndarray of float64, shape (n,), or None
        Of positions.
    doubles : int
        Galaxies of A left out since another one is nearer to their counterpart in B.
    """

    rows_a: Rows
    rows_b: Rows
    how: str
    galaxies_a: int
    galaxies_b: int
    separation_arcsec: Degrees | None = None
    doubles: int = 0


def parse_radius(text: str) -> float:
    """Read a radius such as ``1arcsec``.

    Parameters
    ----------
    text : str
        A number and a unit of angle, as astropy's ``Quantity`` reads it.

    Returns
    -------
    float
        In arcsec.

    Raises
    ------
    UserError
        When it is no angle above 0 and up to ``MAX_RADIUS_ARCSEC``.
    """
    from astropy.units import Quantity

    allowed = f"allowed: above 0 and at most {MAX_RADIUS_ARCSEC:g} arcsec, such as 1arcsec"
    try:
        if len(text) > _MAX_WORDS:
            raise ValueError("too long")
        radius = float(Quantity(text).to_value("arcsec"))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"--sky: {text[:_MAX_WORDS]!r} is no angle; {allowed}") from error
    if not 0 < radius <= MAX_RADIUS_ARCSEC:
        raise UserError(f"--sky: {text!r} is {radius:g} arcsec; {allowed}")
    return radius


def match_ids(a: Catalogue, b: Catalogue, name: str = OBJECT_ID) -> Match:
    """Match by identifier.

    Parameters
    ----------
    a, b : Catalogue
    name : str
        A column of both; ``object_id`` is what each layout calls so.

    Raises
    ------
    UserError
        When an identifier is given twice, or none is in both.
    """
    columns = [c.layout.object_id if name == OBJECT_ID else name for c in (a, b)]
    ids_a, ids_b = a.ids(columns[0]), b.ids(columns[1])
    places = pc.index_in(ids_a, value_set=ids_b).to_numpy(zero_copy_only=False)
    rows_a = np.flatnonzero(~np.isnan(places))
    if not len(rows_a):
        told = [
            f"{c.path}: {column} (e.g. {ids[0].as_py()!r})" if len(ids) else f"{c.path}: no galaxy"
            for c, column, ids in ((a, columns[0], ids_a), (b, columns[1], ids_b))
        ]
        raise UserError(
            f"no galaxy is in both: {' and '.join(told)} have no value in common; name a column "
            "of both with --on, or match positions with --sky 1arcsec"
        )
    how = columns[0] if columns[0] == columns[1] else " = ".join(columns)
    rows_b = places[rows_a].astype(np.int64)
    return Match(rows_a, rows_b, f"by {how}", len(ids_a), len(ids_b))


def match_positions(a: Catalogue, b: Catalogue, radius_arcsec: float) -> Match:
    """Match each galaxy of A with the nearest of B, and of those with one counterpart the nearest.

    LSDB does it tile by tile: 10⁷ galaxies on each side take half a minute.

    Parameters
    ----------
    a, b : Catalogue
        Identifiers, where there are any, are checked too.
    radius_arcsec : float
        Above 0 and at most ``MAX_RADIUS_ARCSEC``.

    Raises
    ------
    UserError
        When a position is out of range, an identifier given twice, or no pair so near.
    """
    for catalogue in (a, b):
        if catalogue.layout.object_id in catalogue.columns:
            catalogue.ids(catalogue.layout.object_id)
    places_a, places_b = a.positions(), b.positions()
    rows_a, rows_b, separation = _nearest(places_a, places_b, radius_arcsec)
    # The nearest first, so that it is the one that is kept.
    order = np.lexsort((rows_a, separation))
    kept = order[np.unique(rows_b[order], return_index=True)[1]]
    kept = kept[np.argsort(rows_a[kept])]
    if not len(kept):
        raise UserError(
            f"{a.path} and {b.path}: no two galaxies within {radius_arcsec:g} arcsec; check that "
            "both are positions in ICRS degrees, or widen --sky"
        )
    return Match(
        rows_a[kept],
        rows_b[kept],
        f"within {radius_arcsec:g} arcsec",
        len(places_a[0]),
        len(places_b[0]),
        separation[kept],
        len(rows_a) - len(kept),
    )


def _nearest(
    a: tuple[Degrees, Degrees], b: tuple[Degrees, Degrees], radius_arcsec: float
) -> tuple[Rows, Rows, Degrees]:
    """Give rows and separations (arcsec) of galaxies of A and the nearest of B within a radius."""
    if not len(a[0]) or not len(b[0]):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    # Counterparts across a tile's border are in the margin. Few small pixels make a wide one:
    # that of the widest radius is found faster than a narrower.
    left, right = _sky(a, "a", None), _sky(b, "b", MAX_RADIUS_ARCSEC)
    found = left.crossmatch(
        right,
        n_neighbors=1,
        radius_arcsec=radius_arcsec,
        # An inner join refuses catalogues that lie apart.
        how="left",
        require_right_margin=True,
        suffixes=("_a", "_b"),
        suffix_method="all_columns",
        log_changes=False,
    )[["row_a", "row_b", "_dist_arcsec"]]
    pairs = found.compute(progress_bar=False).dropna()
    return (
        pairs["row_a"].to_numpy(np.int64),
        pairs["row_b"].to_numpy(np.int64),
        pairs["_dist_arcsec"].to_numpy(np.float64),
    )


def _sky(position: tuple[Degrees, Degrees], name: str, margin_arcsec: float | None) -> Any:
    """Put positions into a catalogue of LSDB's, with the row of each."""
    import lsdb
    import pandas as pd

    ra, dec = position
    frame = pd.DataFrame({"ra": ra % 360, "dec": dec, "row": np.arange(len(ra))})
    with warnings.catch_warnings():
        # It warns of more than 1e6 rows; three columns of numbers are far from its limit, 1 GB.
        warnings.filterwarnings("ignore", message="from_dataframe is not intended")
        return lsdb.from_dataframe(
            frame,
            catalog_name=name,
            partition_rows=_TILE_ROWS,
            margin_threshold=margin_arcsec,
            should_generate_moc=False,
            use_pyarrow_types=False,
        )

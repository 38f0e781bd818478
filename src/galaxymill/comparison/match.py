"""Which galaxy of one catalogue is which of the other: by identifier, or by position.

A pair belongs to the part of B that its galaxy of B lies in, so that parts of B are matched each
for itself, beside those of A that may hold counterparts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.comparison.catalogue import Catalogue, Degrees
from galaxymill.comparison.nearby import nearby_parts, nearest
from galaxymill.comparison.workers import Workers
from galaxymill.errors import UserError
from galaxymill.progress import progress

if TYPE_CHECKING:
    from dask.delayed import Delayed

OBJECT_ID = "object_id"
MAX_RADIUS_ARCSEC = 60.0
_MAX_WORDS = 64

Rows = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """Galaxies of one part of B and their counterparts; each galaxy is in one pair at most.

    Attributes
    ----------
    rows : mapping of int to (rows of A, rows of B)
        By the part of A.
    doubles : int
        Galaxies of A left out since another one is nearer to their counterpart in B.
    separation_arcsec : ndarray of float64, shape (pairs,), or None
        Of positions.
    """

    rows: Mapping[int, tuple[Rows, Rows]]
    doubles: int = 0
    separation_arcsec: Degrees | None = None


@dataclass
class Match:
    """All pairs.

    Attributes
    ----------
    how : str
        In words.
    galaxies : tuple of int
        Rows in A and in B.
    pairs : list of (part of B, parts of A, task of Pairs)
        Where there are any.
    matched, doubles : int
    median_separation_arcsec : float or None
    """

    how: str
    galaxies: tuple[int, int]
    pairs: "list[tuple[int, Sequence[int], Delayed]]" = field(default_factory=list)
    matched: int = 0
    doubles: int = 0
    median_separation_arcsec: float | None = None


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


def match_ids(a: Catalogue, b: Catalogue, workers: Workers, name: str = OBJECT_ID) -> Match:
    """Match by identifier, wherever on the sky both lie.

    Parameters
    ----------
    a, b : Catalogue
    workers : Workers
    name : str
        A column of both; ``object_id`` is what each layout calls so.

    Raises
    ------
    UserError
        When an identifier is given twice, or none is in both.
    """
    from dask import delayed

    columns = [c.layout.object_id if name == OBJECT_ID else name for c in (a, b)]
    (ids_a, hashes_a), (ids_b, hashes_b) = (
        _checked_ids(catalogue, column, workers)
        for catalogue, column in zip((a, b), columns, strict=True)
    )
    match = Match(
        columns[0] if columns[0] == columns[1] else " = ".join(columns),
        (sum(map(len, hashes_a)), sum(map(len, hashes_b))),
    )
    match.how = f"by {match.how}"
    tasks = [
        (part, others, delayed(_same)([ids_a[other] for other in others], others, ids_b[part]))
        for part, others in enumerate(_sharing(hashes_a, hashes_b))
        if others
    ]
    del hashes_a, hashes_b
    _match(tasks, match, workers)
    if not match.matched:
        told = []
        for catalogue, column, ids in ((a, columns[0], ids_a), (b, columns[1], ids_b)):
            some = next((part[0].as_py() for part in workers.gather(ids[:1]) if len(part)), None)
            example = f"{column} (e.g. {some!r})" if some else "no galaxy"
            told.append(f"{catalogue.path}: {example}")
        raise UserError(
            f"no galaxy is in both: {' and '.join(told)} have no value in common; name a column "
            "of both with --on, or match positions with --sky 1arcsec"
        )
    return match


def match_positions(a: Catalogue, b: Catalogue, workers: Workers, radius_arcsec: float) -> Match:
    """Match each galaxy of A with the nearest of B, and of those with one counterpart the nearest.

    Parameters
    ----------
    a, b : Catalogue
        Identifiers, where there are any, are checked too.
    workers : Workers
    radius_arcsec : float
        Above 0 and at most ``MAX_RADIUS_ARCSEC``.

    Raises
    ------
    UserError
        When a position is out of range, an identifier given twice, or no pair so near.
    """
    from dask import delayed

    for catalogue in (a, b):
        if catalogue.layout.object_id in catalogue.columns:
            _checked_ids(catalogue, catalogue.layout.object_id, workers)
    places_a, places_b = (workers.keep(catalogue.positions()) for catalogue in (a, b))
    counts = [
        sum(workers.gather([delayed(_count)(place) for place in places]))
        for places in (places_a, places_b)
    ]
    match = Match(f"within {radius_arcsec:g} arcsec", (counts[0], counts[1]))
    tasks = []
    sides = zip(nearby_parts(b.parts, a.parts), nearby_parts(b.parts, b.parts), strict=True)
    for part, (others, own) in enumerate(sides):
        near_a = [places_a[number] for number in others]
        around = [places_b[number] for number in own if number != part]
        task = delayed(_near)(near_a, others, places_b[part], around, radius_arcsec)
        tasks.append((part, others, task))
    _match(tasks, match, workers)
    if not match.matched:
        raise UserError(
            f"{a.path} and {b.path}: no two galaxies within {radius_arcsec:g} arcsec; check that "
            "both are positions in ICRS degrees, or widen --sky"
        )
    return match


def _match(
    tasks: "Sequence[tuple[int, Sequence[int], Delayed]]", match: Match, workers: Workers
) -> None:
    """Compute the pairs; they stay with the workers, and what is told of them goes to ``match``."""
    from dask import delayed

    kept = workers.keep([task for _, _, task in tasks])
    separations = []
    with progress("match", len(kept), "tiles") as advance:
        for number, told in workers.results([delayed(_summary)(pairs) for pairs in kept]):
            others, matched, doubles, separation = told
            match.matched += matched
            match.doubles += doubles
            if matched:
                match.pairs.append((tasks[number][0], others, kept[number]))
            if separation is not None:
                separations.append(separation)
            advance()
    match.pairs.sort(key=lambda pair: pair[0])
    if separations and match.matched:
        match.median_separation_arcsec = float(np.median(np.concatenate(separations)))


def _summary(pairs: Pairs) -> tuple[list[int], int, int, Degrees | None]:
    matched = sum(len(rows) for rows, _ in pairs.rows.values())
    return list(pairs.rows), matched, pairs.doubles, pairs.separation_arcsec


def _count(place: tuple[Degrees, Degrees]) -> int:
    return len(place[0])


def _same(ids_a: Sequence[pa.Array], parts_a: Sequence[int], ids_b: pa.Array) -> Pairs:
    """Pair galaxies of the same identifier."""
    found = pc.index_in(ids_b, value_set=pa.chunked_array(ids_a, pa.large_string()))
    rows_b = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    places = found.drop_null().to_numpy().astype(np.int64)
    return Pairs(_by_part(places, rows_b, [len(ids) for ids in ids_a], parts_a))


def _near(
    places_a: Sequence[tuple[Degrees, Degrees]],
    parts_a: Sequence[int],
    own: tuple[Degrees, Degrees],
    around: Sequence[tuple[Degrees, Degrees]],
    radius_arcsec: float,
) -> Pairs:
    """Pair galaxies of A with those of B that are in a part, not in those around it."""
    places, rows_b, separation = nearest(places_a, own, around, radius_arcsec)
    # The nearest first, so that it is the one that is kept.
    order = np.lexsort((places, separation))
    kept = order[np.unique(rows_b[order], return_index=True)[1]]
    counts = [len(ra) for ra, _ in places_a]
    rows = _by_part(places[kept], rows_b[kept], counts, parts_a)
    return Pairs(rows, len(places) - len(kept), separation[kept])


def _by_part(
    places: Rows, rows_b: Rows, counts: Sequence[int], parts: Sequence[int]
) -> dict[int, tuple[Rows, Rows]]:
    """Sort pairs by the part of A; ``places`` count through all of them."""
    ends = np.cumsum(counts)
    owner = np.searchsorted(ends, places, side="right")
    order = np.argsort(owner, kind="stable")
    found, starts = np.unique(owner[order], return_index=True)
    return {
        parts[number]: (places[own] - (ends[number] - counts[number]), rows_b[own])
        # Of no pairs there is one group that is empty.
        for number, own in zip(found.tolist(), np.split(order, starts[1:]), strict=False)
    }


def _checked_ids(
    catalogue: Catalogue, column: str, workers: Workers
) -> "tuple[list[Delayed], list[npt.NDArray[np.uint64]]]":
    """Read identifiers, which stay with the workers, and 8 bytes of each that come here."""
    from dask import delayed

    ids = workers.keep(catalogue.ids(column))
    hashes = workers.gather([delayed(_hashes)(part, len(ids) == 1) for part in ids])
    if len(ids) > 1:
        _refuse_twice(catalogue, column, ids, hashes, workers)
    return ids, hashes


def _hashes(ids: pa.Array, alone: bool) -> npt.NDArray[np.uint64]:
    from pandas.util import hash_array

    if alone:  # nobody looks for the part
        return np.zeros(len(ids), np.uint64)
    return hash_array(ids.to_numpy(zero_copy_only=False), categorize=False)


def _refuse_twice(
    catalogue: Catalogue,
    column: str,
    ids: "Sequence[Delayed]",
    hashes: Sequence[npt.NDArray[np.uint64]],
    workers: Workers,
) -> None:
    """Refuse identifiers that two parts have; within a part they are checked as it is read."""
    every = np.sort(np.concatenate(hashes))
    twice = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(twice):
        return
    parts = [part for part, some in enumerate(hashes) if np.isin(some, twice).any()]
    seen: dict[Any, int] = {}
    for part, texts in zip(parts, workers.gather([ids[part] for part in parts]), strict=True):
        for text in texts.filter(np.isin(hashes[part], twice)).to_pylist():
            if text in seen:
                first, other = (catalogue.parts[number].place.name for number in (seen[text], part))
                raise UserError(
                    f"{catalogue.path}: {column} {text!r} is given twice, in {first} and {other}; "
                    "keep one row per galaxy"
                )
            seen[text] = part


def _sharing(
    a: Sequence[npt.NDArray[np.uint64]], b: Sequence[npt.NDArray[np.uint64]]
) -> list[list[int]]:
    """Tell for each part of B which parts of A have identifiers of the same hash."""
    if len(a) == 1 or len(b) == 1:
        return [list(range(len(a)))] * len(b)
    every = np.concatenate(a)
    order = np.argsort(every)
    every = every[order]
    owner = np.repeat(np.arange(len(a), dtype=np.int32), [len(some) for some in a])[order]
    del order
    found = []
    for some in b:
        wanted = np.sort(some)
        place = np.searchsorted(every, wanted)
        place = place[place < len(every)]
        same = every[place] == wanted[: len(place)]
        found.append(np.unique(owner[place[same]]).tolist())
    return found

"""Match the galaxies of two catalogues by identifier or by position.

A pair belongs to the part of B that its galaxy of B lies in, so that each part of B is matched on
its own, with those of A that may hold counterparts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.comparison.catalogue import Catalogue, Degrees
from galaxymill.comparison.nearby import Place, Rows, nearby_parts, nearest
from galaxymill.comparison.workers import Workers
from galaxymill.errors import UserError
from galaxymill.progress import progress

if TYPE_CHECKING:
    from dask.delayed import Delayed

OBJECT_ID = "object_id"
MAX_RADIUS_ARCSEC = 60.0
_MAX_WORDS = 64


class Pairs(NamedTuple):
    """Galaxies of one part of B and their counterparts; each galaxy is in one pair at most.

    Attributes
    ----------
    rows
        Rows of A and of B, by the part of A.
    doubles
        Galaxies of A left out since another one is nearer to their counterpart in B.
    separation_arcsec
        One a pair; None where identifiers were matched.
    """

    rows: Mapping[int, tuple[Rows, Rows]]
    doubles: int = 0
    separation_arcsec: Degrees | None = None


@dataclass
class Match:
    """All pairs, and how they were found, in words.

    Attributes
    ----------
    galaxies
        Rows in A and in B.
    pairs
        Parts of B that have any, each with its parts of A and a task that gives its `Pairs`.
    """

    how: str
    galaxies: tuple[int, int]
    pairs: "list[tuple[int, Sequence[int], Delayed]]" = field(default_factory=list)
    matched: int = 0
    doubles: int = 0
    median_separation_arcsec: float | None = None


def parse_radius(text: str) -> float:
    """Read a radius such as ``1arcsec``, in arcsec, by astropy's ``Quantity``.

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
    name : str
        A column of both; ``object_id`` stands for the identifier of each layout.

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
    galaxies = (sum(map(len, hashes_a)), sum(map(len, hashes_b)))
    tasks = {
        part: delayed(_same)({other: ids_a[other] for other in others}, ids_b[part])
        for part, others in enumerate(_sharing(hashes_a, hashes_b))
        if others
    }
    del hashes_a, hashes_b
    match = _match(f"by {' = '.join(dict.fromkeys(columns))}", galaxies, tasks, workers)
    if not match.matched:
        sides = []
        for catalogue, column, ids in ((a, columns[0], ids_a), (b, columns[1], ids_b)):
            some = next((part[0].as_py() for part in workers.gather(ids[:1]) if len(part)), None)
            example = f"{column} (e.g. {some!r})" if some else "no galaxy"
            sides.append(f"{catalogue.path}: {example}")
        raise UserError(
            f"no galaxy is in both: {' and '.join(sides)} have no value in common; name a column "
            "of both with --on, or match positions with --sky 1arcsec"
        )
    return match


def match_positions(a: Catalogue, b: Catalogue, workers: Workers, radius_arcsec: float) -> Match:
    """Match each galaxy of A with the nearest of B within a radius; of those with one counterpart
    the nearest is kept.

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
    count_a, count_b = (
        sum(workers.gather([delayed(len)(place[0]) for place in places]))
        for places in (places_a, places_b)
    )
    tasks = {}
    sides = zip(nearby_parts(b.parts, a.parts), nearby_parts(b.parts, b.parts), strict=True)
    for part, (others, own) in enumerate(sides):
        near_a = {other: places_a[other] for other in others}
        around = [places_b[other] for other in own if other != part]
        tasks[part] = delayed(_near)(near_a, places_b[part], around, radius_arcsec)
    match = _match(f"within {radius_arcsec:g} arcsec", (count_a, count_b), tasks, workers)
    if not match.matched:
        raise UserError(
            f"{a.path} and {b.path}: no two galaxies within {radius_arcsec:g} arcsec; check that "
            "both are positions in ICRS degrees, or widen --sky"
        )
    return match


def _match(
    how: str, galaxies: tuple[int, int], tasks: "Mapping[int, Delayed]", workers: Workers
) -> Match:
    """Compute the pairs of some parts of B; they stay with the workers."""
    from dask import delayed

    match = Match(how, galaxies)
    parts, kept = list(tasks), workers.keep(list(tasks.values()))
    separations = []
    with progress("match", len(kept), "tiles") as advance:
        for place, summary in workers.results([delayed(_summary)(pairs) for pairs in kept]):
            others, matched, doubles, separation = summary
            match.matched += matched
            match.doubles += doubles
            if matched:
                match.pairs.append((parts[place], others, kept[place]))
            if separation is not None:
                separations.append(separation)
            advance()
    match.pairs.sort(key=lambda pair: pair[0])
    if separations and match.matched:
        match.median_separation_arcsec = float(np.median(np.concatenate(separations)))
    return match


def _summary(pairs: Pairs) -> tuple[list[int], int, int, Degrees | None]:
    matched = sum(len(rows) for rows, _ in pairs.rows.values())
    return list(pairs.rows), matched, pairs.doubles, pairs.separation_arcsec


def _same(ids_a: Mapping[int, pa.Array], ids_b: pa.Array) -> Pairs:
    """Pair galaxies of the same identifier."""
    found = pc.index_in(ids_b, value_set=pa.chunked_array(ids_a.values(), pa.large_string()))
    rows_b = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    rows_a = found.drop_null().to_numpy().astype(np.int64)
    return Pairs(_by_part(rows_a, rows_b, {part: len(ids) for part, ids in ids_a.items()}))


def _near(
    places_a: Mapping[int, Place], own: Place, around: Sequence[Place], radius_arcsec: float
) -> Pairs:
    """Pair galaxies of A with those of B that are in a part, not in those around it."""
    rows_a, rows_b, separation = nearest([*places_a.values()], own, around, radius_arcsec)
    # The nearest first, so that it is the one that is kept.
    order = np.lexsort((rows_a, separation))
    kept = order[np.unique(rows_b[order], return_index=True)[1]]
    counts = {part: len(ra) for part, (ra, _) in places_a.items()}
    rows = _by_part(rows_a[kept], rows_b[kept], counts)
    return Pairs(rows, len(rows_a) - len(kept), separation[kept])


def _by_part(rows_a: Rows, rows_b: Rows, counts: Mapping[int, int]) -> dict[int, tuple[Rows, Rows]]:
    """Sort pairs by the part of A; ``rows_a`` count through all of them."""
    found, start = {}, 0
    for part, count in counts.items():
        own = (start <= rows_a) & (rows_a < start + count)
        if own.any():
            found[part] = (rows_a[own] - start, rows_b[own])
        start += count
    return found


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
    seen: dict[str, int] = {}
    for part, some in enumerate(hashes):
        suspect = np.isin(some, twice)
        if not suspect.any():
            continue
        (texts,) = workers.gather([ids[part]])
        for text in texts.filter(suspect).to_pylist():
            if seen.setdefault(text, part) != part:
                first, other = (catalogue.parts[place].place.name for place in (seen[text], part))
                raise UserError(
                    f"{catalogue.path}: {column} {text!r} is given twice, in {first} and {other}; "
                    "keep one row per galaxy"
                )


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

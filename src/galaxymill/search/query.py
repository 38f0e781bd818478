"""What is looked for: the features of galaxies by name or position."""

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.search.folders import Folders
from galaxymill.search.scan import find_galaxies, read_features
from galaxymill.sky.angles import separation_arcsec, unit_vectors
from galaxymill.storage.parquet import open_parquet, read_columns
from galaxymill.tables import read_table

REACH_ARCSEC = 5.0
"""How far from a position its galaxy may be."""
_NEAREST_NAMES = 3

logger = logging.getLogger("galaxymill")


def names_in(table: Path) -> list[str]:
    """Names of galaxies in a user's table, column object_id."""
    names: list[str] = read_table(table, ["object_id"], ["object_id"])["object_id"].to_pylist()
    if not names:
        raise UserError(f"{table}: holds no galaxies to look for")
    return names


def galaxy_features(folders: Folders, names: Sequence[str]) -> npt.NDArray[np.float16]:
    """Read the features of galaxies, each counted once, shape (m, components).

    Raises UserError when there is no such galaxy, naming the nearest, or it has no features.
    """
    once = list(dict.fromkeys(names))
    places = find_galaxies(folders.files, once)
    vectors = []
    for name in once:
        if name not in places:
            raise _unknown(folders, name)
        path, row = places[name]
        rows, features = read_features(path)
        place = int(np.searchsorted(rows, row))
        if place == len(rows) or rows[place] != row:
            bits = read_columns(path, ["flags"])["flags"][row].as_py()
            why = ", ".join(flags.names(bits)) or "its embedding was not kept"
            raise UserError(f"{name}: has no features ({why})")
        vectors.append(features[place])
    return np.stack(vectors)


def name_at(folders: Folders, ra: float, dec: float) -> str:
    """Name of the galaxy nearest to a position, in degrees.

    Raises UserError when it is further than `REACH_ARCSEC`, or there are no positions.
    """
    wanted = unit_vectors(ra, dec)
    best: tuple[float, Path, int] | None = None
    for features in folders.files:
        path = folders.tiles / features.name
        with open_parquet(path, ["ra", "dec"]) as file:
            tile = file.read(["ra", "dec"])
        if not tile.num_rows or tile["ra"].null_count:
            continue
        points = unit_vectors(tile["ra"].to_numpy(), tile["dec"].to_numpy())
        chords = np.linalg.norm(points - wanted, axis=1)
        row = int(chords.argmin())
        if best is None or chords[row] < best[0]:
            best = (float(chords[row]), path, row)
    if best is None:
        raise UserError(f"--position: the galaxies of {folders.tiles} have no positions")
    _, path, row = best
    found = read_columns(path, ["object_id", "ra", "dec"]).slice(row, 1).to_pylist()[0]
    apart = separation_arcsec(ra, dec, found["ra"], found["dec"])
    if apart > REACH_ARCSEC:
        raise UserError(
            f"--position {ra:g} {dec:g}: no galaxy within {REACH_ARCSEC:g} arcsec; the nearest is "
            f"{found['object_id']}, {apart:.1f} arcsec away"
        )
    logger.info("search: %s, %.2f arcsec from the position", found["object_id"], apart)
    name: str = found["object_id"]
    return name


def _unknown(folders: Folders, name: str) -> UserError:
    likely: list[str] = []
    for path in folders.files:
        with open_parquet(path, ["object_id"]) as file:
            ids = file.read(["object_id"])["object_id"].to_pylist()
        begins = _shared_letters(ids, name)
        likely += [ids[row] for row in np.argsort(-begins, kind="stable")[:_NEAREST_NAMES]]
    near = get_close_matches(name, likely, _NEAREST_NAMES, 0)
    return UserError(
        f"--to {name}: no such galaxy in {folders.features}"
        + (f"; nearest: {', '.join(near)}" if near else "")
    )


def _shared_letters(ids: Sequence[str], name: str) -> npt.NDArray[np.intp]:
    """Count the letters that each identifier begins with as ``name`` does: quick, for millions."""
    letters = np.array([*ids, name], f"U{len(name)}").view(np.uint32).reshape(len(ids) + 1, -1)
    return np.asarray((letters[:-1] == letters[-1]).cumprod(axis=1).sum(axis=1), np.intp)

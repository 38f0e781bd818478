"""Write the table that the service ``tiles`` needs, from the headers of a folder's tiles."""

import logging
import os
import re
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxymill.decoding.decode import PayloadError
from galaxymill.errors import UserError
from galaxymill.progress import progress
from galaxymill.reasons import some
from galaxymill.sky.angles import unit_vectors
from galaxymill.storage.atomic import atomic_file
from galaxymill.surveys.mosaics.mosaic import Mosaic
from galaxymill.surveys.mosaics.tile_image import TileImage

_PLACEHOLDERS = ("{tile}", "{band}")
_AT_ONCE = 16
_SCHEMA = pa.schema(
    [("tile", pa.string()), ("band", pa.string()), ("path", pa.string()), ("hdu", pa.int64())]
    + [(name, pa.float64()) for name in ("ra", "dec", "radius")]
)

logger = logging.getLogger("galaxymill")


def index_tiles(folder: Path, out: Path, pattern: str, hdu: str = "", skip: bool = False) -> None:
    """Read the headers of a folder's tiles and write the table of them, one row per tile and band.

    Parameters
    ----------
    folder, out : Path
        Where the tiles lie, at any depth; the table, ``.csv``.
    pattern : str
        Paths below the folder, with ``{tile}`` and ``{band}`` in place of the names; ``*`` and
        ``?`` stand for other letters, ``**`` for any folders. ``{band}`` is as short as can be.
    hdu : str
        Number or EXTNAME of the image; empty for the first of two dimensions.
    skip : bool
        Leave out files that cannot be used, instead of raising UserError.
    """
    from pyarrow import csv

    if out.suffix.lower() != ".csv":
        raise UserError(f"{out}: the table of tiles is written as .csv")
    found = _find_tiles(folder, pattern)
    read = partial(_describe, folder=folder, hdu=hdu)
    rows: list[dict[str, Any]] = []
    bad: list[str] = []
    with (
        ProcessPoolExecutor(min(os.cpu_count() or 1, len(found))) as pool,
        progress("index-tiles", len(found), "files") as advance,
    ):
        for answer in pool.map(read, found, chunksize=_AT_ONCE):
            if isinstance(answer, str):
                bad.append(answer)
                logger.warning("index-tiles: cannot be used: %s", answer)
            else:
                rows.append(answer)
            advance()
    if bad and (not skip or not rows):
        raise UserError(
            f"{folder}: {len(bad)} of {len(found)} tiles cannot be used: {some(bad, '; ')}; mend "
            "them, or leave them out with --skip-broken: galaxies there have no coverage then"
        )
    with atomic_file(out) as temporary:
        csv.write_csv(pa.Table.from_pylist(rows, _SCHEMA), temporary)
    names, bands = ({row[name] for row in rows} for name in ("tile", "band"))
    logger.info("index-tiles: %d tiles in bands %s", len(names), ", ".join(sorted(bands)))


def _find_tiles(folder: Path, pattern: str) -> list[tuple[str, str, str]]:
    """Find the files that match a pattern, as (tile, band, path below the folder), sorted."""
    absent = [word for word in _PLACEHOLDERS if word not in pattern]
    if absent or ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise UserError(
            f"--pattern {pattern!r}: paths below FOLDER with {' and '.join(_PLACEHOLDERS)} in "
            "place of the names, such as '*/{tile}/legacysurvey-{tile}-image-{band}.fits.fz'"
        )
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder (looked in {Path.cwd()})")
    shape = re.compile(_expression(pattern))
    glob = pattern.replace("{tile}", "*").replace("{band}", "*")
    paths = (path.relative_to(folder).as_posix() for path in folder.glob(glob))
    matches = [match for path in paths if (match := shape.fullmatch(path))]
    if not matches:
        raise UserError(f"{folder}: no file matches {pattern!r}")
    found = sorted((match["tile"], match["band"], match.string) for match in matches)
    for first, second in pairwise(found):
        if first[:2] == second[:2]:
            raise UserError(
                f"{folder}: {first[2]} and {second[2]} are both tile {first[0]!r} in band "
                f"{first[1]!r}; give a pattern that matches one of them"
            )
    return found


def _expression(pattern: str) -> str:
    """Turn a pattern into a regular expression; a placeholder that comes again means the same."""
    pieces = []
    seen: set[str] = set()
    words = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    groups = {"{tile}": "(?P<tile>[^/]+)", "{band}": "(?P<band>[^/]+?)"}
    for piece in re.split(r"(\*\*/|\*|\?|\{tile\}|\{band\})", pattern):
        if piece in groups:
            pieces.append(f"(?P={piece[1:-1]})" if piece in seen else groups[piece])
            seen.add(piece)
        else:
            pieces.append(words.get(piece, re.escape(piece)))
    return "".join(pieces)


def _describe(found: tuple[str, str, str], folder: Path, hdu: str) -> dict[str, Any] | str:
    """Make one row of the table from a header; text when the file cannot be used."""
    tile, band, path = found
    try:
        with TileImage(folder / path, hdu, path) as image:
            row = {"tile": tile, "band": band, "path": path, "hdu": image.index}
            return row | _circle(image.mosaic())
    except PayloadError as error:
        return str(error)


def _circle(mosaic: Mosaic) -> dict[str, float]:
    """Centre and radius, in degrees, of a circle that is a pixel wider than the tile."""
    height, width = mosaic.data.shape
    right, top = width - 0.5, height - 0.5
    x = np.array([(width - 1) / 2, -0.5, -0.5, right, right, -0.5, right, width / 2, width / 2])
    y = np.array([(height - 1) / 2, -0.5, top, -0.5, top, height / 2, height / 2, -0.5, top])
    ra, dec = mosaic.wcs.all_pix2world(x, y, 0)
    if not np.isfinite([ra, dec]).all():
        raise PayloadError(f"{mosaic.data.name}: its corners are not on the sky")
    vectors = unit_vectors(ra, dec)
    chord = np.linalg.norm(vectors[1:] - vectors[0], axis=1).max()
    radius = np.degrees(2 * np.arcsin(min(chord / 2, 1.0))) + mosaic.pixel_scale / 3600
    place = {"ra": round(float(ra[0]) % 360, 7), "dec": round(float(dec[0]), 7)}
    return place | {"radius": round(float(radius), 6)}

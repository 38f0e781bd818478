"""``galaxymill rate``: everything put together."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from galaxymill.errors import UserError
from galaxymill.interest.page.desk import Desk
from galaxymill.interest.page.guide import nearest_to, strangest
from galaxymill.interest.page.notebook import Notebook
from galaxymill.interest.page.pictures import Pictures
from galaxymill.interest.page.pool import read_pool
from galaxymill.interest.page.server import RateServer
from galaxymill.interest.process import feature_scale
from galaxymill.interest.ratings import read_ratings
from galaxymill.search.folders import Folders
from galaxymill.search.query import names_in
from galaxymill.spaces.space import read_space

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class RateRequest:
    """What is rated, and where ratings go.

    Attributes
    ----------
    name : str
        Of the interest.
    space : Path
        ``space.yaml``.
    folders : Folders
        Of its products.
    rated : Path
        Folder of the last full pass, a file a partition; it may be absent.
    ratings : sequence of Path
        Tables of ratings; the first is written, too.
    start : sequence of str
        Galaxies to begin with, or none.
    start_from : Path or None
        Or a table of such, as a search writes it.
    """

    name: str
    space: Path
    folders: Folders
    rated: Path
    ratings: Sequence[Path]
    start: Sequence[str] = ()
    start_from: Path | None = None


def open_server(request: RateRequest, port: int = 0) -> RateServer:
    """Read what is needed, and open the server; it serves when its ``serve_forever`` is called.

    Raises
    ------
    UserError
        When features are of another space, a table of ratings is damaged, or a galaxy to begin
        with is not there.
    """
    # Threads that learn, choose and answer would wait for one another's algebra.
    threadpool_limits(1)
    space, digest = read_space(request.space)
    names = list(request.start) or (names_in(request.start_from) if request.start_from else [])
    # What a kill has left of a row is taken away before all ratings are read.
    notebook = Notebook(request.ratings[0])
    there = [path for path in request.ratings if path.is_file() and path.stat().st_size]
    rated, _ = read_ratings(there).mean()
    files = request.folders.files
    pool = read_pool(files, digest, request.name, request.rated, [*names, *rated])
    if not pool.count:
        raise UserError(f"{request.folders.features}: no galaxy has features; there are no images")
    scale = feature_scale(space.deviations)
    numbers = pool.find([*names, *rated])
    absent = [name for name in rated if name not in numbers]
    if absent:
        few = ", ".join(absent[:3])
        logger.warning(
            "rate: %d rated galaxies are not here or have no features: %s", len(absent), few
        )
    lost = [name for name in names if name not in numbers]
    if lost and (request.start or len(lost) == len(names)):
        place = "--start" if request.start else f"--start-from {request.start_from}"
        raise UserError(f"{place}: {lost[0]}: no such galaxy, or it has no features")
    first = [numbers[name] for name in dict.fromkeys(names) if name in numbers]
    start = nearest_to(pool.galaxies, first, scale) if first else strangest(pool.galaxies, scale)
    pictures = Pictures(pool, request.folders)
    desk = Desk(pool, scale, pictures, notebook, request.ratings[1:], start, bool(first))
    return RateServer(desk, request.name, port)

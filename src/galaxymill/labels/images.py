"""Stage ``labels``, for a folder of files: the labelled galaxies' images in one product."""

import logging
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.images.domains import domain
from galaxymill.images.render import image_row
from galaxymill.images.settings import RecipeSettings
from galaxymill.progress import progress
from galaxymill.reasons import Reasons
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import Origin, is_made
from galaxymill.storage.parquet import open_product
from galaxymill.surveys.base import Target
from galaxymill.surveys.services.files import FilesService, FilesSettings, path_hint
from galaxymill.tables import check_ids, read_table

logger = logging.getLogger("galaxymill")


def collect_images(
    sources: Sequence[Path],
    folder: Path,
    out: Path,
    name: str,
    object_id: str,
    settings: RecipeSettings,
) -> None:
    """Gather the images of a labelled folder into one product, as served but for their size.

    Parameters
    ----------
    sources : sequence of Path
        The tables of labels, with a column ``file_loc``.
    folder : Path
        Where relative paths start; nothing outside it is read.
    out : Path
        ``images.parquet``, in the order of ``object_id``.
    name : str
        Name of the labelled set: the images' domain, unless the settings name an ``origin``.
    object_id : str
        Column of the identifier.

    Raises
    ------
    UserError
        When there is no ``file_loc``, a path leads out of the folder, two tables disagree, or
        more than half of the files are missing or no images.
    """
    paths = _paths(sources, folder, object_id)
    files = {key: Path(folder, path) for key, path in paths.items() if path}
    found = {key: sha256_file(file) for key, file in files.items() if file.is_file()}
    absent = {key: path for key, path in paths.items() if key not in found}
    missing = Reasons.of(
        (os.path.join(folder, path), "files are missing") if path else (key, "file_loc are empty")
        for key, path in absent.items()
    )
    _refuse_most(missing, len(paths), name, max(map(path_hint, absent.values()), default=""))
    origin = Origin(
        "labels",
        settings.product_settings(),
        {f"votes_{n}": sha256_file(path) for n, path in enumerate(sources, start=1)}
        | {"files": sha256_json(found)},
        domain(name, "passthrough", settings),
    )
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        lost = Reasons()
        with (
            open_product(out, products.IMAGES, origin) as writer,
            progress(f"images of {name}", len(paths)) as advance,
        ):
            service = FilesService(FilesSettings(folder=str(folder)))
            rows = (_image(service, *item, settings) for item in paths.items())
            while some := list(islice(rows, 64)):
                for row in some:
                    if row["flags"] & flags.unfit_bits(()):
                        lost.add(f"files are unfit: {row['reason']}", row["object_id"])
                writer.write(pa.Table.from_pylist(some, schema=products.IMAGES))
                advance(len(some))
            _refuse_most(lost, len(paths), name)
    logger.info("labels: %d images of %d files", len(paths) - lost.total, len(paths))
    if lost:
        logger.warning("labels: %s", lost.summary(len(paths)))


def _refuse_most(lost: Reasons, files: int, name: str, hint: str = "") -> None:
    """Stop before hours are spent when most of the images are not there."""
    if 2 * lost.total > files:
        raise UserError(f"labels {name}: {lost.summary(files)}{hint}")


def _paths(sources: Sequence[Path], folder: Path, object_id: str) -> dict[str, str]:
    """Path of each galaxy's image as the tables have it, in the order of the identifiers."""
    paths: dict[str, str] = {}
    for source in sources:
        table = read_table(source, [object_id, "file_loc"], [object_id, "file_loc"])
        check_ids(source, table[object_id], object_id)
        for row in table.to_pylist():
            path = row["file_loc"] or ""
            if not Path(folder, path).resolve().is_relative_to(folder.resolve()):
                raise UserError(f"{source}: file_loc {path!r} leads out of {folder}")
            first = paths.setdefault(row[object_id], path)
            if Path(first) != Path(path):
                raise UserError(
                    f"{source}: file_loc of {row[object_id]} is {path}, but {first} in a file "
                    "before; a galaxy has one image"
                )
    return dict(sorted(paths.items()))


def _image(
    service: FilesService, key: str, file_loc: str, settings: RecipeSettings
) -> dict[str, Any]:
    (cutout,) = service.fetch([Target(key, 0.0, 0.0, 0.0, 0, file_loc)])
    plain = {name: getattr(cutout, name) for name in ("status", "reason", "payload")}
    return image_row({"object_id": key, **plain}, "passthrough", settings)

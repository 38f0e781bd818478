"""Stage ``labels``, for a folder of files: the labelled galaxies' images in one product."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.images.recipes import domain
from galaxymill.images.render import image_row
from galaxymill.images.settings import RecipeSettings
from galaxymill.progress import progress
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import Origin, is_made
from galaxymill.storage.parquet import open_product
from galaxymill.surveys.base import MAX_PAYLOAD_BYTES
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
    settings : RecipeSettings
        Size, format and origin.

    Raises
    ------
    UserError
        When there is no ``file_loc``, a path leads out of the folder, or two tables disagree.
    """
    paths = _paths(sources, folder, object_id)
    found = {key: sha256_file(path) for key, path in paths.items() if path.is_file()}
    origin = Origin(
        "labels",
        settings.model_dump(),
        {**_digests(sources), "files": sha256_json(found)},
        domain(name, "passthrough", settings),
    )
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        with (
            open_product(out, products.IMAGES, origin) as writer,
            progress(f"images of {name}", len(paths)) as advance,
        ):
            keys = list(paths)
            for start in range(0, len(keys), 64):
                rows = [_image(key, paths[key], settings) for key in keys[start : start + 64]]
                writer.write(pa.Table.from_pylist(rows, schema=products.IMAGES))
                advance(len(rows))
    logger.info("labels: %d images, %d files are missing", len(paths), len(paths) - len(found))


def _paths(sources: Sequence[Path], folder: Path, object_id: str) -> dict[str, Path]:
    """Path of each galaxy's image, in the order of the identifiers."""
    paths: dict[str, Path] = {}
    for source in sources:
        table = read_table(source, [object_id, "file_loc"], [object_id, "file_loc"])
        check_ids(source, table[object_id], object_id)
        for row in table.to_pylist():
            path = _inside(folder, row["file_loc"], source)
            known = paths.setdefault(row[object_id], path)
            if known != path:
                raise UserError(
                    f"{source}: file_loc of {row[object_id]} is {path}, but {known} in a file "
                    "before; a galaxy has one image"
                )
    return dict(sorted(paths.items()))


def _digests(sources: Sequence[Path]) -> dict[str, str]:
    return {f"votes_{n}": sha256_file(path) for n, path in enumerate(sources, start=1)}


def _inside(folder: Path, file_loc: str, source: Path) -> Path:
    path = Path(folder, file_loc or ".")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{source}: file_loc {file_loc!r} leads out of {folder}")
    return path


def _image(key: str, path: Path, settings: RecipeSettings) -> dict[str, object]:
    status, payload = "no_coverage", None
    if path.is_file() and path.stat().st_size <= MAX_PAYLOAD_BYTES:
        status, payload = "ok", path.read_bytes()
    cutout = {"object_id": key, "status": status, "payload": payload}
    return image_row(cutout, "passthrough", settings)

"""Stage ``write_subjects``: the images of a round's subjects and the manifest that names them.

What the manifest's readers make of it: the Lab takes each file name that it finds in any value, by
its last part; panoptes-cli takes each value that is the path of a file from the manifest's folder.
Both keep all columns as the subject's metadata, and volunteers see those whose name does not begin
with ``#``.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from galaxymill.decoding.decode import read_raster
from galaxymill.errors import UserError
from galaxymill.images.export import file_name
from galaxymill.images.pixels import ImageSource
from galaxymill.progress import progress
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.parquet import read_columns

MAX_BYTES = 1_000_000
"""What Zooniverse recommends; its uploaders refuse more than 1024 × 1024."""
FILE = "#image"
HIDDEN = ("object_id", "round", "stratum", "selection_probability")
POSITION = ("ra", "dec")
UNKNOWN = "unknown"
"""In place of an empty value, which panoptes-cli takes for the manifest's own folder."""
_QUALITIES = (95, 90, 80, 70, 50)
_NAME_LENGTH = 80


def write_subjects(
    subjects: Path, images: Sequence[Path], out: Path, keys: Mapping[str, str] = {}
) -> int:
    """Write ``images/*.jpg`` and, last, ``out``, the manifest; give the number of subjects.

    Parameters
    ----------
    subjects : Path
        ``subjects.parquet``; its columns object_id, round, stratum and selection_probability, and
        ra and dec where labels have positions, go to the manifest, in its order, under names that
        volunteers do not see.
    images : sequence of Path
        ``images.csv`` of surveys, or products of folders; see `image_files`.
    out : Path
        ``manifest.csv``; its folder is this product's own, but for receipts of an upload.
    keys : mapping of str to str
        Names under which labels look for object_id, ra and dec, where these are others: each is
        one more column.

    Raises
    ------
    UserError
        When a subject has no image or lacks a value, or is named twice.
    """
    rows = read_columns(subjects, [*HIDDEN, *POSITION]).to_pylist()
    ids = [str(row["object_id"]) for row in rows]
    if len(set(ids)) < len(ids):
        raise UserError(f"{subjects}: names a galaxy twice; choose the subjects again")
    empty = next((name for row in rows for name in HIDDEN if row[name] is None), None)
    if empty:
        raise UserError(f"{subjects}: column {empty} has an empty value; choose the subjects again")
    names = {name: f"images/{_image_name(number, name)}" for number, name in enumerate(ids)}
    source = ImageSource.open(images)
    groups = source.find(ids, unfit=0)
    with exclusive(out), atomic_tree(out.parent, out.name) as folder:
        (folder / "images").mkdir()
        written: set[str] = set()
        with progress("write subjects", len(ids)) as advance:
            for group in groups:
                for name, image in group.read():
                    (folder / names[name]).write_bytes(small_jpeg(image))
                    written.add(name)
                    advance()
        absent = [name for name in ids if name not in written]
        if absent:
            raise UserError(
                f"{subjects}: {len(absent)} of {len(ids)} subjects have no image, such as "
                f"{absent[0]!r}; render them, or choose the subjects of this round again"
            )
        with (folder / out.name).open("w", newline="", encoding="utf-8") as file:
            # All in quotes: readers drop spaces at the beginning of what is not.
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            columns = _columns(rows, keys)
            writer.writerow([FILE, *columns])
            for name, row in zip(ids, rows, strict=True):
                values = (row[column] for column in columns.values())
                writer.writerow([names[name], *(UNKNOWN if one is None else one for one in values)])
    return len(ids)


def _columns(rows: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> dict[str, str]:
    """Columns of the manifest, and what of the subjects stands in each."""
    placed = any(row[name] is not None for row in rows for name in POSITION)
    known = [*HIDDEN, *(POSITION if placed else ())]
    columns = {f"#{name}": name for name in known}
    for name, key in keys.items():
        if key in (FILE, *columns) and columns.get(key) != name:
            raise UserError(f"--key {name}={key}: the manifest has {key} for something else")
        if name in known and key.lstrip("#!/") != name:
            columns[key] = name
    return columns


def small_jpeg(image: bytes) -> bytes:
    """Give an image as a JPEG file below 1 MB: as it is, or coarser, or at last smaller."""
    if image.startswith(b"\xff\xd8\xff") and len(image) < MAX_BYTES:
        return image
    from PIL import Image

    picture = Image.fromarray(read_raster(image)).convert("RGB")
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            if len(file.getvalue()) < MAX_BYTES:
                return file.getvalue()
        half = (max(picture.width // 2, 1), max(picture.height // 2, 1))
        picture = picture.resize(half, Image.Resampling.LANCZOS)


def _image_name(number: int, object_id: str) -> str:
    """Name a file so that every file system and uploader takes it: the number alone is unique."""
    plain = file_name(object_id).encode("ascii", "replace").decode().replace("?", "_")
    return f"{number:06d}-{plain[:_NAME_LENGTH]}.jpg"

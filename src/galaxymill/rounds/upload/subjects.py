"""Stage ``write_subjects``: the images of a round's subjects and the manifest that names them.

What the manifest's readers make of it: the Lab takes each file name that it finds in any value, by
its last part; panoptes-cli takes each value that is the path of a file from the manifest's folder.
Both keep all columns as the subject's metadata, and volunteers see those whose name does not begin
with ``#``.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

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
_QUALITIES = (95, 90, 80, 70, 50)
_NAME_LENGTH = 80


def write_subjects(subjects: Path, images: Sequence[Path], out: Path) -> int:
    """Write ``images/*.jpg`` and, last, ``out``, the manifest; give the number of subjects.

    Parameters
    ----------
    subjects : Path
        ``subjects.parquet``; its columns object_id, round, stratum and selection_probability go
        to the manifest, in its order, under names that volunteers do not see.
    images : sequence of Path
        ``images.csv`` of surveys, or products of folders; see `image_files`.
    out : Path
        ``manifest.csv``; its folder is this product's own, but for receipts of an upload.

    Raises
    ------
    UserError
        When a subject has no image or lacks a value, is named twice, or there is none at all.
    """
    rows = read_columns(subjects, list(HIDDEN)).to_pylist()
    ids = [str(row["object_id"]) for row in rows]
    if len(set(ids)) < len(ids) or not ids:
        what = "names a galaxy twice" if ids else "has no subjects"
        raise UserError(f"{subjects}: {what}; choose the subjects of this round again")
    empty = next((name for row in rows for name in HIDDEN if row[name] is None), None)
    if empty:
        # panoptes-cli takes an empty value for the manifest's own folder.
        raise UserError(f"{subjects}: column {empty} has an empty value; choose the subjects again")
    names = {key: f"images/{_image_name(number, key)}" for number, key in enumerate(ids)}
    source = ImageSource.open(images)
    groups = source.find(ids, unfit=0)
    with exclusive(out), atomic_tree(out.parent, out.name) as folder:
        (folder / "images").mkdir()
        written: set[str] = set()
        with progress("write subjects", len(ids)) as advance:
            for group in groups:
                for key, image in group.read():
                    (folder / names[key]).write_bytes(small_jpeg(image))
                    written.add(key)
                    advance()
        absent = [key for key in ids if key not in written]
        if absent:
            raise UserError(
                f"{subjects}: {len(absent)} of {len(ids)} subjects have no image, such as "
                f"{absent[0]!r}; render them, or choose the subjects of this round again"
            )
        with (folder / out.name).open("w", newline="", encoding="utf-8") as file:
            # All in quotes: readers drop spaces at the beginning of what is not.
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow([FILE, *(f"#{name}" for name in HIDDEN)])
            for key, row in zip(ids, rows, strict=True):
                writer.writerow([names[key], *(row[name] for name in HIDDEN)])
    return len(ids)


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

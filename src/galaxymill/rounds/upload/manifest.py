"""Read a manifest of subjects: what is to be uploaded, checked before anything is asked."""

import csv
from dataclasses import dataclass
from pathlib import Path

from galaxymill.errors import UserError
from galaxymill.rounds.upload import OBJECT_ID

MAX_UPLOAD_BYTES = 1024 * 1024
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Subject:
    """One row: the galaxy's name, its image, and all columns, which the subject will carry."""

    object_id: str
    image: Path
    metadata: dict[str, str]

    def read(self) -> bytes:
        """Give the image's bytes."""
        return self.image.read_bytes()


def read_manifest(path: Path) -> list[Subject]:
    """Read the rows of a manifest whose first column names JPEG files from its folder.

    Raises `UserError` when it is none, a galaxy is in it twice, or an image is absent, too large or
    no JPEG.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            header, *rows = list(reader) or [[]]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; write-subjects makes it") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no manifest ({error})") from error
    if OBJECT_ID not in header[1:] or len(set(header)) < len(header):
        raise UserError(
            f"{path}: its first column names images, another is {OBJECT_ID}; found: "
            f"{', '.join(header) or 'nothing'}"
        )
    subjects: dict[str, Subject] = {}
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} values, not {len(header)}")
        metadata = dict(zip(header, row, strict=True))
        key = metadata[OBJECT_ID]
        if key in subjects:
            raise UserError(f"{path}: row {number}: {OBJECT_ID} {key!r} is there twice")
        subjects[key] = Subject(key, _image(path, number, row[0]), metadata)
    if not subjects:
        raise UserError(f"{path}: has no rows")
    return list(subjects.values())


def _image(manifest: Path, number: int, name: str) -> Path:
    folder = manifest.resolve().parent
    image = (folder / name).resolve()
    what = f"{manifest}: row {number}: image {name!r}"
    if not image.is_relative_to(folder):
        raise UserError(f"{what} lies outside of the manifest's folder")
    if not image.is_file():
        raise UserError(f"{what} is no file")
    if not 0 < image.stat().st_size <= MAX_UPLOAD_BYTES:
        raise UserError(
            f"{what} has {image.stat().st_size} bytes; allowed: 1 to {MAX_UPLOAD_BYTES}"
        )
    with image.open("rb") as file:
        if file.read(len(_JPEG)) != _JPEG:
            raise UserError(f"{what} is no JPEG")
    return image

"""Images out of their products: a folder of files with a table, or WebDataset tars."""

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import domain_of
from galaxymill.images.recipes import settings_of
from galaxymill.progress import progress
from galaxymill.storage.atomic import atomic_file, atomic_tree
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches

_COLUMNS = ["object_id", "image", "flags"]
_PER_FOLDER = 1000


def export_files(products: Sequence[Path], out: Path) -> int:
    """Write every image as a file, and a table of them, as Zoobot and galaxy-datasets read it.

    ``out`` is a new folder: ``catalog.csv`` with the columns id_str, file_loc (from ``out``) and
    flags, one row per image; files lie in ``{partition}/{thousand}/{object_id}.jpg``. Gives the
    number of images; galaxies without one are left out. Raises UserError when ``out`` exists, or
    ``products`` are not of render.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise UserError(f"{out}: is there already; name a new folder, or remove it")
    rows: list[tuple[str, str, int]] = []
    with atomic_tree(out, "catalog.csv") as folder:
        for product, suffix in _suffixes(products):
            for number, row in _images(product):
                name = f"{file_name(row['object_id'])}.{suffix}"
                place = Path(product.stem, f"{number // _PER_FOLDER:04d}", name)
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).write_bytes(row["image"]["bytes"])
                rows.append((row["object_id"], str(place), row["flags"]))
        with (folder / "catalog.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("id_str", "file_loc", "flags"))
            writer.writerows(rows)
    return len(rows)


def export_tars(products: Sequence[Path], out: Path) -> int:
    """Write the images of each partition as a tar that WebDataset reads, ``{partition}.tar``.

    Members are ``{row}.jpg`` and ``{row}.json`` (object_id and flags): keys are numbers of rows,
    since WebDataset would cut an object_id at a dot. Gives the number of images.
    """
    total = 0
    for product, suffix in _suffixes(products):
        with (
            atomic_file(out / f"{product.stem}.tar") as temporary,
            tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for number, row in _images(product):
                note = {"object_id": row["object_id"], "flags": flags.names(row["flags"])}
                _add(tar, f"{number:09d}.{suffix}", row["image"]["bytes"])
                _add(tar, f"{number:09d}.json", json.dumps(note).encode())
                total += 1
    return total


def file_name(object_id: str) -> str:
    """Spell an object_id as a file name: what no file system takes is written as %XX."""
    return "".join(
        char if char.isalnum() or char in "-_.+" else f"%{ord(char):02X}" for char in object_id
    )


def _suffixes(products: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Products with the suffix of their images."""
    stems = [product.stem for product in products]
    for product in products:
        if stems.count(product.stem) > 1:
            raise UserError(f"{product}: another product has the name {product.stem} too")
        yield product, settings_of(domain_of(product)).format.replace("jpeg", "jpg")


def _images(product: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with an image, and their numbers."""
    number = 0
    with progress(f"export {product.stem}", read_record(product).rows) as advance:
        for batch in read_batches(product, _COLUMNS, 64):
            for row in batch.to_pylist():
                if row["image"] is not None:
                    yield number, row
                number += 1
            advance(batch.num_rows)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # No time, no owner: the same images make the same tar.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))

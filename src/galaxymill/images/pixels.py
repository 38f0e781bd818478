"""Rendered images as the arrays that a network takes."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import flags
from galaxymill.catalog.names import part_names
from galaxymill.decoding.decode import MAX_PIXELS
from galaxymill.errors import UserError
from galaxymill.reasons import Reasons
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import open_parquet


def to_pixels(image: bytes, side: int) -> npt.NDArray[np.uint8]:
    """Decode one rendered image and resize it: shape (3, side, side), uint8."""
    return np.ascontiguousarray(central_pixels(image, side, side).transpose(2, 0, 1))


def central_pixels(image: bytes, side: int, size: int) -> npt.NDArray[np.uint8]:
    """Decode one rendered image, resize it to ``side`` and crop its middle.

    Gives shape (size, size, 3), uint8; the rest is never computed.
    """
    from PIL import Image

    with Image.open(io.BytesIO(image), formats=("JPEG", "PNG", "WEBP")) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"{opened.width}×{opened.height} pixels are too many")
        picture = opened.convert("RGB")
    start = (side - size) // 2
    end = start + size
    if picture.size == (side, side):
        return np.asarray(picture.crop((start, start, end, end)))
    across, down = picture.width / side, picture.height / side
    window = (start * across, start * down, end * across, end * down)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, window))


@dataclass(frozen=True)
class RowGroup:
    """Galaxies ``ids`` that stand together in a Parquet row group: what is read at once."""

    path: Path
    number: int
    ids: frozenset[str]

    def read(self) -> list[tuple[str, bytes]]:
        """``object_id`` and image file of each of them that has an image."""
        with open_parquet(self.path, ["object_id", "image"]) as file:
            table = file.read_row_group(self.number, columns=["object_id", "image"])
        wanted = pc.is_in(table["object_id"], pa.array(self.ids, table["object_id"].type))
        rows = table.filter(wanted).to_pylist()
        return [
            (row["object_id"], row["image"]["bytes"])
            for row in rows
            if row["image"] and row["image"]["bytes"]
        ]


@dataclass(frozen=True)
class ImageSource:
    """Images products taken together: those of all partitions of a survey, or of a folder.

    ``digest`` is over the contents of all of them; ``domain`` is the survey and recipe that they
    share; for several, ``any_of`` lists them.
    """

    files: tuple[Path, ...]
    digest: str
    domain: dict[str, Any]

    @classmethod
    def open(cls, sets: Sequence[Path]) -> "ImageSource":
        """Read the footers of the products of some sets, see `image_files`.

        Raises UserError when the files of one set are of different surveys or recipes.
        """
        files: list[Path] = []
        digests: list[str] = []
        domains: list[dict[str, Any]] = []
        for path in sets:
            members = image_files(path)
            records = [read_record(member) for member in members]
            own = [record.origin["domain"] for record in records]
            for member, domain in zip(members, own, strict=True):
                if domain != own[0]:
                    raise UserError(f"{member}: made by {domain}, but {members[0]} by {own[0]}")
            files += members
            digests += [record.digest for record in records]
            domains += [domain for domain in own[:1] if domain not in domains]
        shared = domains[0] if len(domains) == 1 else {"any_of": domains}
        return cls(tuple(files), sha256_json(digests), shared)

    def find(self, wanted: Iterable[str], unfit: int) -> list[RowGroup]:
        """Find where the images of galaxies are; only identifiers and flags are read.

        Groups are in the order of the files; galaxies whose image has a bit of ``unfit``, of
        `galaxymill.flags`, are in none. Raises UserError when a galaxy is in two products.
        """
        keys = set(wanted)
        home: dict[str, Path] = {}
        groups = []
        for path in self.files:
            for number, table in _identities(path):
                rows = zip(table["object_id"].to_pylist(), table["flags"].to_pylist(), strict=True)
                here = {key for key, bits in rows if key in keys and not bits & unfit}
                twice = here & home.keys()
                if twice:
                    key = min(twice)
                    raise UserError(
                        f"{path}: {key!r} is in another images product too: {home[key]}"
                    )
                home |= dict.fromkeys(here, path)
                if here:
                    groups.append(RowGroup(path, number, frozenset(here)))
        return groups

    def lacking(self, wanted: Iterable[str], groups: Iterable[RowGroup], unfit: int) -> str:
        """Name the commonest reasons why some of ``wanted`` are in none of `find`'s ``groups``."""
        keys = set(wanted)
        absent = keys.difference(*(group.ids for group in groups))
        reasons = Reasons()
        for path in self.files if absent else ():
            for key, reason in unfit_rows(path, unfit):
                if key in absent:
                    reasons.add(f"images are {reason}", key)
                    absent.discard(key)
        for key in sorted(absent):
            reasons.add("are in no images product: check that object_id is the same in both", key)
        return reasons.summary(len(keys))


def products_in(path: Path) -> list[Path]:
    """List a product, or the products of a folder; raises UserError when there are none."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.parquet"))
    if not found:
        raise UserError(f"{path}: holds no products (*.parquet)")
    return found


def domain_of(product: Path) -> dict[str, Any]:
    """Read the domain of an images product; raises UserError when it is none."""
    kind: dict[str, Any] = read_record(product).origin.get("domain") or {}
    if "recipe" not in kind:
        raise UserError(f"{product}: holds no images; give products of render")
    return kind


def unfit_rows(path: Path, unfit: int) -> Iterator[tuple[str, str]]:
    """Galaxies of an images product with a flag of ``unfit``: object_id, and flags with the reason.

    Products made before there were reasons have the flags alone.
    """
    with open_parquet(path, ["object_id", "flags"]) as file:
        names = file.schema_arrow.names
        table = file.read([name for name in ("object_id", "flags", "reason") if name in names])
    bits = pc.bit_wise_and(table["flags"], unfit)
    for row in table.set_column(1, "flags", bits).filter(pc.greater(bits, 0)).to_pylist():
        names = ", ".join(flags.names(row["flags"]))
        yield row["object_id"], ": ".join(filter(None, [names, row.get("reason")]))


def _identities(path: Path) -> Iterator[tuple[int, pa.Table]]:
    with open_parquet(path, ["object_id", "flags"]) as file:
        for number in range(file.num_row_groups):
            yield number, file.read_row_group(number, columns=["object_id", "flags"])


def image_files(path: Path) -> list[Path]:
    """List the products of a set of images.

    ``path`` is one product (of a labelled folder), or a survey's ``images.csv``, whose products are
    in the folder ``images`` beside it. Raises UserError when there is no such file.
    """
    if path.suffix != ".csv":
        return [path]
    return [path.parent / "images" / f"{part}.parquet" for part in part_names(path)]

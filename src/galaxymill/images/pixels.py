"""Rendered images as the arrays that a network takes."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches


def to_pixels(image: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Decode one rendered image and bring it to a size.

    Parameters
    ----------
    image : bytes
        From the ``image`` column of an images product.
    size : int
        Width and height of the result.

    Returns
    -------
    ndarray, shape (3, size, size), uint8
    """
    from PIL import Image

    with Image.open(io.BytesIO(image), formats=("JPEG", "PNG", "WEBP")) as opened:
        picture = opened.convert("RGB")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


@dataclass(frozen=True)
class ImageSource:
    """Images products taken together: those of all partitions of a survey, or of a folder.

    Attributes
    ----------
    digest : str
        Over the contents of all of them.
    domain : dict
        The survey and recipe that they share.
    """

    files: tuple[Path, ...]
    digest: str
    domain: dict[str, Any]

    @classmethod
    def open(cls, files: Sequence[Path]) -> "ImageSource":
        """Read the footers of the products.

        Raises
        ------
        UserError
            When they are of different surveys or recipes.
        """
        records = [read_record(path) for path in files]
        domains = [record.origin["domain"] for record in records]
        for path, domain in zip(files, domains, strict=True):
            if domain != domains[0]:
                raise UserError(f"{path}: made by {domain}, but {files[0]} by {domains[0]}")
        return cls(tuple(files), sha256_json([record.digest for record in records]), domains[0])

    def usable(self, wanted: Iterable[str], unfit: int) -> dict[str, bytes]:
        """Find the images of galaxies, without those that are absent or unfit.

        Parameters
        ----------
        wanted : iterable of str
            Values of ``object_id``.
        unfit : int
            Bits of `galaxymill.flags` that an image must not have.

        Returns
        -------
        dict of str to bytes
            Sorted by ``object_id``, so that nothing depends on where a galaxy stood.

        Raises
        ------
        UserError
            When a galaxy is in two products.
        """
        keys = set(wanted)
        found: dict[str, bytes] = {}
        for path in self.files:
            for batch in read_batches(path, ["object_id", "image", "flags"]):
                for row in batch.to_pylist():
                    key = row["object_id"]
                    if key not in keys or row["image"] is None or row["flags"] & unfit:
                        continue
                    if key in found:
                        raise UserError(f"{path}: {key!r} is in another images product too")
                    found[key] = row["image"]["bytes"]
        return dict(sorted(found.items()))

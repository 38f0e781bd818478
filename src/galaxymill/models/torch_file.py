"""Read the tensors of an old torch file without unpickling it."""

import itertools
import pickletools
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from galaxymill.errors import UserError
from galaxymill.storage.digest import sha256_file

Array = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def read_tensors(path: Path, sha256: str) -> dict[str, Array]:
    """Read the flat tensors of a state dict that torch before 1.6 has saved.

    Such a file is five pickles, then the numbers. A pickle is a program, and running one that
    came from elsewhere is not safe; here it is only taken apart into its words
    (`pickletools.genops`), which name each tensor and the place of its numbers.

    Parameters
    ----------
    path : Path
        A file that holds float32 tensors, and int64 ones whose name ends in
        ``num_batches_tracked``.
    sha256 : str
        Of the one file that is meant.

    Returns
    -------
    dict of str to ndarray, shape (size,)
        In the order of the state dict; each one's numbers as they lie in the file, whose strides
        are not read.

    Raises
    ------
    UserError
        When the file is absent or another one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if sha256_file(path) != sha256:
        raise UserError(f"{path}: not the weights that are known (sha256 {sha256}); install again")
    with path.open("rb") as file:
        words = [_words(file) for _ in range(5)]
        places = dict(zip(*_names_and_keys(words[3]), strict=True))
        names = {key: name for name, key in places.items()}
        stored = {key: _numbers(file, names[key]) for key in words[4]}
    return {name: stored[key] for name, key in places.items()}


def _words(file: BinaryIO) -> list[str]:
    """Text constants of the pickle that starts here; the file then stands behind it."""
    return [str(arg) for op, arg, _ in pickletools.genops(file) if op.name == "BINUNICODE"]


def _names_and_keys(words: list[str]) -> tuple[list[str], list[str]]:
    """Names of tensors and keys of their numbers: each name is followed by its key."""
    said = [word for word in words if word not in ("storage", "cpu")]
    pairs = [(name, key) for name, key in itertools.pairwise(said) if key.isdigit()]
    return [name for name, _ in pairs], [key for _, key in pairs]


def _numbers(file: BinaryIO, name: str) -> Array:
    kind = np.dtype("<i8" if name.endswith("num_batches_tracked") else "<f4")
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * kind.itemsize), kind).copy()

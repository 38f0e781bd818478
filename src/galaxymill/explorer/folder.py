"""What lies where in an explorer's folder: scripts that hand data to the page, and nothing else.

A page opened from disk may run scripts beside it, and read no other file. So each file of data is
one call, ``got(name, value)``. Numbers travel as base64, a file for at most ``PIECE`` bytes.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BLOCK = 256
"""Galaxies whose names, positions and thumbnails are in one file, in the order of the slices."""
LIST = 4096
"""Galaxies whose names and positions are in one file, in the order of a map."""
PIECE = 1 << 25
CARD = 1024
"""Galaxies whose codes of all columns are in one file, column after column."""
_FOLDER = 1000
_DIGITS = 7


def write_script(folder: Path, name: str, value: Any) -> None:
    """Write one file of data. Its text is plain ASCII, and ends no script wherever it is put."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    path = folder / "data" / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    script = f"got({json.dumps(name)},{text});\n".replace("<", "\\u003c")
    path.write_text(script, encoding="ascii")


def write_column(folder: Path, number: int, values: npt.NDArray[Any]) -> None:
    """Write the bytes of a column, little-endian; a row, shape (n,) or (n, c), is never cut."""
    rows = piece_rows(values)
    for piece, start in enumerate(range(0, max(len(values), 1), rows)):
        raw = np.ascontiguousarray(values[start : start + rows]).tobytes()
        write_script(folder, f"columns/{number}-{piece}", b64encode(raw).decode())


def piece_rows(values: npt.NDArray[Any]) -> int:
    """Rows of a column that one file holds."""
    return PIECE // (values.dtype.itemsize * int(np.prod(values.shape[1:])))


def write_cards(folder: Path, columns: Sequence[Iterator[npt.NDArray[Any]]]) -> None:
    """Write the codes that the card of a galaxy shows, columns given ``CARD`` rows at a time."""
    for number, some in enumerate(zip(*columns, strict=True)):
        raw = b"".join(codes.tobytes() for codes in some)
        write_script(folder, f"cards/{number}", b64encode(raw).decode())


@dataclass
class Blocks:
    """Writes blocks of galaxies as their slices come.

    Thumbnails of one size begin alike: what all have in common is written once, and a multiple of
    three bytes of it, so that their base64 can be put together.
    """

    folder: Path
    begin: bytes = b""
    _waiting: list[pa.Table] = field(default_factory=list)
    _rows: int = 0
    _written: int = 0

    def add(self, rows: pa.Table) -> None:
        """Take the rows of a slice."""
        self._waiting.append(rows.select(["object_id", "ra", "dec", "thumbnail"]))
        self._rows += rows.num_rows
        self._write(self._rows // BLOCK * BLOCK)

    def finish(self) -> None:
        """Write the last block."""
        self._write(self._rows)

    def _write(self, rows: int) -> None:
        if not rows:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        for start in range(0, rows, BLOCK):
            block = table.slice(start, min(BLOCK, rows - start))
            jpegs = block["thumbnail"].to_pylist()
            self.begin = self.begin or common_beginning([one for one in jpegs if one])
            pictures = [one and self._picture(one) for one in jpegs]
            name = f"blocks/{self._written // _FOLDER}/{self._written}"
            write_script(self.folder, name, {**_named(block), "pictures": pictures})
            self._written += 1
        self._waiting, self._rows = [table.slice(rows)], self._rows - rows

    def _picture(self, jpeg: bytes) -> str:
        if jpeg.startswith(self.begin):
            return b64encode(jpeg[len(self.begin) :]).decode()
        # Kept whole; the colon says so.
        return ":" + b64encode(jpeg).decode()


def common_beginning(pictures: Sequence[bytes]) -> bytes:
    """What all JPEGs begin with, cut to a multiple of three bytes."""
    if not pictures:
        return b""
    first, last = min(pictures), max(pictures)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[: same // 3 * 3]


def write_lists(
    folder: Path,
    view: int,
    keys: npt.NDArray[np.uint32],
    ids: pa.Array,
    positions: Sequence[npt.NDArray[np.float64]],
) -> dict[str, list[int]]:
    """Write names and positions in the order of a map, so that neighbours share a file.

    Returns
    -------
    dict
        ``keys`` and ``rows`` of the first galaxy of each file: who stands where follows from them.
    """
    order = np.argsort(keys, kind="stable")
    starts = range(0, len(order), LIST)
    for number, start in enumerate(starts):
        rows = order[start : start + LIST]
        named = [ids.take(pa.array(rows)), *(pa.array(axis[rows]) for axis in positions)]
        value = {"rows": rows.tolist(), **_named(pa.table(named, ["object_id", "ra", "dec"]))}
        write_script(folder, f"lists/{view}/{number}", value)
    first = order[::LIST] if len(order) else order
    return {"keys": keys[first].tolist(), "rows": first.tolist()}


def _named(rows: pa.Table) -> dict[str, Any]:
    places = {axis: rows[axis].to_pylist() for axis in ("ra", "dec")}
    rounded = {
        axis: [None if one is None or one != one else round(one, _DIGITS) for one in values]
        for axis, values in places.items()
    }
    return {"ids": rows["object_id"].to_pylist(), **rounded}


class RawColumns:
    """Collects columns, slice by slice, in a file each, so that none need be in memory whole."""

    def __init__(self, folder: Path, kinds: dict[str, np.dtype[Any]]) -> None:
        folder.mkdir()
        self._paths = {name: folder / str(n) for n, name in enumerate(kinds)}
        self._kinds = kinds
        self._files: dict[str, BinaryIO] = {n: p.open("wb") for n, p in self._paths.items()}

    def add(self, name: str, values: npt.NDArray[Any]) -> None:
        """Append a slice's values."""
        self._files[name].write(np.ascontiguousarray(values, self._kinds[name].base).tobytes())

    def close(self) -> None:
        """End the files: what was added can be read then."""
        for file in self._files.values():
            file.close()

    def read(self, name: str) -> npt.NDArray[Any]:
        """All values of a column, mapped from its file."""
        path, kind = self._paths[name], self._kinds[name]
        return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)

    def rows(self, name: str) -> int:
        """Rows of a column."""
        return self._paths[name].stat().st_size // self._kinds[name].itemsize

    def width(self, name: str) -> int:
        """Numbers of a galaxy in a column of several."""
        return int(np.prod(self._kinds[name].shape))

    def pieces(self, name: str, rows: int) -> Iterator[npt.NDArray[Any]]:
        """Values of a column, so many rows at a time."""
        with self._paths[name].open("rb") as file:
            while len(piece := np.fromfile(file, self._kinds[name], rows)):
                yield piece

    def replace(self, name: str, values: npt.NDArray[Any]) -> None:
        """Put a column's codes in the place of its values."""
        path = self._paths[name]
        values.tofile(path.with_suffix(".codes"))
        path.with_suffix(".codes").replace(path)
        self._kinds[name] = values.dtype

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

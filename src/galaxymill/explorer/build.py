"""Stage ``explorer``: join the slices of a release into a folder that opens from disk."""

import json
import logging
import shutil
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.catalog.partition import read_partitions
from galaxymill.errors import UserError
from galaxymill.explorer import coding
from galaxymill.explorer.about import about, questions
from galaxymill.explorer.folder import (
    BLOCK,
    CARD,
    LIST,
    Blocks,
    RawColumns,
    piece_rows,
    write_cards,
    write_column,
    write_lists,
    write_script,
)
from galaxymill.explorer.page.files import write_page
from galaxymill.explorer.settings import ExplorerSettings
from galaxymill.explorer.slices import slice_parameters
from galaxymill.flags import FLAGS
from galaxymill.progress import progress
from galaxymill.release.provenance import RELEASE
from galaxymill.spaces.space import as_matrix
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Record, read_record
from galaxymill.storage.parquet import open_parquet

logger = logging.getLogger("galaxymill")

_POSITIONS = ("ra", "dec")
_NOT_ON_CARDS = ("place", "alike")
_ROWS = 1 << 16
_MANY = 2_000_000
"""Above so many galaxies, half as many components say who is alike: a browser's memory ends."""


@dataclass(frozen=True)
class BuildRequest:
    """What is joined.

    Attributes
    ----------
    release : Path
        ``SHA256SUMS`` of the release that is shown.
    partitions : Path
        ``partitions.csv``.
    slices : Path
        Folder with a slice a partition.
    models, metrics : tuple of Path
        Of the release's predictions.
    out : Path
        ``index.html``, written last; the explorer is its folder.
    """

    release: Path
    partitions: Path
    slices: Path
    models: tuple[Path, ...]
    metrics: tuple[Path, ...]
    out: Path
    settings: ExplorerSettings


def build_explorer(request: BuildRequest) -> None:
    """Join the slices, in the order of ``partitions.csv``.

    Raises
    ------
    UserError
        When the slices are not of the release's products and settings, or one is absent.
    """
    release = _read_release(request.release)
    parts = [one.part for one in read_partitions(request.partitions)]
    files = [request.slices / f"{part}.parquet" for part in parts]
    records = [read_record(path, "explore") for path in files]
    _check(request, release, dict(zip(parts, zip(files, records, strict=True), strict=True)))
    with exclusive(request.out), atomic_tree(request.out.parent, request.out.name) as folder:
        join = Join(folder, files)
        try:
            meta = join.write(sum(record.rows for record in records))
        finally:
            shutil.rmtree(folder / "raw", ignore_errors=True)
        meta |= about(release, request.models, request.metrics, request.settings)
        meta["questions"] = questions(request.models, [one["name"] for one in meta["columns"]])
        meta["digests"] = {
            "release": release["tables"]["advanced"],
            "slices": sha256_json([record.digest for record in records]),
        }
        write_script(folder, "explorer", meta)
        write_page(folder)
    logger.info("explorer: %d galaxies, %d columns", meta["galaxies"], len(meta["columns"]))


def _read_release(sums: Path) -> dict[str, Any]:
    path = sums.parent / RELEASE
    if not sums.is_file():
        raise UserError(f"{sums}: no such file; make the release first")
    try:
        plain: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        for key in ("origin", "partitions", "tables", "name"):
            plain[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not of a release of galaxymill ({error!r})") from error
    return plain


def _check(
    request: BuildRequest, release: dict[str, Any], slices: dict[str, tuple[Path, Record]]
) -> None:
    """Refuse slices of other products, or of other selections, than the release's."""
    released = {str(one["part"]): one for one in release["partitions"]}
    if released.keys() != slices.keys():
        raise UserError(
            f"{request.release.parent}: a release of {len(released)} partitions, but "
            f"{request.partitions} has {len(slices)}; release again"
        )
    wanted = slice_parameters(request.settings, release["origin"]["parameters"])
    for part, (path, record) in slices.items():
        found = record.origin["inputs"]
        for role, digest in released[part].items():
            if role != "part" and found.get(role) != digest:
                raise UserError(
                    f"{path}: a slice of {role} {found.get(role)}, but the release "
                    f"{request.release.parent} has {digest}; make both of the same products"
                )
        if record.origin["parameters"] != wanted:
            raise UserError(
                f"{path}: made with {record.origin['parameters']}, but asked for, and the "
                f"release's, are {wanted}; run explore again"
            )
    _check_spaces(slices)


def _check_spaces(slices: dict[str, tuple[Path, Record]]) -> None:
    first: dict[str, str] = {}
    for path, record in slices.values():
        for role, digest in record.origin["inputs"].items():
            if role.startswith("space of ") and first.setdefault(role, digest) != digest:
                raise UserError(
                    f"{path}: {role} is {digest}, elsewhere {first[role]}; run project and "
                    "explore again"
                )


class Join:
    """Reads every slice once, and writes columns, blocks and lists."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder, self._files = folder, files
        self._schema = pq.read_schema(files[0])
        shown = [
            one for one in self._schema if one.name not in ("object_id", *_POSITIONS, "thumbnail")
        ]
        self._fields = {one.name: one for one in shown}
        kinds = {one.name: _raw_kind(one.type) for one in shown}
        self._raw = RawColumns(folder / "raw", kinds)
        double = np.dtype("f8")
        self._positions = RawColumns(folder / "raw/positions", dict.fromkeys(_POSITIONS, double))

    def write(self, galaxies: int) -> dict[str, Any]:
        """Write all data; give what the page is told of them."""
        ids, begin = self._read(galaxies)
        shown = [one.removeprefix("x:") for one in self._raw if one.startswith("x:")]
        views = [self._view(number, view, ids) for number, view in enumerate(shown)]
        del ids
        described = [self._column(number, name) for number, name in enumerate(self._raw)]
        on_card = [one["name"] for one in described if one["kind"] not in _NOT_ON_CARDS]
        write_cards(self._folder, [self._raw.pieces(name, CARD) for name in on_card])
        return {
            "galaxies": galaxies,
            "block": BLOCK,
            "list": LIST,
            "card": CARD,
            "grid": coding.GRID,
            "begin": begin,
            "columns": described,
            "views": views,
            "flags": [[one.bit, one.name, one.description] for one in FLAGS],
        }

    def _read(self, galaxies: int) -> tuple[pa.Array, str]:
        """Read the slices; give all identifiers, and how thumbnails begin, in base64."""
        ids: list[pa.Array] = []
        blocks = Blocks(self._folder)
        with progress("explorer", galaxies) as advance:
            for path in self._files:
                with open_parquet(path) as file:
                    if not file.schema_arrow.equals(self._schema):
                        raise UserError(
                            f"{path}: other columns than {self._files[0]}; run explore again"
                        )
                    rows = file.read(use_threads=False).combine_chunks()
                blocks.add(rows)
                ids += rows["object_id"].chunks
                for axis in _POSITIONS:
                    self._positions.add(axis, rows[axis].to_numpy())
                for name in self._raw:
                    self._raw.add(name, _raw_values(rows[name]))
                advance(rows.num_rows)
        self._raw.close()
        blocks.finish()
        self._positions.close()
        return pa.concat_arrays(ids), b64encode(blocks.begin).decode()

    def _column(self, number: int, name: str) -> dict[str, Any]:
        """Write one column; say what it is."""
        own = self._fields[name]
        metadata = {k.decode(): v.decode() for k, v in (own.metadata or {}).items()}
        plain = {"name": name, "about": metadata.get("description", "")}
        plain |= {"unit": metadata["unit"]} if "unit" in metadata else {}
        if name == "directions":
            codes, more = self._directions()
        else:
            codes, more = _code(own, self._raw.read(name))
        write_column(self._folder, number, codes)
        if more["kind"] not in _NOT_ON_CARDS:
            self._raw.replace(name, codes)
        return plain | {"bytes": codes.dtype.itemsize, "rows": piece_rows(codes)} | more

    def _directions(self) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Code directions, which are larger than all else, piece by piece."""
        rows = self._raw.rows("directions")
        size = min(self._raw.width("directions"), coding.ALIKE // (1 if rows <= _MANY else 2))
        step = max(rows // coding.SAMPLE, 1)
        # Copied: a view would keep the whole piece.
        some = [one[::step, :size].copy() for one in self._raw.pieces("directions", _ROWS)]
        worth = coding.worth_of(np.concatenate([np.empty((0, size), np.float16), *some]))
        codes = np.empty((rows, size), np.int8)
        for number, one in enumerate(self._raw.pieces("directions", _ROWS)):
            start = number * _ROWS
            codes[start : start + len(one)] = coding.direction_codes(one[:, :size], worth)
        return codes, {"kind": "alike", "worth": worth.tolist()}

    def _view(self, number: int, view: str, ids: pa.Array) -> dict[str, Any]:
        """Write the lists of one map; those of the sky are the blocks, which are in its order."""
        across, up = (self._raw.read(f"{axis}:{view}") for axis in "xy")
        known = across <= coding.PLACES
        plain: dict[str, Any] = {"name": view, "wide": 2 if view == "sky" else 1}
        if known.any():
            edges = (f(one[known]) for one in (across, up) for f in (np.min, np.max))
            left, right, low, high = (int(edge) for edge in edges)
            plain["edges"] = [left, right, low, high]
            codes, plain["most"] = coding.density(across, up, (left, right, low, high))
            write_script(self._folder, f"density/{number}", b64encode(codes.tobytes()).decode())
        if view != "sky":
            keys, positions = coding.morton(across, up), map(self._positions.read, _POSITIONS)
            plain["lists"] = write_lists(self._folder, number, keys, ids, list(positions))
        return plain


def _raw_kind(kind: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_fixed_size_binary(kind):
        return np.dtype(("<f2", (kind.byte_width // 2,)))
    if pa.types.is_boolean(kind):
        return np.dtype("u1")
    # Whole numbers that may be null; 2^53 of them are exact.
    is_kept = kind in (pa.uint8(), pa.uint16()) or pa.types.is_floating(kind)
    return np.dtype(kind.to_pandas_dtype() if is_kept else "f8")


def _raw_values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_fixed_size_binary(column.type):
        return as_matrix(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8()).fill_null(coding.UNKNOWN[1])
    values: npt.NDArray[Any] = column.to_numpy()
    return values


def _code(own: pa.Field, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Code a column's raw values; say how."""
    if own.name[:2] in ("x:", "y:"):
        return values, {"kind": "place"}
    if own.name == "flags":
        return np.nan_to_num(values).astype("<u4"), {"kind": "flags"}
    if pa.types.is_boolean(own.type):
        return values, {"kind": "yesno", "yes": int((values == 1).sum())}
    if (own.metadata or {}).get(b"kind") == b"share":
        steps, codes = coding.SHARES, values
    else:
        steps = coding.steps_of(values)
        codes = steps.codes(values, 1 if 2 * steps.count < coding.UNKNOWN[1] else 2)
    counts = coding.histogram(codes, 2 * steps.count)
    kind = "share" if codes is values else "number"
    width = own.type.bit_width // 8 if pa.types.is_floating(own.type) else 0
    more = {"kind": kind, **steps.to_dict(), "counts": counts}
    return codes, more | {"real": 4 if kind == "share" else width}

"""What is compared of a survey: some of its galaxies, drawn by a hash."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.domains.hand import Floats, hand_features
from galaxymill.errors import UserError
from galaxymill.images.pixels import ImageSource, central_pixels, products_in
from galaxymill.images.recipes import settings_of
from galaxymill.progress import progress
from galaxymill.spaces.fit import embedding_kind
from galaxymill.spaces.space import as_matrix
from galaxymill.splits import uniform
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import open_parquet, read_batches

IMAGES, EMBEDDINGS, FEATURES = "image", "embedding", "features"
FEWEST = 20
"""Galaxies of each survey; a classifier learns nothing from fewer."""
SHOWN = 12
"""Galaxies of each survey whose images are shown."""
_ROWS = 4096


@dataclass(frozen=True)
class Side:
    """Products of one survey: those at ``path``, all with the same ``column`` and ``domain``.

    ``kind`` is what numbers of several products must share to be compared.
    """

    path: Path
    files: tuple[Path, ...]
    column: str
    domain: dict[str, Any]
    kind: dict[str, Any]
    digests: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the survey that the images are of."""
        return str(self.domain.get("survey", self.path.name))


@dataclass(frozen=True)
class Measured:
    """Galaxies by ``object_id``, and numbers of each, shape (n, n_features), finite."""

    ids: list[str]
    values: Floats
    names: tuple[str, ...] = ()


def open_side(path: Path) -> Side:
    """Read the footers of a product or a folder of products: of images, embeddings or features.

    Raises UserError when they are of something else, or of several surveys, recipes or models.
    """
    files = products_in(path)
    sides = [_open(file) for file in files]
    for file, (column, domain, kind, _) in zip(files, sides, strict=True):
        if (column, domain, kind) != sides[0][:3]:
            raise UserError(
                f"{file} and {files[0]} are of several surveys, recipes or models; give products "
                "of one making"
            )
    column, domain, kind, _ = sides[0]
    return Side(path, tuple(files), column, domain, kind, tuple(side[3] for side in sides))


def _open(file: Path) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    record = read_record(file)
    with open_parquet(file) as opened:
        there = opened.schema_arrow.names
    column = next((one for one in (IMAGES, EMBEDDINGS, FEATURES) if one in there), "")
    origin = record.origin
    if column == IMAGES and "recipe" in origin["domain"]:
        return column, origin["domain"], {}, record.digest
    if column == EMBEDDINGS:
        return column, origin["domain"], embedding_kind(origin), record.digest
    if column == FEATURES:
        return column, origin["domain"], {"space": origin["inputs"]["space"]}, record.digest
    raise UserError(
        f"{file}: made by {origin['stage']}, holds neither images, embeddings nor features; give "
        "products of render, of predict --embeddings or of project"
    )


def require_same(a: Side, b: Side) -> None:
    """Refuse two sides whose numbers mean different things."""
    if a.column != b.column:
        raise UserError(f"{a.path} holds {a.column}s, {b.path} {b.column}s; give the same of both")
    if a.kind != b.kind:
        raise UserError(
            f"{a.path} is of {a.kind}, {b.path} of {b.kind}: such numbers cannot be compared; "
            "predict both surveys with one model"
        )
    if a.column == IMAGES:
        bands = [settings_of(side.domain).drawn_bands() for side in (a, b)]
        if bands[0] != bands[1]:
            shown = [",".join(one) or "colours as served" for one in bands]
            raise UserError(
                f"{a.path} shows {shown[0]}, {b.path} {shown[1]}: such colours cannot be "
                "compared; draw both in the same bands"
            )


def picture_side(a: Side, b: Side) -> int:
    """Side in pixels that both surveys' images are compared at: the smaller one."""
    return min(settings_of(side.domain).size for side in (a, b))


def measure_images(side: Side, most: int, pixels: int) -> tuple[Measured, dict[str, bytes]]:
    """Measure the hand features of some galaxies; gives the files of the images of a few too."""
    unfit = flags.unfit_bits(flags.UNFIT)
    fit = [
        name
        for batch in _drawn(side, "flags", most)
        for name, bits in zip(*(one.to_pylist() for one in batch.columns), strict=True)
        if not bits & unfit
    ]
    chosen = sorted(fit, key=_draw)[:most]
    shown = set(chosen[:SHOWN])
    rows: dict[str, dict[str, float]] = {}
    pictures: dict[str, bytes] = {}
    groups = ImageSource.open(side.files).find(chosen, unfit)
    with progress(f"images of {side.name}", len(chosen)) as advance:
        for group in groups:
            for name, image in group.read():
                rows[name] = hand_features(central_pixels(image, pixels, pixels))
                if name in shown:
                    pictures[name] = image
            advance(len(group.ids))
    _require_enough(side, len(rows))
    values = np.array([list(row.values()) for row in rows.values()])
    return Measured(list(rows), values, tuple(next(iter(rows.values())))), pictures


def read_vectors(side: Side, most: int) -> Measured:
    """Read the embeddings or features of some galaxies that have them."""
    names: list[str] = []
    pieces: list[Floats] = []
    for batch in _drawn(side, side.column, most):
        known = batch.drop_null()
        names += known["object_id"].to_pylist()
        pieces.append(_as_matrix(known[side.column]))
    values = np.concatenate(pieces) if pieces else np.empty((0, 0))
    finite = np.flatnonzero(np.isfinite(values).all(axis=1)).tolist()
    chosen = sorted(finite, key=lambda row: _draw(names[row]))[:most]
    _require_enough(side, len(chosen))
    return Measured([names[row] for row in chosen], values[chosen])


def _as_matrix(column: pa.ChunkedArray) -> Floats:
    if pa.types.is_fixed_size_binary(column.type):
        return np.asarray(as_matrix(column), np.float64)
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(len(column), -1), np.float64)


def _draw(name: str) -> float:
    """Number by which galaxies are drawn; the same galaxy has the same one in each survey."""
    return uniform(f"domains:{name}")


def _drawn(side: Side, column: str, most: int) -> Iterator[pa.Table]:
    """Read ``object_id`` and a column of about twice as many galaxies as wanted, or of all."""
    rows = sum(pq.read_metadata(file).num_rows for file in side.files)
    share = 2 * most / max(rows, 1)
    for file in side.files:
        for batch in read_batches(file, ["object_id", column], _ROWS):
            kept = [_draw(name) < share for name in batch["object_id"].to_pylist()]
            yield batch.filter(pa.array(kept, pa.bool_()))


def _require_enough(side: Side, count: int) -> None:
    if count < FEWEST:
        raise UserError(
            f"{side.path}: {count} galaxies can be used, at least {FEWEST} are needed; give more "
            "products"
        )

"""Stage ``explore``: the slice of one partition, in the order of its tile."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import products
from galaxymill.catalog.partition import Partition, read_partitions
from galaxymill.catalog.positions import has_positions
from galaxymill.detectability.table import Detectable, read_detectable
from galaxymill.errors import UserError, unknown_name
from galaxymill.explorer.coding import SHARES, directions, mollweide, place_codes
from galaxymill.explorer.settings import ExplorerSettings
from galaxymill.release.columns import MAPS, SELECTIONS, Column, release_columns, schema_of
from galaxymill.release.found import Found, found_folders, read_found
from galaxymill.release.predictions import Prediction, mask_unasked, read_predictions
from galaxymill.release.settings import ReleaseSettings
from galaxymill.release.sources import Part, read_part, role_of
from galaxymill.release.tables.parts import PartReader
from galaxymill.release.tables.rows import read_rows
from galaxymill.spaces.space import as_matrix
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.columns import field
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_parquet, read_batches, read_columns, write_product

_QUALITY = 80
"""Of JPEG thumbnails."""
_NOT_SHOWN = {"_healpix_29", "object_id", "ra", "dec"}
_OWN = (
    products.OBJECT_ID,
    products.RA,
    products.DEC,
    field("thumbnail", pa.binary(), "a small JPEG, null where there is no image"),
)


@dataclass(frozen=True)
class SliceRequest:
    """One partition of a release, and where its products are.

    Attributes
    ----------
    part : str
        Name of the partition.
    partitions, objects : Path
        As in `galaxymill.release.merge.Request`.
    cutouts, images : Path
        Folders with a file a partition, as those of all that follow.
    predictions : tuple of Path
        Their names are the predictions'.
    features : tuple of Path
        Of the spaces whose maps the release has; their names are the spaces'.
    rated : tuple of Path
        Of the release's interests; their names are the interests'.
    shown : tuple of Path
        Of the spaces whose maps the explorer shows, likewise; the first says who is alike.
    release : ReleaseSettings
        Selections and the cut of the friendly table.
    detectability, view : Path or None, str
        As in `galaxymill.release.merge.Request`.
    """

    part: str
    partitions: Path
    objects: Path
    cutouts: Path
    images: Path
    predictions: tuple[Path, ...]
    models: tuple[Path, ...]
    features: tuple[Path, ...]
    rated: tuple[Path, ...]
    shown: tuple[Path, ...]
    release: ReleaseSettings
    settings: ExplorerSettings
    detectability: Path | None = None
    view: str = ""

    @cached_property
    def detectable(self) -> Detectable | None:
        """How much of each answer is still seen, where the release tells it."""
        return read_detectable(self.detectability, self.view)

    @property
    def found(self) -> dict[str, Path]:
        """Folder of each role of the release's spaces and interests."""
        return found_folders(self.features, self.rated)

    @property
    def folders(self) -> dict[str, Path]:
        """Folder of each role."""
        return {
            "tile": self.partitions.parent / "tiles",
            "cutouts": self.cutouts,
            "images": self.images,
            **{role_of(folder.name): folder for folder in self.predictions},
            **self.found,
        }


def explore_partition(request: SliceRequest, out: Path) -> None:
    """Write the slice of one partition: one row a galaxy, in the order of its tile.

    Raises
    ------
    UserError
        When the products do not belong together, as in a release, or a column is not there.
    """
    part = read_part(_partition(request), request.folders)
    names = [folder.name for folder in request.predictions]
    predictions = read_predictions(names, [part], request.models, [])
    spaces = {folder.name: folder / f"{request.part}.parquet" for folder in request.shown}
    found = read_found(request.found, [part])
    origin = _origin(request, part, spaces)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        table = _slice(request, part, predictions, found, spaces)
        write_product(out, table, origin, table.schema)


def _partition(request: SliceRequest) -> Partition:
    known = {one.part: one for one in read_partitions(request.partitions)}
    if request.part not in known:
        raise unknown_name(str(request.partitions), request.part, known, "partition")
    return known[request.part]


def slice_parameters(settings: ExplorerSettings, release: Mapping[str, Any]) -> dict[str, Any]:
    """What of an explorer and of its release (plain settings) changes a slice."""
    shared = {key: release[key] for key in ("selections", "friendly_cut") if key in release}
    return settings.model_copy(update={"viewer": ""}).product_settings() | {"release": shared}


def _origin(request: SliceRequest, part: Part, spaces: Mapping[str, Path]) -> Origin:
    inputs = {role: record.digest for role, record in part.records.items()}
    for name, path in spaces.items():
        record = read_record(path, "project")
        inputs |= {
            f"features/{name}": record.digest,
            f"space of {name}": record.origin["inputs"]["space"],
        }
    detectable = request.detectable
    inputs |= {"detectability": detectable.digest} if detectable else {}
    parameters = slice_parameters(request.settings, request.release.product_settings())
    return Origin("explore", parameters, inputs, part.records["images"].origin["domain"])


def _slice(
    request: SliceRequest,
    part: Part,
    predictions: Sequence[Prediction],
    found: Sequence[Found],
    spaces: Mapping[str, Path],
) -> pa.Table:
    catalog, positions = pq.read_schema(request.objects), has_positions(request.objects)
    selections = request.release.selections
    told = request.detectable
    columns = release_columns(catalog, predictions, selections, positions, found, told)
    shown = shown_columns(columns, request.settings)
    rows = _release_rows(request, part, predictions, found, columns)
    fields, values = list(_OWN), [rows[name] for name in ("object_id", "ra", "dec")]
    values.append(_thumbnails(part.files["images"], request.settings.thumbnails))
    more = [
        *_shown(rows, shown),
        *_asked(rows, predictions, request.release.friendly_cut),
        *_places(rows, spaces, positions),
    ]
    for described, column in more:
        fields.append(described)
        values.append(column)
    return pa.table(values, schema=pa.schema(fields))


def shown_columns(columns: Sequence[Column], settings: ExplorerSettings) -> list[Column]:
    """Choose the release's columns of an explorer; flags and selections are always there."""
    numbers = {
        one.name: one
        for one in columns
        if one.name not in _NOT_SHOWN
        # Places are shown as maps are.
        and one.group is not MAPS
        and "advanced" in one.tables
        and (pa.types.is_boolean(one.field.type) or _is_number(one.field.type))
    }
    for name in settings.columns:
        if name not in numbers:
            raise unknown_name("explorer: columns", name, numbers, "column of numbers")
    always = {"flags", *(one.name for one in columns if one.group is SELECTIONS)}
    chosen = {*settings.columns, *always} if settings.columns else set(numbers)
    return [one for name, one in numbers.items() if name in chosen]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_share(column: Column) -> bool:
    """Whether a column holds fractions or probabilities: they are coded in a byte."""
    low, high = column.range
    return low == 0 and high == 1 and bool(pa.types.is_floating(column.field.type))


def _release_rows(
    request: SliceRequest,
    part: Part,
    predictions: Sequence[Prediction],
    found: Sequence[Found],
    columns: Sequence[Column],
) -> pa.Table:
    """Rows of the release's advanced table, in the order of the partition's tile."""
    tile = pq.read_schema(part.files["tile"])
    ids = read_columns(part.files["tile"], ["object_id"])["object_id"]
    return read_rows(
        _catalogue_rows(request.objects, ids, part.partition),
        [part],
        schema_of(columns),
        PartReader(tile, predictions, found),
        predictions,
        request.release.selections,
        found,
        request.detectable,
    )


def _catalogue_rows(objects: Path, ids: pa.ChunkedArray, partition: Partition) -> pa.Table:
    """Read a partition's galaxies of the catalogue; the others of its row groups are left."""
    low, high = partition.range
    with open_parquet(objects, ["_healpix_29"]) as file:
        place = file.schema_arrow.names.index("_healpix_29")
        groups = [file.metadata.row_group(n).column(place) for n in range(file.num_row_groups)]
        wanted = [
            number
            for number, group in enumerate(groups)
            if group.statistics.max >= low and group.statistics.min < high
        ]
        rows = file.read_row_groups(wanted, use_threads=False)
    places = pc.index_in(ids, value_set=rows["object_id"].combine_chunks())
    if places.null_count:
        lost = ids.filter(places.is_null())[0].as_py()
        raise UserError(f"{objects}: has no galaxy {lost!r} of its tile; run partition again")
    return rows.take(places).combine_chunks()


Described = tuple[pa.Field, Any]


def _shown(rows: pa.Table, columns: Sequence[Column]) -> Iterator[Described]:
    """Give the release's columns, shares coded."""
    for column in columns:
        values = rows[column.name]
        if is_share(column):
            described = {**(column.field.metadata or {}), b"kind": b"share"}
            codes = SHARES.codes(values.to_numpy(), 1)
            yield pa.field(column.name, pa.uint8(), metadata=described), pa.array(codes)
        else:
            yield column.field, values


def asked_name(question: str) -> str:
    """Name of the column that says whether a question would be asked about a galaxy."""
    return f"asked:{question}"


def _asked(rows: pa.Table, predictions: Sequence[Prediction], cut: float) -> Iterator[Described]:
    """Say of each question where the friendly table has its fractions."""
    friendly = mask_unasked(rows, predictions, rows.schema, cut)
    for panel in (panel for one in predictions for panel in one.task.panels()):
        if panel.asked:
            what = f"whether {panel.title} would be asked: at least {cut:g} of the volunteers"
            described = field(asked_name(panel.title), pa.bool_(), what)
            yield described, friendly[panel.answers[0].column].is_valid()


def _places(rows: pa.Table, spaces: Mapping[str, Path], positions: bool) -> Iterator[Described]:
    """Give places on the sky and on every map of the spaces; directions in the first."""
    if positions:
        across, up = mollweide(rows["ra"].to_numpy(), rows["dec"].to_numpy())
        yield from _view("sky", across, up)
    for number, (name, path) in enumerate(spaces.items()):
        with open_parquet(path, ["object_id", "features"]) as file:
            features = file.read(use_threads=False)
        if not features["object_id"].equals(rows["object_id"]):
            raise UserError(f"{path}: not the galaxies of the tile; run project again")
        if number == 0:
            yield _directions(features["features"])
        maps = [one.removeprefix("map_").removesuffix("_x") for one in features.column_names]
        for one in maps:
            axes = products.map_columns(one)
            if set(axes) <= set(features.column_names):
                yield from _view(f"{name}/{one}", *(features[axis].to_numpy() for axis in axes))


def _view(name: str, across: Any, up: Any) -> Iterator[Described]:
    for axis, values in (("x", across), ("y", up)):
        described = field(f"{axis}:{name}", pa.uint16(), f"{axis} on {name}, 65535: unknown")
        yield described, pa.array(place_codes(values))


def _directions(features: pa.ChunkedArray) -> Described:
    values = as_matrix(features).astype(np.float32)
    values[features.is_null().to_numpy()] = np.nan
    unit = directions(values)
    kind = pa.binary(2 * unit.shape[1])
    array = pa.Array.from_buffers(kind, len(unit), [None, pa.py_buffer(unit.tobytes())])
    return field("directions", kind, "features of length 1, float16, little-endian"), array


def _thumbnails(images: Path, side: int) -> pa.Array:
    thumbnails: list[bytes | None] = []
    for batch in read_batches(images, ["image"]):
        pictures = pc.struct_field(batch["image"], "bytes").to_pylist()
        thumbnails += [one and make_thumbnail(one, side) for one in pictures]
    return pa.array(thumbnails, pa.binary())


def make_thumbnail(picture: bytes, side: int) -> bytes | None:
    """Make a small JPEG of an image; None when it cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture), formats=("JPEG", "PNG", "WEBP")) as opened:
            # A JPEG of large images is decoded no finer than is needed.
            opened.draft("RGB", (side, side))
            colours = opened if opened.mode == "RGB" else opened.convert("RGB")
            small = colours.resize((side, side), Image.Resampling.BOX)
    except (OSError, Image.DecompressionBombError):
        return None
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()

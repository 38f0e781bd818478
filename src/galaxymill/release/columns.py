"""The columns of a release: one registry, from which schemas and documents are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from galaxymill import products
from galaxymill.catalog.kept import same_names
from galaxymill.detectability.table import Detectable
from galaxymill.errors import UserError
from galaxymill.release.found import FEATURES, RATED, Found
from galaxymill.release.predictions import Prediction
from galaxymill.release.settings import Selection
from galaxymill.reporting.tables import write_csv
from galaxymill.storage.columns import field
from galaxymill.tasks.released import ColumnGroup

PARQUET = ("friendly", "advanced")
"""Tables that are one Parquet file."""

TABLES = (*PARQUET, "hats")
_FULL = ("advanced", "hats")

IDENTITY = ColumnGroup("identity and position", "which galaxy, and where it is", "")
CATALOGUE = ColumnGroup("catalogue", "further columns of the input catalogue", "")
QUALITY = ColumnGroup(
    "quality", "what became of the cutout, and the quality flags", "meta.code.qual"
)
MAPS = ColumnGroup(
    "maps",
    "place on a map, where galaxies that look alike are near each other",
    "pos.cartesian",
    (0, 1),
)
INTERESTS = ColumnGroup(
    "interests",
    "how interesting people may find a galaxy, learned from their ratings",
    "meta.code.qual",
)
DETECTABILITY = ColumnGroup(
    "detectability",
    "how much of an answer is still seen at a galaxy's size and brightness",
    "stat.probability;src.morph.type",
    (0, 1),
)
_FOUND = {FEATURES: MAPS, RATED: INTERESTS}
SELECTIONS = ColumnGroup(
    "selections", "galaxies that meet some cuts; false where a value is null", "meta.code"
)
_UCDS = {
    "_healpix_29": "pos.healpix",
    "object_id": "meta.id;meta.main",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "petro_r50": "phys.angSize;src",
    "petro_r90": "phys.angSize;src",
    "rotation": "pos.posAng",
    "centre_offset": "pos.angDistance",
    "peak_snr": "stat.snr",
    "status": "meta.code",
    "flags": "meta.code.qual",
}
_RANGES: dict[str, tuple[float | None, float | None]] = {"ra": (0, 360), "dec": (-90, 90)}
_ALWAYS = {"_healpix_29", "object_id", "ra", "dec", "status", "flags"}
_PLACE = {"_healpix_29", "ra", "dec"}
# A place on the disk of those who made the release says nothing to those who read it.
_LEFT_OUT = {"file_loc"}


@dataclass(frozen=True)
class Column:
    """A column of those ``tables``; its unit and description are in the field's metadata."""

    field: pa.Field
    group: ColumnGroup
    tables: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name in the tables."""
        return str(self.field.name)

    @property
    def unit(self) -> str:
        """Unit in the VOUnit notation; empty for none."""
        return self._metadata(b"unit")

    @property
    def ucd(self) -> str:
        """What the values are, in the IVOA's words (UCD1+); empty for a column of the user's."""
        return _UCDS.get(self.name) or self.group.ucd

    @property
    def range(self) -> tuple[float | None, float | None]:
        """Lowest and highest value there can be; None for no bound."""
        return _RANGES.get(self.name) or self.group.range

    @property
    def is_list(self) -> bool:
        """Whether there are several values a galaxy, for which FITS and others have no place."""
        return bool(pa.types.is_fixed_size_list(self.field.type))

    @property
    def nullable(self) -> bool:
        """Whether there are galaxies without it."""
        return self.name not in _ALWAYS and self.group is not SELECTIONS

    @property
    def description(self) -> str:
        """What the values are."""
        return self._metadata(b"description")

    def _metadata(self, key: bytes) -> str:
        return str((self.field.metadata or {}).get(key, b"").decode())


def release_columns(
    catalog: pa.Schema,
    predictions: Sequence[Prediction],
    selections: Mapping[str, Selection],
    has_positions: bool = True,
    found: Sequence[Found] = (),
    detectable: Detectable | None = None,
) -> list[Column]:
    """List the columns of a release, in the tables' order; ``catalog`` is of ``objects.parquet``.

    Raises
    ------
    UserError
        When two columns would have one name.
    """
    columns = [Column(products.HEALPIX_29, IDENTITY, ("hats",))]
    columns += [_catalogue_column(one) for one in catalog if _is_released(one)]
    for prediction in predictions:
        columns += _predicted_columns(prediction)
    columns += [Column(each, _FOUND[one.kind], TABLES) for one in found for each in one.fields]
    told = detectable.fields if detectable else []
    columns += [Column(each, DETECTABILITY, TABLES) for each in told]
    columns += [
        *(Column(each, QUALITY, _FULL) for each in products.IMAGE_QUALITY),
        Column(products.CUTOUTS.field("status"), QUALITY, TABLES),
        Column(products.FLAGS, QUALITY, TABLES),
    ]
    for name, selection in selections.items():
        flag = field(name, pa.bool_(), selection.meaning)
        columns.append(Column(flag, SELECTIONS, TABLES))
    twice = same_names(column.name for column in columns)
    if twice:
        raise UserError(
            f"release: two columns would be called {', '.join(twice)}; rename the catalogue's or "
            "leave it out of keep, rename the selection or map, or release the predictions apart"
        )
    return columns if has_positions else [_placeless(c) for c in columns if c.name not in _PLACE]


def _predicted_columns(prediction: Prediction) -> list[Column]:
    task = prediction.task
    columns = []
    for summary in task.summary_fields():
        group = task.groups[summary.name.rsplit("_", 1)[1]]
        columns.append(Column(summary, group, TABLES if group.friendly else _FULL))
    if prediction.draws:
        samples = task.sample_field(prediction.draws).with_name(prediction.sample_column)
        columns.append(Column(samples, task.sample_group, ("advanced",)))
    return columns


def _placeless(column: Column) -> Column:
    return replace(column, tables=tuple(table for table in column.tables if table != "hats"))


def _is_released(field: pa.Field) -> bool:
    return field.name != products.HEALPIX_29.name and field.name not in _LEFT_OUT


def _catalogue_column(field: pa.Field) -> Column:
    """Describe a column of the catalogue, without what a Parquet reader adds to its metadata."""
    kept = {b"description", b"unit"}
    metadata = {key: value for key, value in (field.metadata or {}).items() if key in kept}
    own = field.name in {"object_id", "ra", "dec"}
    return Column(field.with_metadata(metadata), IDENTITY if own else CATALOGUE, TABLES)


def schema_of(columns: Sequence[Column], table: str | None = None) -> pa.Schema:
    """Schema of one of ``TABLES``, or of all columns together."""
    return pa.schema([column.field for column in columns if table in (None, *column.tables)])


def write_columns(columns: Sequence[Column], path: Path) -> None:
    """Write ``columns.csv``: name, dtype, unit, ucd, description, group, tables (by spaces)."""
    rows = [
        {
            "name": column.name,
            "dtype": column.field.type,
            "unit": column.unit,
            "ucd": column.ucd,
            "description": column.description,
            "group": column.group.name,
            "tables": " ".join(column.tables),
        }
        for column in columns
    ]
    write_csv(path, rows)

"""The columns of a release: one registry, from which schemas and documents are made."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from galaxymill import products
from galaxymill.catalog.kept import same_names
from galaxymill.errors import UserError
from galaxymill.release.settings import Selection
from galaxymill.storage.columns import field
from galaxymill.tasks.task import Task

PARQUET = ("friendly", "advanced")
"""Tables that are one Parquet file."""

TABLES = (*PARQUET, "hats")
_FULL = ("advanced", "hats")

GROUPS = {
    "identity and position": "which galaxy, and where it is",
    "catalogue": "further columns of the input catalogue",
    "vote fractions": "expected fraction of volunteers who would give the answer",
    "credible intervals": "5th and 95th percentile of that fraction",
    "proportions asked": "fraction of volunteers who would be asked the question",
    "uncertainty": "entropy of one vote; mutual information of votes and model (BALD)",
    "concentrations": "Dirichlet concentrations, sample after sample, answers in the tree's order",
    "quality": "what became of the cutout, and the quality flags",
    "selections": "galaxies that meet some cuts; false where a value is null",
}

# What follows the last underscore of a summary column → its group and its tables.
_SUMMARIES = {
    "fraction": ("vote fractions", TABLES),
    "90pc-lower": ("credible intervals", _FULL),
    "90pc-upper": ("credible intervals", _FULL),
    "proportion-asked": ("proportions asked", _FULL),
    "entropy": ("uncertainty", _FULL),
    "mutual-information": ("uncertainty", _FULL),
}
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
_GROUP_UCDS = {
    "vote fractions": "stat.probability;src.morph.type",
    "credible intervals": "stat.param;src.morph.type",
    "proportions asked": "stat.probability",
    "uncertainty": "stat.param",
    "concentrations": "stat.param",
    "quality": "meta.code.qual",
    "selections": "meta.code",
}
_RANGES: dict[str, tuple[float | None, float | None]] = {
    "ra": (0, 360),
    "dec": (-90, 90),
    "vote fractions": (0, 1),
    "credible intervals": (0, 1),
    "proportions asked": (0, 1),
    "concentrations": (0, None),
}
_ALWAYS = {"_healpix_29", "object_id", "ra", "dec", "status", "flags"}
_PLACE = {"_healpix_29", "ra", "dec"}
# A place on the disk of those who made the release says nothing to those who read it.
_LEFT_OUT = {"file_loc"}


@dataclass(frozen=True)
class Column:
    """One column of a release.

    Attributes
    ----------
    field : pyarrow.Field
        Name and type; unit and description in its metadata.
    group : str
        A name of ``GROUPS``.
    tables : tuple of str
        Those of ``TABLES`` that have it.
    """

    field: pa.Field
    group: str
    tables: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name in the tables."""
        return str(self.field.name)

    @property
    def unit(self) -> str:
        """Unit in the VOUnit notation, empty for none."""
        return self._metadata(b"unit")

    @property
    def ucd(self) -> str:
        """What the values are, in the IVOA's words (UCD1+); empty for a column of the user's."""
        return _UCDS.get(self.name) or _GROUP_UCDS.get(self.group, "")

    @property
    def range(self) -> tuple[float | None, float | None]:
        """Lowest and highest value there can be; None for no bound."""
        return _RANGES.get(self.name) or _RANGES.get(self.group, (None, None))

    @property
    def is_list(self) -> bool:
        """Whether there are several values a galaxy, for which FITS and others have no place."""
        return bool(pa.types.is_fixed_size_list(self.field.type))

    @property
    def nullable(self) -> bool:
        """Whether there are galaxies without it."""
        return self.name not in _ALWAYS and self.group != "selections"

    @property
    def description(self) -> str:
        """What the values are."""
        return self._metadata(b"description")

    def _metadata(self, key: bytes) -> str:
        return str((self.field.metadata or {}).get(key, b"").decode())


def release_columns(
    catalog: pa.Schema,
    task: Task,
    draws: int,
    selections: Mapping[str, Selection],
    has_positions: bool = True,
) -> list[Column]:
    """List the columns of a release, in the tables' order.

    Parameters
    ----------
    catalog : pyarrow.Schema
        Of ``objects.parquet``, as read from the file.
    task : Task
        Of the model.
    draws : int
        Posterior samples a galaxy that were kept; 0: none were.
    selections : mapping of str to Selection
        Of the release, by name.
    has_positions : bool
        Whether it is known where the galaxies are; without, there is no HATS table either.

    Raises
    ------
    UserError
        When a kept column of the catalogue, or a selection, has the name of another column.
    """
    columns = [Column(products.HEALPIX_29, "identity and position", ("hats",))]
    columns += [_catalogue_column(one) for one in catalog if _is_released(one)]
    for summary in task.summary_fields():
        group, tables = _SUMMARIES[summary.name.rsplit("_", 1)[1]]
        columns.append(Column(summary, group, tables))
    if draws:
        samples = task.sample_field(draws)
        columns.append(Column(samples, "concentrations", ("advanced",)))
    columns += [
        *(Column(each, "quality", _FULL) for each in products.IMAGE_QUALITY),
        Column(products.CUTOUTS.field("status"), "quality", TABLES),
        Column(products.FLAGS, "quality", TABLES),
    ]
    for name, selection in selections.items():
        flag = field(name, pa.bool_(), selection.meaning)
        columns.append(Column(flag, "selections", TABLES))
    twice = same_names(column.name for column in columns)
    if twice:
        raise UserError(
            f"release: two columns would be called {', '.join(twice)}; rename the catalogue's or "
            "leave it out of keep, or rename the selection"
        )
    return columns if has_positions else [_placeless(c) for c in columns if c.name not in _PLACE]


def _placeless(column: Column) -> Column:
    return replace(column, tables=tuple(table for table in column.tables if table != "hats"))


def _is_released(field: pa.Field) -> bool:
    return field.name != products.HEALPIX_29.name and field.name not in _LEFT_OUT


def _catalogue_column(field: pa.Field) -> Column:
    """Describe a column of the catalogue, without what a Parquet reader adds to its metadata."""
    known = {b"description", b"unit"}
    metadata = {key: value for key, value in (field.metadata or {}).items() if key in known}
    own = field.name in {"object_id", "ra", "dec"}
    group = "identity and position" if own else "catalogue"
    return Column(field.with_metadata(metadata), group, TABLES)


def schema_of(columns: Sequence[Column], table: str | None = None) -> pa.Schema:
    """Schema of one of ``TABLES``, or of all columns together."""
    return pa.schema([column.field for column in columns if table in (None, *column.tables)])


def write_columns(columns: Sequence[Column], path: Path) -> None:
    """Write ``columns.csv``: name, dtype, unit, ucd, description, group, tables (by spaces)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "dtype", "unit", "ucd", "description", "group", "tables"))
    for column in columns:
        dtype, tables = str(column.field.type), " ".join(column.tables)
        told = column.unit, column.ucd, column.description, column.group
        writer.writerow((column.name, dtype, *told, tables))
    path.write_text(text.getvalue(), encoding="utf-8")

"""The metadata of a release for machine learning tools: Croissant 1.0, from the columns."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from galaxymill.release.columns import PARQUET, Column
from galaxymill.release.documents.citation import license_url
from galaxymill.release.settings import ReleaseSettings


def write_croissant(
    path: Path,
    title: str,
    settings: ReleaseSettings,
    columns: Sequence[Column],
    sums: Mapping[str, str],
) -> None:
    """Write ``croissant.json``, with the sha256 of each file of the release.

    Concentrations, lists of numbers, are left to the Parquet schema.
    """
    import mlcroissant

    # It warns of everything that is merely recommended.
    logging.getLogger("absl").setLevel(logging.ERROR)
    files, records = [], []
    for table in PARQUET:
        name = f"{table}.parquet"
        files.append(
            mlcroissant.FileObject(
                id=name,
                name=name,
                content_url=name,
                encoding_formats=["application/x-parquet"],
                sha256=sums[name],
            )
        )
        fields = [
            _field(table, name, column)
            for column in columns
            if table in column.tables and not column.is_list
        ]
        records.append(mlcroissant.RecordSet(id=table, name=table, fields=fields, key=fields[0].id))
    metadata = mlcroissant.Metadata(
        name=title,
        description=settings.description or f"{title}: visual morphology of galaxies",
        license=[license_url(settings.license)],
        url=settings.url,
        date_published=settings.date and datetime.fromisoformat(settings.date),
        version=settings.version,
        cite_as=settings.doi and f"https://doi.org/{settings.doi}",
        creators=[mlcroissant.Organization(name=creator.name) for creator in settings.creators],
        distribution=files,
        record_sets=records,
    )
    text = json.dumps(metadata.to_json(), indent=1, default=str, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _field(table: str, file: str, column: Column) -> Any:
    import mlcroissant

    source = mlcroissant.Source(file_object=file, extract=mlcroissant.Extract(column=column.name))
    return mlcroissant.Field(
        id=f"{table}/{column.name}",
        name=column.name,
        description=column.description or column.name,
        data_types=[_data_type(column.field.type)],
        source=source,
    )


def _data_type(kind: pa.DataType) -> Any:
    from mlcroissant import DataType

    if pa.types.is_boolean(kind):
        return DataType.BOOL
    if pa.types.is_integer(kind):
        return DataType.INTEGER
    return DataType.FLOAT if pa.types.is_floating(kind) else DataType.TEXT

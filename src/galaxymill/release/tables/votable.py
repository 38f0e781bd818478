"""The columns described for the Virtual Observatory: a VOTable header without rows."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa

from galaxymill import products
from galaxymill.release.columns import Column, schema_of


def described_schema(columns: Sequence[Column], table: str, widths: Mapping[str, int]) -> pa.Schema:
    """Schema of a table with its VOTable header in the metadata (VOParquet 1.0).

    ``widths`` are the most bytes of each column of texts.
    """
    header = votable_header([c for c in columns if table in c.tables], table, widths)
    return schema_of(columns, table).with_metadata(
        {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": header}
    )


def votable_header(columns: Sequence[Column], name: str, widths: Mapping[str, int]) -> bytes:
    """Write a VOTable 1.4 document with a FIELD a column and no data."""
    from astropy.io.votable import tree

    document = tree.VOTableFile(version="1.4")
    resource = tree.Resource(name="galaxymill")
    table = tree.TableElement(document, name=name)
    document.resources.append(resource)
    resource.tables.append(table)
    for column in columns:
        field = tree.Field(document, name=column.name, **_kind(column, widths))
        field.description = column.description or None
        table.fields.append(field)
    text = io.BytesIO()
    document.to_xml(text)
    return text.getvalue()


def _kind(column: Column, widths: Mapping[str, int]) -> dict[str, str | None]:
    kind, size = column.field.type, None
    if isinstance(kind, pa.FixedSizeListType):
        kind, size = kind.value_type, str(kind.list_size)
    datatype, _ = products.RELEASED[kind]
    if datatype == "char":
        size = f"{max(widths[column.name], 1)}*"
    words = {"datatype": datatype, "arraysize": size}
    return {**words, "unit": column.unit or None, "ucd": column.ucd or None}

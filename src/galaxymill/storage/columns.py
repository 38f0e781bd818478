"""Columns of Parquet products, described."""

import pyarrow as pa

VOLATILE = b"volatile"
"""In a column's metadata: it is left out of the table's digest."""


def field(
    name: str, kind: pa.DataType, description: str, unit: str = "", volatile: bool = False
) -> pa.Field:
    """Describe one column; ``unit`` is in the VOUnit notation, empty for none."""
    metadata: dict[bytes | str, str] = {"description": description}
    if unit:
        metadata["unit"] = unit
    if volatile:
        metadata[VOLATILE] = "true"
    return pa.field(name, kind, metadata=metadata)

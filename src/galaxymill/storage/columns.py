"""Columns of Parquet products, described."""

import pyarrow as pa


def field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    """Describe one column; ``unit`` is in the VOUnit notation, empty for none."""
    metadata = {"description": description}
    if unit:
        metadata["unit"] = unit
    return pa.field(name, kind, metadata=metadata)

"""Boolean columns: whether a galaxy meets all cuts of a selection of the config."""

from collections.abc import Mapping, Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import unknown_name
from galaxymill.release.columns import Column
from galaxymill.release.settings import Cut, Selection


def check_selections(selections: Mapping[str, Selection], columns: Sequence[Column]) -> None:
    """Refuse a cut in a column that is not there, or that holds no numbers."""
    allowed = {c.name for c in columns if "advanced" in c.tables and _is_number(c.field.type)}
    for name, selection in selections.items():
        for cut in selection.cuts:
            if cut.column not in allowed:
                raise unknown_name(f"selections.{name}.cuts", cut.column, allowed, "column")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def select(values: Mapping[str, pa.ChunkedArray], selection: Selection) -> pa.ChunkedArray:
    """Tell which galaxies meet all cuts, from the columns of the advanced table by name.

    False where a value is null: nothing is known of a galaxy that could not be predicted.
    """
    met = (_meets(values[cut.column], cut) for cut in selection.cuts)
    return pc.fill_null(reduce(pc.and_, met), False)


def _meets(values: pa.ChunkedArray, cut: Cut) -> pa.ChunkedArray:
    if not pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
    # In the column's own precision, as numpy and pandas compare.
    above = below = pc.is_valid(values)
    if cut.at_least is not None:
        above = pc.greater_equal(values, pa.scalar(cut.at_least, values.type))
    if cut.at_most is not None:
        below = pc.less_equal(values, pa.scalar(cut.at_most, values.type))
    return pc.and_(above, below)

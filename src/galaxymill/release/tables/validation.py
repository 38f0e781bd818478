"""Check the rows of every tile: the range of each column, and nulls."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError
from galaxymill.release.columns import Column


def check_rows(rows: pa.Table, columns: Sequence[Column]) -> None:
    """Refuse values out of range, and nulls where none may be, in any column of a release."""
    for column in columns:
        place = _first_bad(rows[column.name].combine_chunks(), column)
        if place is not None:
            raise _refused(rows, column, place)


def _first_bad(values: pa.Array, column: Column) -> int | None:
    """Find the first row whose value the registry does not allow; null is in any range."""
    if values.null_count and not column.nullable:
        return int(pc.index(values.is_null(), True).as_py())
    low, high = column.range
    numbers = values.flatten() if column.is_list else values
    for bound, beyond in ((low, pc.less), (high, pc.greater)):
        if bound is None:
            continue
        place = int(pc.index(beyond(numbers, pa.scalar(bound, numbers.type)), True).as_py())
        if place >= 0 and column.is_list:
            # A list that is null has no values here.
            place = pc.indices_nonzero(values.is_valid())[place // values.type.list_size].as_py()
        if place >= 0:
            return place
    return None


def _refused(rows: pa.Table, column: Column, row: int) -> UserError:
    low, high = column.range
    bounds = [f"at least {low:g}"] if low is not None else []
    bounds += [f"at most {high:g}"] if high is not None else []
    values = " and ".join(bounds) or "any value"
    null = ", or null" if column.nullable else ", not null"
    return UserError(
        f"galaxy {rows['object_id'][row].as_py()!r}: {column.name} is "
        f"{rows[column.name][row].as_py()}; allowed: {values}{null}; run the stage that makes it "
        "again"
    )

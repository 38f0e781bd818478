"""What the registry says of each column, checked on the rows of every tile."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError
from galaxymill.release.columns import Column


class Validator:
    """Checks tables of a release against the registry: ranges, and nulls where none may be.

    Parameters
    ----------
    columns : sequence of Column
        The registry.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        import pandera.pandas as pandera

        self._columns = {column.name: column for column in columns}
        self._lists = [c.name for c in columns if c.is_list and c.range[0] is not None]
        checked = {
            column.name: pandera.Column(checks=_checks(column), nullable=column.nullable)
            for column in columns
            if not column.is_list and (_checks(column) or not column.nullable)
        }
        self._schema = pandera.DataFrameSchema(checked)

    def check(self, rows: pa.Table) -> None:
        """Check some rows with all columns.

        Raises
        ------
        UserError
            With the galaxy, the column, the value and the values allowed.
        """
        from pandera.errors import SchemaErrors

        try:
            self._schema.validate(self._frame(rows), lazy=True, inplace=True)
        except SchemaErrors as error:
            first = error.failure_cases.iloc[0]
            raise self._refused(rows, str(first["column"]), int(first["index"])) from None
        for name in self._lists:
            values = rows[name].combine_chunks()
            low = self._columns[name].range[0]
            bad = pc.less(values.flatten(), low)
            if pc.any(bad).as_py():
                row = pc.index(bad, True).as_py() // values.type.list_size
                valid = pc.indices_nonzero(values.is_valid())
                raise self._refused(rows, name, valid[row].as_py())

    def _frame(self, rows: pa.Table) -> Any:
        """Columns side by side, as they are: nothing is copied but what has nulls."""
        return rows.select(list(self._schema.columns)).to_pandas(split_blocks=True)

    def _refused(self, rows: pa.Table, name: str, row: int) -> UserError:
        low, high = self._columns[name].range
        bounds = [f"at least {low:g}"] if low is not None else []
        bounds += [f"at most {high:g}"] if high is not None else []
        values = " and ".join(bounds) or "any value"
        null = ", or null" if self._columns[name].nullable else ", not null"
        return UserError(
            f"galaxy {rows['object_id'][row].as_py()!r}: {name} is {rows[name][row].as_py()}; "
            f"allowed: {values}{null}; run the stage that makes it again"
        )


def _checks(column: Column) -> list[Any]:
    """Make one check a column: each costs the same for a row as for ten thousand."""
    import pandera.pandas as pandera

    low, high = column.range
    if low is not None and high is not None:
        return [pandera.Check.in_range(low, high)]
    if low is not None:
        return [pandera.Check.ge(low)]
    return [pandera.Check.le(high)] if high is not None else []

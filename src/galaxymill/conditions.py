"""Conditions that users write over the columns of a product, in SQL, evaluated by DuckDB."""

import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.errors import UserError

_LIMITS = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "memory_limit": "500MB",
    "threads": "1",
}
"""A condition reads the table that it is given, and no file."""
_ROWS = "rows"


class Condition:
    """A condition such as ``spiral_fraction > 0.5 and flags = 0``.

    Names of columns need no quotes, though they may hold hyphens.

    Parameters
    ----------
    where : str
        The condition; empty: every row meets it.
    schema : pyarrow.Schema
        Of the tables that it is asked of.
    place : str
        The key or option, to name in errors.

    Raises
    ------
    UserError
        When it is no condition over these columns.
    """

    def __init__(self, where: str, schema: pa.Schema, place: str) -> None:
        self._place, self._where = place, where
        self._sql, self.columns = _quoted(where, schema.names)
        self._database: Any = None
        self._lock = threading.Lock()
        if where:
            self._refuse_statements()
            self.mask(schema.empty_table(), schema.names)

    def mask(self, table: pa.Table, names: Sequence[str] = ()) -> npt.NDArray[np.bool_]:
        """Tell which rows meet the condition, shape (n,); where it is null, they do not."""
        if not self._where:
            return np.ones(table.num_rows, bool)
        # A connection answers one thread at a time.
        with self._lock:
            return self._ask(table, names)

    def _ask(self, table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        import duckdb

        if self._database is None:
            self._database = duckdb.connect(config=_LIMITS)
        try:
            self._database.register(_ROWS, table)
            found = self._database.sql(f"SELECT coalesce(({self._sql}), false) AS met FROM {_ROWS}")
            met = found.to_arrow_table()["met"]
            if met.type != pa.bool_() or len(met) != table.num_rows:
                raise self._error("it is not true or false of each row", names)
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0], names) from error
        return np.asarray(met.to_numpy(zero_copy_only=False), bool)

    def _refuse_statements(self) -> None:
        import duckdb

        try:
            statements = duckdb.extract_statements(f"SELECT ({self._sql})")
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0], ()) from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise self._error("it is more than one condition", ())

    def _error(self, reason: str, names: Sequence[str]) -> UserError:
        columns = f"; columns: {', '.join(names)}" if names else ""
        return UserError(f"{self._place}: {self._where!r}: {reason}{columns}")


def _quoted(where: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """Put names of columns in quotes, outside of texts; give those that are there too."""
    used: dict[str, None] = {}
    longest_first = sorted(names, key=len, reverse=True)
    plain = "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in longest_first)

    def quote(match: re.Match[str]) -> str:
        word = match[0]
        if word.startswith("'"):
            return word
        name = word[1:-1] if word.startswith('"') else word
        used.setdefault(name)
        return '"' + name + '"'

    sql = re.sub(rf"'(?:[^']|'')*'|\"[^\"]*\"|{plain}", quote, where) if names else where
    return sql, [name for name in used if name in names]

"""Conditions that users write over the columns of a product, in SQL, evaluated by DuckDB."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
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
_LONGEST = 10_000
"""Letters of a condition."""
_PARTS = re.compile(
    "BETWEEN|CASE|CAST|COLUMN_REF|COMPARISON|CONJUNCTION|CONSTANT|FUNCTION|OPERATOR|TYPE"
)
_OPERATORS = re.compile(r"[-+*/%&|^~<>!]+")
_FUNCTIONS = re.compile(
    "abs|ceil|contains|cos|degrees|ends_with|exp|floor|greatest|isfinite|isinf|isnan|least|length|"
    "ln|log|log10|log2|lower|mod|pow|power|radians|regexp_matches|round|sign|sin|sqrt|starts_with|"
    "tan|trim|upper|xor"
)
"""Each takes about as long as reading a row; others could take a machine's memory, or time."""


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
        """Refuse what is no expression over one row, such as a query within it."""
        import duckdb

        if len(self._where) > _LONGEST:
            raise self._error(f"longer than {_LONGEST} letters", ())
        select = f"SELECT ({self._sql})"
        try:
            if len(duckdb.extract_statements(select)) != 1:
                raise self._error("it is more than one condition", ())
            with duckdb.connect(config=_LIMITS) as database:
                told = database.execute("SELECT json_serialize_sql(?)", [select]).fetchall()
            self._refuse_parts(json.loads(told[0][0]))
        except duckdb.Error as error:
            raise self._error(str(error).splitlines()[0], ()) from error
        except RecursionError as error:
            raise self._error("too many brackets within brackets", ()) from error

    def _refuse_parts(self, plain: dict[str, Any]) -> None:
        if plain["error"]:
            raise self._error(str(plain["error_message"]), ())
        node = plain["statements"][0]["node"]
        if len(node["select_list"]) != 1 or node["from_table"]["type"] != "EMPTY":
            raise self._error("it is more than one condition", ())
        for part in _parts(node["select_list"]):
            kind, name = part["class"], str(part.get("function_name", "")).lower()
            if not _PARTS.fullmatch(kind):
                raise self._error(f"{kind.lower()} has no place in a condition over a row", ())
            known = _FUNCTIONS.fullmatch(name) or _OPERATORS.fullmatch(name)
            if kind == "FUNCTION" and not known:
                allowed = _FUNCTIONS.pattern.replace("|", ", ")
                raise self._error(f"function {name} is not known here; functions: {allowed}", ())

    def _error(self, reason: str, names: Sequence[str]) -> UserError:
        columns = f"; columns: {', '.join(names)}" if names else ""
        return UserError(f"{self._place}: {self._where!r}: {reason}{columns}")


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """All expressions of a parsed statement."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for one in tree:
            yield from _parts(one)


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

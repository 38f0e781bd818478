import numpy as np
import pyarrow as pa
import pytest

from galaxymill.conditions import Condition
from galaxymill.errors import UserError

ROWS = pa.table(
    {
        "object_id": ["a", "b", "c'd"],
        "smooth-or-featured_featured-or-disk_fraction": [0.1, 0.9, None],
        "smooth": [3, 2, 1],
        "flags": [0, 0, 4],
    }
)


def met(where):
    return Condition(where, ROWS.schema, "--where").mask(ROWS).tolist()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", [True, True, True]),
        ("smooth-or-featured_featured-or-disk_fraction > 0.5", [False, True, False]),
        ('"smooth-or-featured_featured-or-disk_fraction" <= 0.5', [True, False, False]),
        ("smooth-or-featured_featured-or-disk_fraction IS NULL", [False, False, True]),
        ("smooth > 1 and flags = 0", [True, True, False]),
        ("object_id in ('a', 'c''d')", [True, False, True]),
        # Within a text, the name of a column is a text.
        ("object_id = 'smooth'", [False, False, False]),
        ("(flags & 4) = 4 or smooth = 3", [True, False, True]),
        ("smooth between 2 and 3 and not object_id like 'a%'", [False, True, False]),
        ("case when flags > 0 then true else smooth::int % 2 = 1 end", [True, False, True]),
        ("abs(smooth - 2) < 0.5 /* nearly */", [False, True, False]),
    ],
)
def test_names_with_hyphens_need_no_quotes(where, expected):
    assert met(where) == expected


def test_only_the_columns_of_a_condition_are_read():
    condition = Condition("smooth > 1 and object_id <> 'flags'", ROWS.schema, "--where")
    assert condition.columns == ["smooth", "object_id"]
    assert condition.mask(ROWS.select(condition.columns)).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("smoth > 1", "columns: object_id, smooth-or-featured"),
        ("smooth", "not true or false of each row"),
        ("sum(flags) > 1", "function sum is not known here; functions: abs, ceil"),
        ("sum(flags) over () > 1", "window has no place"),
        ("true, true", "function row is not known"),
        ("flags =", "syntax error"),
        ("flags = 0; DROP TABLE rows", "syntax error"),
        ("true) FROM rows; COPY rows TO 'stolen.csv' --", "more than one condition"),
        ("true FROM rows", "syntax error"),
        ("true) FROM range(10) --", "more than one condition"),
        ("(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "subquery has no place"),
        ("flags IN (SELECT * FROM glob('/etc/*'))", "subquery has no place"),
        ("exists(SELECT 1 FROM duckdb_settings())", "subquery has no place"),
        (
            "(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t) > 0",
            "subquery has no place",
        ),
        ("list_aggregate(range(100000000000), 'sum') > 0", "function list_aggregate is not"),
        ("length(repeat('a', 100000000000)) > 0", "function repeat is not"),
        ("getenv('HOME') <> ''", "function getenv is not"),
        ("current_setting('home_directory') <> ''", "function current_setting is not"),
        ("query('SELECT 1') > 0", "function query is not"),
        ("COLUMNS(*) > 0", "star has no place"),
        ("(" * 3000 + "true" + ")" * 3000, "--where"),
        ("flags = 0 or " * 1000 + "true", "longer than 10000 letters"),
    ],
)
def test_what_is_no_condition_is_refused(where, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^--where: ") as raised:
        Condition(where, ROWS.schema, "--where")
    assert message in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_rows_keep_their_order():
    numbers = np.random.default_rng(1).integers(0, 10, 300_000)
    table = pa.table({"number": numbers})
    assert (Condition("number > 6", table.schema, "x").mask(table) == (numbers > 6)).all()

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
        ("sum(flags) > 1", "not true or false of each row"),
        ("flags =", "syntax error"),
        ("flags = 0; DROP TABLE rows", "syntax error"),
        ("true) FROM rows; COPY rows TO 'stolen.csv' --", "more than one condition"),
        ("(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "disabled by configuration"),
        ("flags IN (SELECT * FROM glob('/etc/*'))", "disabled by configuration"),
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

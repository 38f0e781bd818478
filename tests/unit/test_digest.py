"""A table's digest is that of its rows, however they were cut, and of every cell."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.products import CUTOUTS
from galaxymill.storage.columns import VOLATILE
from galaxymill.storage.digest import TableDigest, sha256_json

INTEGERS = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
UTC_MS = pa.timestamp("ms", tz="UTC")
KINDS = {
    "int": (pa.int32(), INTEGERS),
    "float": (pa.float64(), st.floats(allow_nan=False)),
    "half": (pa.float16(), st.floats(width=16, allow_nan=False)),
    "bool": (pa.bool_(), st.booleans()),
    "text": (pa.string(), TEXT),
    "bytes": (pa.binary(), st.binary(max_size=5)),
    "when": (UTC_MS, st.datetimes(datetime(2000, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))),
    "list": (pa.list_(pa.string()), st.lists(st.none() | TEXT, max_size=3)),
    "pair": (
        pa.list_(pa.float32(), 2),
        st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
    ),
    "struct": (
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        st.fixed_dictionaries({"bytes": st.none() | st.binary(max_size=3), "path": TEXT}),
    ),
}
SCHEMA = pa.schema({name: kind for name, (kind, _) in KINDS.items()})
ROW = st.fixed_dictionaries({name: st.none() | cell for name, (_, cell) in KINDS.items()})
ROWS = st.lists(ROW, max_size=12)


def digest(*tables):
    running = TableDigest(tables[0].schema)
    for table in tables:
        running.update(table)
    return running.hexdigest()


def column(kind, *values):
    return pa.table({"c": pa.array(values, kind)})


@given(ROWS, st.lists(st.integers(0, 12)))
def test_batches_and_slices_do_not_matter(rows, cuts):
    table = pa.Table.from_pylist(rows, SCHEMA)
    places = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [table.slice(low, high - low) for low, high in pairwise(places)]
    assert digest(*pieces) == digest(table)


@given(ROWS, st.lists(st.integers(0, 12)))
def test_chunks_do_not_matter(rows, cuts):
    whole = pa.Table.from_pylist(rows, SCHEMA)
    places = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    spans = pairwise(places)
    copies = [pa.Table.from_pylist(rows[low:high], SCHEMA) for low, high in spans]
    assert digest(pa.concat_tables(copies)) == digest(whole)


@given(ROWS.filter(bool), st.data())
def test_every_cell_matters(rows, data):
    row = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(sorted(KINDS)))
    value = data.draw(st.none() | KINDS[name][1])
    changed = [dict(old) for old in rows]
    changed[row][name] = value
    before, after = (pa.Table.from_pylist(table, SCHEMA) for table in (rows, changed))
    same = before.equals(after) and repr(rows[row][name]) == repr(value)
    assert (digest(before) == digest(after)) == same


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (pa.string(), ["ab", "c"], ["a", "bc"]),
        (pa.string(), [None], [""]),
        (pa.binary(), [b"", None], [None, b""]),
        (pa.int64(), [None], [0]),
        (pa.float32(), [None], [0.0]),
        (pa.bool_(), [None], [False]),
        (pa.list_(pa.int8()), [[1, 2], [3]], [[1], [2, 3]]),
        (pa.list_(pa.int8()), [[]], [None]),
        (pa.list_(pa.int8()), [[0]], [[None]]),
        (pa.list_(pa.float32(), 1), [[0.0]], [None]),
        (pa.list_(pa.string()), [["ab"]], [["a", "b"]]),
        (pa.struct({"x": pa.int8()}), [{"x": None}], [None]),
        (UTC_MS, [None], [0]),
    ],
)
def test_what_looks_alike_differs(kind, one, other):
    assert digest(column(kind, *one)) != digest(column(kind, *other))


def test_types_names_and_order_matter():
    assert digest(column(pa.int32(), 1)) != digest(column(pa.int64(), 1))
    assert digest(column(pa.int32(), 1)) != digest(column(pa.int32(), 1).rename_columns(["d"]))
    assert digest(column(pa.int32(), 1, 2)) != digest(column(pa.int32(), 2, 1))


def test_bytes_behind_a_null_do_not_matter():
    """Arrow leaves what stands under a null undefined."""
    validity = pa.py_buffer(b"\x02")
    hidden = [
        pa.Array.from_buffers(pa.int32(), 2, [validity, pa.array([x, 5], pa.int32()).buffers()[1]])
        for x in (0, 77)
    ]
    assert digest(pa.table({"c": hidden[0]})) == digest(pa.table({"c": hidden[1]}))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.date32(), date(2024, 5, 1)),
        (pa.time64("us"), time(12, 30)),
        (pa.decimal128(9, 3), Decimal("1.250")),
        (pa.dictionary(pa.int8(), pa.string()), "spiral"),
        (pa.null(), None),
        (pa.binary(4), b"abcd"),
        (pa.large_string(), "x"),
        (pa.uint64(), 2**64 - 1),
    ],
)
def test_any_kind_of_column_that_a_catalogue_may_hold(kind, value):
    """A config may keep columns of any type of a user's table."""
    tables = [column(kind, value, None) for _ in range(3)]
    digests, _others = zip(*((digest(table), [value] * 99) for table in tables), strict=True)
    first = digests[0]
    assert set(digests) == {first}
    if value is not None:
        assert first != digest(column(kind, None, None))


def test_volatile_columns_are_left_out():
    marked = pa.schema(
        [pa.field("a", pa.int8()), pa.field("t", pa.int8(), metadata={VOLATILE: b"1"})]
    )
    one, other = (pa.table({"a": [1], "t": [t]}, schema=marked) for t in (1, 2))
    assert digest(one) == digest(other)
    volatile = [field.name for field in CUTOUTS if VOLATILE in (field.metadata or {})]
    assert volatile == ["payload", "fetched_at"]


def test_json_digest_ignores_the_order_of_keys_alone():
    assert sha256_json({"a": 1, "b": [2, 3]}) == sha256_json({"b": [2, 3], "a": 1})
    assert sha256_json({"a": [1, 2]}) != sha256_json({"a": [2, 1]})

"""A file of records: what a kill, a full disk or damage leaves of it."""

import errno
import json
import os
import random
import resource
import zlib
from contextlib import contextmanager, suppress
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.errors import UserError
from galaxymill.storage import records as module
from galaxymill.storage.records import open_records

KEY = {"stage": "any", "inputs": {"tile": "abc"}}
ROWS = [({"n": n}, bytes([n]) * (20 * n)) for n in range(4)]
TEXT = st.text(max_size=3)
PLAIN = st.dictionaries(TEXT, st.none() | st.integers() | TEXT, max_size=3)
SOME = st.lists(st.tuples(PLAIN, st.binary()), max_size=3)


class _Killed(Exception):
    pass


@contextmanager
def killed(product, key=KEY):
    """Open a file of records that stays, as that of a killed job does."""
    with suppress(_Killed), open_records(product, key) as records:
        yield records
        raise _Killed


def append(product, *rows, key=KEY):
    """Append records to what is there; give their places."""
    with killed(product, key) as records:
        return [records.append(*row) for row in rows]


def kept(product, key=KEY):
    """Read back all that is there."""
    with killed(product, key) as records:
        found = {place: row for place, *row in records.records()}
        assert all(records.read(place) == tuple(row) for place, row in found.items())
    return [tuple(row) for row in found.values()]


def by_hand(text, payload=b""):
    """Spell a record as it lies in the file."""
    checksum = zlib.crc32(text + payload)
    return pack("<III", len(text), len(payload), checksum) + text + payload


KEY_RECORD = by_hand(json.dumps({"format": 1, "key": KEY}).encode())


def path_of(product):
    return product.parent / f".{product.name}.part"


@pytest.fixture
def product(tmp_path):
    return tmp_path / "new" / "product.parquet"


@pytest.fixture
def path(product):
    return path_of(product)


@given(SOME, SOME, PLAIN)
def test_what_was_appended_comes_back(tmp_path_factory, first, second, key):
    product = tmp_path_factory.mktemp("records") / "product"
    append(product, *first, key=key)
    assert kept(product, key) == first
    append(product, *second, key=key)
    assert kept(product, key) == first + second


def test_it_lies_on_disk_as_it_always_did(product, path):
    append(product, ({"a": 1}, b"one"), ({}, b""))
    assert path.read_bytes() == KEY_RECORD + by_hand(b'{"a": 1}', b"one") + by_hand(b"{}")


def test_it_goes_when_the_work_is_done(product, path):
    with open_records(product, KEY) as records:
        records.append({}, b"")
        assert path.exists()
    assert not path.exists()


def test_another_key_starts_anew(product, path):
    append(product, ({}, b"x" * 10_000))
    assert kept(product, KEY | {"inputs": {"tile": "other"}}) == []
    assert path.stat().st_size < 1000
    assert kept(product) == []


def test_a_walk_sees_what_is_appended_meanwhile(product):
    append(product, *ROWS)
    with killed(product) as records:
        walk = records.records()
        found = [next(walk)]
        records.append({"new": True}, b"new")
        found += walk
    assert [row[1:] for row in found] == [*ROWS, ({"new": True}, b"new")]


def test_all_behind_a_cut_is_forgotten(product):
    append(product, *ROWS)
    with killed(product) as records:
        for place, plain, _ in records.records():
            if plain == {"n": 2}:
                records.cut(place)
        assert records.append({"new": True}, b"") == place
    assert kept(product) == [*ROWS[:2], ({"new": True}, b"")]


def test_a_cut_at_any_byte_loses_only_what_is_cut(product, path):
    places = append(product, *ROWS)
    whole = path.read_bytes()
    ends = [*places[1:], len(whole)]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        left = ROWS[: sum(end <= length for end in ends)]
        # Appended without a look at what is there, as often as after one.
        if length % 2:
            assert kept(product) == left
        append(product, ({"new": True}, b"new"))
        assert kept(product) == [*left, ({"new": True}, b"new")]


@given(st.data())
def test_a_damaged_byte_is_never_taken_for_a_record(tmp_path_factory, data):
    product = tmp_path_factory.mktemp("records") / "product"
    path = path_of(product)
    places = append(product, *ROWS)
    damaged = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(damaged) - 1))
    damaged[where] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    left = ROWS[: max(sum(place <= where for place in places) - 1, 0)]
    assert kept(product) == left
    append(product, ROWS[0])
    assert kept(product) == [*left, ROWS[0]]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0" * 5000,
        b"\xff" * 5000,
        random.Random(1).randbytes(100_000),
        pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 0),
        pack("<III", 2, 0, 0) + b"{}",
        by_hand(b"{}"),
        by_hand(b"no json"),
        by_hand(b"\xff\xfe"),
        by_hand(b"[" * 100_000),
        by_hand(b"[1, 2]"),
        by_hand(json.dumps({"key": KEY}).encode()),
        by_hand(json.dumps({"format": 0, "key": KEY}).encode()),
    ],
)
def test_garbage_is_discarded(product, path, garbage):
    path.parent.mkdir()
    path.write_bytes(garbage)
    assert kept(product) == []
    append(product, ROWS[1])
    assert kept(product) == [ROWS[1]]


@pytest.mark.parametrize("garbage", [b"", b"no json", b"\xff", b"[" * 100_000, b"3", b"[{}]"])
def test_a_record_without_a_description_is_dropped(product, path, garbage):
    path.parent.mkdir()
    path.write_bytes(KEY_RECORD + by_hand(b"{}") + by_hand(garbage) + by_hand(b"{}"))
    assert kept(product) == [({}, b"")]
    assert path.read_bytes() == KEY_RECORD + by_hand(b"{}")


@pytest.mark.parametrize("lengths", [(0xFFFFFFFF, 0xFFFFFFFF), (10, 0x7FFFFFFF), (0x7FFFFFFF, 10)])
def test_a_huge_length_allocates_nothing(product, path, lengths):
    """Not even in a file that is as large as it says."""
    append(product, ROWS[1])
    with path.open("ab") as file:
        file.write(pack("<III", *lengths, 0))
        file.truncate(8 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert kept(product) == [ROWS[1]]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert path.stat().st_size < 1000


def test_what_could_not_be_read_back_is_not_appended(product, monkeypatch):
    monkeypatch.setattr(module, "_MAX_RECORD_BYTES", 100)
    with killed(product) as records:
        records.append({}, bytes(98))
        with pytest.raises(ValueError, match="more than 100 bytes"):
            records.append({}, bytes(99))
    assert kept(product) == [({}, bytes(98))]


def fill_disk(monkeypatch, room):
    """Let only ``room`` more bytes be written, and few at a time."""
    pwrite = os.pwrite

    def until_full(file, data, place):
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = pwrite(file, data[: min(room, 7)], place)
        room -= written
        return written

    monkeypatch.setattr(os, "pwrite", until_full)


def fail(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("cannot_be_cut", [False, True])
def test_a_full_disk_keeps_what_was_there(product, path, cannot_be_cut):
    new = ({"new": True}, b"payload")
    append(product, *ROWS)
    whole = path.read_bytes()
    for room in range(len(by_hand(b'{"new": true}', b"payload"))):
        with killed(product) as records:
            with pytest.MonkeyPatch.context() as patch:
                fill_disk(patch, room)
                if cannot_be_cut:
                    assert len(list(records.records())) == len(ROWS)
                    patch.setattr(os, "ftruncate", fail)
                with pytest.raises(UserError) as caught:
                    records.append(*new, kept="all is well")
            message = f"{path}: cannot be written (No space left on device); all is well: make room"
            assert str(caught.value).startswith(message)
            assert (path.read_bytes() == whole) != (cannot_be_cut and room > 0)
            records.append(*new)
        assert kept(product) == [*ROWS, new]
        path.write_bytes(whole)


def test_a_disk_that_is_full_from_the_start(product, path, monkeypatch):
    fill_disk(monkeypatch, 20)
    message = r"cannot be written \(No space left on device\); nothing is kept yet: make room"
    with pytest.raises(UserError, match=message), open_records(product, KEY):
        pass
    monkeypatch.undo()
    assert path.stat().st_size == 0
    assert kept(product) == []


def test_a_file_that_changes_while_it_is_read(product, path):
    append(product, *ROWS)
    with killed(product) as records:
        *_, (place, _, _) = records.records()
        os.truncate(path, path.stat().st_size - 1)
        with pytest.raises(UserError, match="was changed"):
            records.read(place)
        with pytest.raises(UserError, match="was changed"):
            list(records.records())

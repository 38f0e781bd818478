"""The part file: what a kill, a full disk or a stranger's bytes leave of it."""

import json
import os
import random
import resource
import subprocess
import sys
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from struct import pack

import pytest

from galaxymill.errors import UserError
from galaxymill.surveys.base import Cutout, Target
from galaxymill.surveys.part_file import open_part

KEY = {"stage": "fetch", "inputs": {"tile": "abc"}}


def cutout(index, payload=b"pixels", status="ok"):
    target = Target(f"g{index}", 1.5, -2.5, 0.262, 32)
    return Cutout(target, status, payload, 200, "why", "/path?q", datetime.now(UTC))


@pytest.fixture
def product(tmp_path):
    return tmp_path / "cutouts" / "part.parquet"


@pytest.fixture
def path(product):
    return product.parent / f".{product.name}.part"


class _Killed(Exception):
    pass


def write(product, *cutouts, key=KEY, forget=()):
    """Leave a part file behind, as a killed job does."""
    with suppress(_Killed), open_part(product, key) as part:
        for one in cutouts:
            part.add(one)
        part.forget(forget)
        raise _Killed


def kept(product, key=KEY):
    """Read back all that is there; the file stays."""
    found = []
    with suppress(_Killed), open_part(product, key) as part:
        found += [part.read(object_id) for object_id in part.object_ids()]
        assert list(part.statuses()) == [one.status for one in found]
        raise _Killed
    return found


def record(text, payload=b""):
    return pack("<III", len(text), len(payload), zlib.crc32(payload, zlib.crc32(text))) + (
        text + payload
    )


def test_what_was_kept_comes_back(product, path):
    cutouts = [
        cutout(0),
        cutout(1, None, "no_coverage"),
        cutout(2, b"", "invalid"),
        replace(cutout(3, b"\0" * 100_000), fetched_at=None, http_status=None),
        replace(cutout(4), reason="Ünîcode 星 \ud800"),
    ]
    write(product, *cutouts)
    assert kept(product) == cutouts
    assert kept(product) == cutouts


def test_it_goes_when_the_work_is_done(product, path):
    with open_part(product, KEY) as part:
        part.add(cutout(0))
        assert path.exists()
    assert not path.exists()


def test_what_is_forgotten_is_asked_for_again(product):
    write(product, *map(cutout, range(4)), forget=["g1", "g3", "unknown"])
    assert [one.target.object_id for one in kept(product)] == ["g0", "g2"]
    write(product, cutout(3, b"new"))
    assert [one.payload for one in kept(product)] == [b"pixels", b"pixels", b"new"]


def test_the_last_of_two_answers_counts(product):
    write(product, cutout(0, b"old"), cutout(0, b"new"))
    assert [one.payload for one in kept(product)] == [b"new"]


def test_another_request_starts_anew(product, path):
    write(product, cutout(0, b"x" * 10_000))
    assert kept(product, {"stage": "fetch", "inputs": {"tile": "other"}}) == []
    assert path.stat().st_size < 1000


def test_a_cut_at_any_byte_loses_only_the_last(product, path):
    cutouts = [cutout(index, bytes([index]) * (10 * index)) for index in range(4)]
    write(product, *cutouts)
    whole = path.read_bytes()
    ends = [whole.index(f'"g{index}"'.encode()) for index in range(4)]
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        found = kept(product)
        assert found == cutouts[: len(found)]
        assert len(found) >= sum(end < length for end in ends) - 1
        write(product, cutout(9))
        assert [*found, cutout(9)][-1].target == kept(product)[-1].target


def test_a_flipped_byte_is_never_taken_for_an_answer(product, path):
    cutouts = [cutout(index, b"pixels" * 20) for index in range(3)]
    write(product, *cutouts)
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        found = kept(product)
        assert found == cutouts[: len(found)]
        assert len(found) < 3


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0" * 5000,
        b"\xff" * 5000,
        random.Random(1).randbytes(100_000),
        pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 0),
        pack("<III", 2, 0, 0) + b"{}",
        record(b"{}"),
        record(b"no json"),
        record(b"\xff\xfe"),
        record(b"[" * 100_000),
        record(b"[1, 2]"),
        record(json.dumps({"key": KEY}).encode()),
        record(json.dumps({"format": 0, "key": KEY}).encode()),
    ],
)
def test_garbage_is_discarded(product, path, garbage):
    path.parent.mkdir()
    path.write_bytes(garbage)
    assert kept(product) == []
    write(product, cutout(0))
    assert len(kept(product)) == 1


@pytest.mark.parametrize("garbage", [b"no json", b"[" * 100_000, b"3", b'{"cutout": 3}', b"{}"])
def test_a_stranger_behind_good_records_is_dropped(product, path, garbage):
    write(product, cutout(0))
    with path.open("ab") as file:
        file.write(record(garbage))
    assert len(kept(product)) == 1


@pytest.mark.parametrize("lengths", [(0xFFFFFFFF, 0xFFFFFFFF), (10, 0x7FFFFFFF), (0x7FFFFFFF, 10)])
def test_a_huge_length_allocates_nothing(product, path, lengths):
    """Not even in a file that is as large as it says."""
    write(product, cutout(0))
    with path.open("ab") as file:
        file.write(pack("<III", *lengths, 0))
        file.truncate(8 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(kept(product)) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert path.stat().st_size < 1000


def test_a_full_disk_is_one_clear_error_and_costs_one_galaxy(product, path):
    """A limit of the file's size stands for the disk's end."""
    code = f"""
import resource, sys
from pathlib import Path
from test_part_file import KEY, cutout
from galaxymill.errors import UserError
from galaxymill.surveys.part_file import open_part
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with open_part(Path({str(product)!r}), KEY) as part:
        for index in range(100):
            part.add(cutout(index, bytes([index]) * 3000))
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert not done.stderr
    (line,) = done.stdout.splitlines()
    found = kept(product)
    assert 10 < len(found) < 17
    assert f"{path}: cannot be written (File too large); {len(found)} galaxies are kept" in line
    assert [one.payload for one in found] == [bytes([n]) * 3000 for n in range(len(found))]
    assert path.stat().st_size < 50_000


def test_a_file_that_changes_while_it_is_read(product, path):
    with suppress(_Killed), open_part(product, KEY) as part:
        part.add(cutout(0))
        os.truncate(path, path.stat().st_size - 1)
        with pytest.raises(UserError, match="was changed"):
            part.read("g0")
        raise _Killed

"""The part file: what a kill, a full disk or a stranger's records leave of it."""

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from galaxymill.errors import UserError
from galaxymill.storage.records import open_records
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
        found += [part.read(object_id) for object_id, *_ in part.outcomes()]
        assert list(part.statuses()) == [one.status for one in found]
        raise _Killed
    return found


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


@pytest.mark.parametrize("stranger", [{"cutout": 3}, {"cutout": {"target": {}}}, {"forget": 3}, {}])
def test_a_stranger_behind_good_records_is_dropped(product, stranger):
    good = [cutout(0), cutout(1)]
    write(product, good[0])
    with suppress(_Killed), open_records(product, KEY) as records:
        records.append(stranger, b"")
        records.append({"forget": ["g0"]}, b"")
        raise _Killed
    assert kept(product) == good[:1]
    write(product, good[1])
    assert kept(product) == good


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

"""Products appear whole or not at all, and one process at a time writes them."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from galaxymill.errors import UserError
from galaxymill.storage.atomic import LOCK_WAIT_VARIABLE, atomic_file, atomic_tree, exclusive

HOLDER = """
import sys, time
from pathlib import Path
from galaxymill.storage.atomic import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""

WAITER = """
import sys
from pathlib import Path
from galaxymill.storage.atomic import exclusive
print("ready", flush=True)
with exclusive(Path(sys.argv[1])) as waited:
    print("waited:", waited)
"""


@pytest.fixture
def product(tmp_path):
    return tmp_path / "tile.parquet"


@pytest.fixture
def holder(product):
    """Another process that holds the product's lock until told a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(product)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_takes_its_place(product):
    product.write_text("old")
    with atomic_file(product) as temporary:
        temporary.write_text("new")
        assert product.read_text() == "old"
        assert temporary.parent == product.parent
    assert product.read_text() == "new"
    assert names(product.parent) == ["tile.parquet"]


def test_old_file_stays_when_the_block_raises(product):
    product.write_text("old")

    def fail():
        with atomic_file(product) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert product.read_text() == "old"
    assert names(product.parent) == ["tile.parquet"]


def test_a_block_that_writes_nothing_leaves_the_old_file(product):
    product.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(product):
        pass
    assert product.read_text() == "old"


def test_folders_are_made(tmp_path):
    with atomic_file(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def old_tree(folder):
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "old").write_text("old")
    (folder / "notes").write_text("old")
    (folder / "SHA256SUMS").write_text("old")


def write_tree(folder):
    (folder / "data").mkdir()
    (folder / "data" / "new").write_text("new")
    (folder / "A").write_text("new")
    (folder / "SHA256SUMS").write_text("new")
    (folder / "zoo").write_text("new")


def test_tree_is_swapped_in(tmp_path):
    folder = tmp_path / "release"
    old_tree(folder)
    with atomic_tree(folder, "SHA256SUMS") as temporary:
        write_tree(temporary)
        assert (folder / "SHA256SUMS").read_text() == "old"
    assert names(folder / "data") == ["new"]
    assert (folder / "SHA256SUMS").read_text() == "new"
    assert not [name for name in names(folder) if name.startswith(".")]


def test_the_naming_file_moves_last_and_is_absent_meanwhile(tmp_path, monkeypatch):
    folder = tmp_path / "release"
    old_tree(folder)
    moved = []
    replace = type(tmp_path).replace

    def watch(path, target):
        moved.append(path.name)
        assert not (folder / "SHA256SUMS").exists()
        return replace(path, target)

    with atomic_tree(folder, "SHA256SUMS") as temporary:
        write_tree(temporary)
        monkeypatch.setattr(type(tmp_path), "replace", watch)
    assert moved[-1] == "SHA256SUMS"
    assert sorted(moved) == ["A", "SHA256SUMS", "data", "zoo"]


def test_a_crash_amid_the_swap_leaves_no_naming_file(tmp_path, monkeypatch):
    folder = tmp_path / "release"
    old_tree(folder)

    def crash(path, target):
        raise OSError("disk full")

    def swap():
        with atomic_tree(folder, "SHA256SUMS") as temporary:
            write_tree(temporary)
            monkeypatch.setattr(type(tmp_path), "replace", crash)

    with pytest.raises(OSError, match="disk full"):
        swap()
    assert not (folder / "SHA256SUMS").exists()


def test_old_tree_stays_when_the_block_raises(tmp_path):
    folder = tmp_path / "release"
    old_tree(folder)

    def fail():
        with atomic_tree(folder, "SHA256SUMS") as temporary:
            write_tree(temporary)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(folder) == ["SHA256SUMS", "data", "notes"]
    assert names(folder / "data") == ["old"]
    assert (folder / "SHA256SUMS").read_text() == "old"


def test_lock_is_free_and_removed_afterwards(product):
    for _ in range(2):
        with exclusive(product) as waited:
            assert waited is False
            assert names(product.parent) == [".tile.parquet.lock"]
        assert names(product.parent) == []


def test_lock_is_removed_when_the_block_raises(product):
    with pytest.raises(ZeroDivisionError), exclusive(product):
        raise ZeroDivisionError
    assert names(product.parent) == []


def test_second_process_waits_for_the_first(product, holder):
    second = subprocess.Popen(
        [sys.executable, "-c", WAITER, str(product)], stdout=subprocess.PIPE, text=True
    )
    assert second.stdout.readline() == "ready\n"
    time.sleep(0.6)
    assert second.poll() is None
    holder.communicate("\n")
    out, _ = second.communicate(timeout=20)
    assert out == "waited: True\n"
    assert names(product.parent) == []


def test_waiting_ends_in_a_refusal_that_names_the_holder(product, holder, monkeypatch):
    monkeypatch.setenv(LOCK_WAIT_VARIABLE, "0.3")
    expected = re.escape(f"(host {socket.gethostname()}, pid {holder.pid})")
    with pytest.raises(UserError, match=expected) as refusal, exclusive(product):
        pass
    assert str(product) in str(refusal.value)
    assert LOCK_WAIT_VARIABLE in str(refusal.value)


def test_lock_of_a_killed_process_is_free_at_once(product, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert names(product.parent) == [".tile.parquet.lock"]
    with exclusive(product) as waited:
        assert waited is False
    assert names(product.parent) == []


def test_locks_of_two_products_do_not_meet(product, holder):
    with exclusive(product.with_name("other.parquet")) as waited:
        assert waited is False


def test_a_wait_that_is_no_number_is_refused(product, monkeypatch):
    monkeypatch.setenv(LOCK_WAIT_VARIABLE, "soon")
    with pytest.raises(UserError, match=LOCK_WAIT_VARIABLE), exclusive(product):
        pass

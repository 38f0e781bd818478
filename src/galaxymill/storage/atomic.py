"""Write a product whole or not at all, and never by two writers at once."""

import fcntl
import glob
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxymill.errors import UserError

logger = logging.getLogger("galaxymill")

LOCK_WAIT_VARIABLE = "GALAXYMILL_LOCK_WAIT_S"
LOCK_WAIT_S = 1800.0
_POLL_S = 0.2


@contextmanager
def exclusive(product: Path) -> Iterator[bool]:
    """Hold the lock of one product.

    A killed workflow leaves its jobs running, and a rerun then starts a second writer beside
    the orphan. The second waits here for the first; when that takes longer than
    ``GALAXYMILL_LOCK_WAIT_S`` seconds (default 1800) it is refused.

    The lock is ``.{name}.lock`` beside the product.

    Yields
    ------
    bool
        Whether another writer held the lock first, so that its product may serve.

    Raises
    ------
    UserError
        When the other writer does not finish; names its host and process id.
    """
    folder = product.parent
    if product.is_dir():
        raise UserError(f"{product}: is a folder; name the file to write")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: no such folder can be made ({error.strerror})") from error
    lock = folder / f".{product.name}.lock"
    wait_s = _wait_s()
    deadline = time.monotonic() + wait_s
    waited = False
    while (descriptor := _try_lock(lock)) is None:
        if not waited:
            logger.info("waiting: %s is being written by %s", product, _holder(lock))
        waited = True
        if time.monotonic() > deadline:
            raise UserError(
                f"{product}: another process is writing it ({_holder(lock)}); wait for it or end "
                f"it, then run again (waited {wait_s:.0f} s, {LOCK_WAIT_VARIABLE} changes that)"
            )
        time.sleep(_POLL_S)
    try:
        _sweep(product)
        holder = {"host": socket.gethostname(), "pid": os.getpid()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield waited
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(product: Path) -> None:
    """Remove what killed writers of this product have left; we hold its lock."""
    for leftover in product.parent.glob(f".{glob.escape(product.name)}.*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _wait_s() -> float:
    value = os.environ.get(LOCK_WAIT_VARIABLE, str(LOCK_WAIT_S))
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f"{LOCK_WAIT_VARIABLE}: {value!r} is not a number of seconds") from error


def _try_lock(lock: Path) -> int | None:
    """Open and lock ``lock``; None when someone else holds it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # POSIX record locks: they end with the process and work on network file systems.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last holder removes the file: what we locked must still be the one that is there.
        if os.fstat(descriptor).st_ino == os.stat(lock).st_ino:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _holder(lock: Path) -> str:
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
        return f"host {holder['host']}, pid {holder['pid']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "host unknown"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Offer a temporary file beside ``path`` that takes its place when the block ends well.

    A reader sees the old one or the whole new one, also after a power cut. When the block raises,
    the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_tree(folder: Path, named_last: str) -> Iterator[Path]:
    """Offer a temporary folder whose files replace those of ``folder`` when the block ends well.

    The tree is built beside the old one and swapped in; ``named_last``, the file that names
    the rest and that a workflow declares as the product, is moved last. Until then it is
    absent, so a reader never takes a mixture for a product. ``folder`` itself stays in place: its
    lock lives there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{named_last}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            sync(path)
        (folder / named_last).unlink(missing_ok=True)
        entries = sorted(temporary.iterdir(), key=lambda entry: entry.name == named_last)
        for entry in entries:
            target = folder / entry.name
            if target.is_dir():
                shutil.rmtree(target)
            entry.replace(target)
        sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

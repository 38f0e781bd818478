"""Whether a product is being written: its lock is read but not taken."""

import fcntl
import json
import os
import socket
import struct
import time
from pathlib import Path

_FLOCK = "hhqqi0q"
_FRESH_S = 120.0


def is_fresh(written: float) -> bool:
    """Tell whether a file was written in the last two minutes."""
    return time.time() - written < _FRESH_S


def is_written(lock: Path, log_time: float) -> bool:
    """Tell whether a product is being written, by its lock and the time of its log (0: no log).

    A killed writer leaves a lock file that nobody holds. Not every shared disk carries locks from
    node to node: another node's job counts as running, too, while its log grows.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if _is_held(descriptor):
            return True
        elsewhere = _host(os.read(descriptor, 1000)) != socket.gethostname()
    finally:
        os.close(descriptor)
    return elsewhere and is_fresh(log_time)


def _is_held(descriptor: int) -> bool:
    """Ask the system whether another process holds the lock."""
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, wanted)
    except OSError:
        return False
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _host(text: bytes) -> str:
    try:
        return str(json.loads(text)["host"])
    except (ValueError, KeyError, TypeError):
        return ""

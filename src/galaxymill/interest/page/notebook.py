"""The file to which ratings are appended: whole rows, on disk before anybody is told so.

Several processes may append to one file. What a kill or a full disk has left of a row is taken
away when the file is next opened: nobody was ever told that it was kept.
"""

import csv
import fcntl
import io
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from galaxymill.errors import UserError
from galaxymill.interest.ratings import COLUMNS
from galaxymill.storage.atomic import sync

_HEADER = ",".join(COLUMNS).encode()
_BOM = b"\xef\xbb\xbf"

Row = tuple[str, str, str, str, str]
"""A value of each of `COLUMNS`."""

logger = logging.getLogger("galaxymill")


class Notebook:
    """A table of ratings, open for rows to be appended; it is made with the first of them.

    Raises
    ------
    UserError
        When it is a table of other columns, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._end = 0
        if path.suffix != ".csv":
            raise UserError(
                f"{path}: ratings are written as CSV; name a file that ends in .csv first, and "
                "tables of other kinds behind it"
            )
        try:
            if path.exists():
                with self._opened():
                    pass
            elif not os.access(_existing(path.parent), os.W_OK):
                raise PermissionError(0, "no permission")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error

    def size(self) -> int:
        """Bytes of the file; 0 where there is none."""
        return self.path.stat().st_size if self.path.exists() else 0

    def knows(self, size: int) -> None:
        """Take note that what it held when it was of this size is known."""
        self._end = size

    @property
    def was_changed(self) -> bool:
        """Whether others have written what is not known yet."""
        return self.size() != self._end

    def append(self, rows: Sequence[Row]) -> None:
        """Append rows, all or none; they are on disk when this returns.

        Raises OSError when the disk takes no more, or the file is not there to be written.
        """
        data = "".join(",".join(map(_quoted, row)) + "\n" for row in rows).encode()
        with self._lock, self._opened() as (file, end):
            # What others have written since is still to be read.
            known = end == self._end
            data = data if end else _HEADER + b"\n" + data
            try:
                _write(file, data)
                os.fsync(file)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file, end)
                raise
            if not end:
                sync(self.path.parent)
            if known:
                self._end = end + len(data)

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, int]]:
        """Open and lock the file; give it and its end, behind which nothing half is left."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Anew each time: an editor may have put another file in its place.
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file, self._heal(file, os.fstat(file).st_size)
        finally:
            os.close(file)

    def _heal(self, file: int, size: int) -> int:
        """Let the file end behind a whole row; give that end."""
        if size == self._end and os.pread(file, 1, max(size - 1, 0)) in (b"", b"\n"):
            return size
        data = os.pread(file, size, 0)
        end = _whole(data)
        head, rest = data.partition(b"\n")[0].removeprefix(_BOM).strip(), data[end:]
        if head != _HEADER and (end or not _HEADER.startswith(head)):
            raise UserError(
                f"{self.path}: is no table of {', '.join(COLUMNS)}; name a new file first, and "
                "this one behind it"
            )
        if head == _HEADER and _is_row(rest):
            # An editor has left the last line break away.
            os.write(file, b"\n")
            return size + 1
        if rest:
            logger.warning("%s: its last row is not whole: %r is removed", self.path, rest[:200])
            os.ftruncate(file, end)
        return end


def _whole(data: bytes) -> int:
    """Where the last whole row ends: behind the last line break that is not in quotes."""
    letters = np.frombuffer(data, np.uint8)
    outside = np.cumsum(letters == ord('"')) % 2 == 0
    breaks = np.flatnonzero((letters == ord("\n")) & outside)
    return int(breaks[-1]) + 1 if len(breaks) else 0


def _quoted(text: str) -> str:
    # Python's own writer leaves a carriage return without quotes.
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def _is_row(data: bytes) -> bool:
    if data.count(b'"') % 2:
        return False
    rows = list(csv.reader(io.StringIO(data.decode(errors="replace"), newline="")))
    return len(rows) == 1 and len(rows[0]) == len(COLUMNS)


def _write(file: int, data: bytes) -> None:
    """Write in one call: others who append at the same time never come in between."""
    if os.write(file, data) < len(data):
        # The next byte says why.
        os.write(file, b"\n")
        raise OSError(0, "only a part could be written")


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.resolve().parents) if one.exists())

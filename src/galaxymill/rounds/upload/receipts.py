"""What has been uploaded, a line for each step of a subject, on disk before the next is taken."""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from galaxymill.errors import UserError

COLUMNS = ("object_id", "subject_id", "subject_set", "when", "linked")


class Receipts:
    """The receipts of one manifest; see `open_receipts`.

    Attributes
    ----------
    subject_set : str
        Address of the set that they are of; empty while there is none.
    subjects : dict of str to str
        Galaxies with the subjects that carry them, their images with them.
    linked : set of str
        Galaxies whose subjects are in the set.
    begun : set of str
        Galaxies of which a subject was asked for and no answer is known.
    """

    def __init__(self, path: Path, file: int) -> None:
        self.path, self._file, self._lock = path, file, Lock()
        self.subject_set = ""
        self.subjects: dict[str, str] = {}
        self.linked: set[str] = set()
        self.begun: set[str] = set()
        for object_id, subject_id, subject_set, _, linked in self._rows():
            self.subject_set = subject_set
            self._take(object_id, subject_id, linked == "yes")

    def write(self, object_id: str, subject_id: str = "", linked: bool = False) -> None:
        """Write down, before anything else is done, how far a galaxy has come.

        Without ``subject_id``, a subject is about to be asked for. Raises `UserError` when the disk
        takes no more.
        """
        when = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            self._append((object_id, subject_id, self.subject_set, when, "yes" if linked else "no"))
            self._take(object_id, subject_id, linked)

    def forget(self, object_id: str) -> None:
        """Forget a subject that the server has no more."""
        self.subjects.pop(object_id, None)
        self.linked.discard(object_id)

    def _take(self, object_id: str, subject_id: str, linked: bool) -> None:
        if subject_id:
            self.subjects[object_id] = subject_id
            self.begun.discard(object_id)
        else:
            self.forget(object_id)
            self.begun.add(object_id)
        if linked:
            self.linked.add(object_id)

    def _append(self, row: tuple[str, ...]) -> None:
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
        data = text.getvalue().encode()
        try:
            if os.write(self._file, data) < len(data):
                raise OSError("the disk is full")
            os.fsync(self._file)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror or error}); make room, then run "
                "again to go on from there"
            ) from error

    def _rows(self) -> Iterator[list[str]]:
        """Read the lines that were written; one that a kill has cut off is dropped."""
        data = self.path.read_bytes()
        place = end = quotes = 0
        for line in data.splitlines(keepends=True):
            place += len(line)
            quotes += line.count(b'"')
            if line.endswith(b"\n") and quotes % 2 == 0:
                end = place
        os.ftruncate(self._file, end)
        try:
            # Without translation of line ends, which may stand in a name.
            rows = list(csv.reader(io.StringIO(data[:end].decode(), newline="")))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{self.path}: no receipts ({error}); move it away") from error
        if not rows:
            self._append(COLUMNS)
        elif tuple(rows[0]) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
            raise UserError(f"{self.path}: no receipts of an upload; move it away")
        yield from rows[1:]


@contextmanager
def open_receipts(path: Path) -> Iterator[Receipts]:
    """Open the receipts of a manifest, whose lock the caller holds; they are made where absent."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        yield Receipts(path, file)
    finally:
        os.close(file)

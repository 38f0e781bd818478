"""What has come of a file so far, and a note of what it is a part of; both survive a kill."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from galaxymill.errors import UserError
from galaxymill.storage.atomic import atomic_file


class Part:
    """The beginning of a file, kept beside it until the rest has come.

    It is ``.{name}.part``, with a note ``.{name}.part.json``; that of another ``url`` is not gone
    on with. ``checked``: whether a checksum over the whole is known. Then the rest may come from a
    server that cannot tell whether its file has changed meanwhile.
    """

    def __init__(self, out: Path, url: str, checked: bool) -> None:
        self.path = out.parent / f".{out.name}.part"
        self._note = out.parent / f".{out.name}.part.json"
        self._url, self._checked = url, checked

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def whole(self) -> bool:
        """Whether all of the file is here."""
        note = self._read_note()
        return bool(note) and self.path.is_file() and self.size == note.get("total")

    def conditions(self) -> dict[str, str]:
        """Headers that ask for the rest alone; none when the whole must be asked for."""
        note = self._read_note()
        validator = note.get("validator")
        if not (note and self.size and (validator or self._checked)):
            return {}
        headers = {"Range": f"bytes={self.size}-"}
        # RFC 9110, 13.1.5: another file than the one this is a part of then comes whole.
        return headers | ({"If-Range": str(validator)} if validator else {})

    def begin(self, headers: Mapping[str, str], total: int | None) -> None:
        """Start with an empty part, and note what the headers of an answer say of the file.

        ``total`` is the length of the whole, where known.
        """
        self.path.write_bytes(b"")
        tag = headers.get("etag", "")
        # A weak tag stands for files that mean the same, not for the same bytes.
        strong = tag if tag and not tag.startswith("W/") else headers.get("last-modified")
        note = {"url": self._url, "validator": strong, "total": total}
        with atomic_file(self._note) as temporary:
            temporary.write_text(json.dumps(note), encoding="utf-8")

    def append(self, pieces: Iterable[bytes]) -> None:
        """Write what comes, which stays whatever follows; UserError when the disk is full."""
        try:
            with self.path.open("ab") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); what has come is kept: make "
                "room, then run again"
            ) from error

    def discard(self) -> None:
        """Remove the part and its note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _read_note(self) -> dict[str, Any]:
        """Give the note; empty when there is none, or one of another address."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and note.get("url") == self._url else {}

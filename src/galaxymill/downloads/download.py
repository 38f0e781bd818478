"""Stage ``download``: a published file, resumed where it broke off, checked, never half there."""

import hashlib
import json
import logging
import os
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxymill.downloads.settings import DownloadSettings
from galaxymill.errors import UserError
from galaxymill.progress import progress
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.web.answer import Answer, TryAgain
from galaxymill.web.http import Http, no_answer
from galaxymill.web.network import Network

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("galaxymill")

_MB = 1_000_000
_WORTHWHILE_BYTES = _MB
"""An attempt that brought so much was not in vain: tries are counted anew after it."""
_COMPRESSED = (".gz", ".tgz", ".fz", ".bz2", ".xz", ".zip")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(source: DownloadSettings, out: Path) -> None:
    """Bring a file here, byte by byte as it was served.

    What came before a kill or a broken connection is not asked for again where the server
    serves ranges. A file that is there already, with the checksum that is asked for, stays.
    Raises UserError when the server does not send it, or it is too long or has another checksum.
    """
    with exclusive(out):
        if source.checksum and out.is_file() and _digest(out, source) == source.checksum[1]:
            logger.info("download: %s is there already", out)
            return
        part = _Part(out, source)
        http = Http(Network())
        try:
            while not part.whole and not _ask(http, part):
                pass
        finally:
            http.close()
        _verify(part)
        size = part.size
        with atomic_file(out) as temporary:
            part.path.replace(temporary)
        part.discard()
    logger.info("download: %s, %d bytes", out, size)


class _Part:
    """The beginning of a file, kept beside it until the rest has come.

    It is ``.{name}.part``, with a note ``.{name}.part.json`` of what it is a part of; both survive
    a kill. One of another address is not gone on with.
    """

    def __init__(self, out: Path, source: DownloadSettings) -> None:
        self.source, self.url = source, source.url
        self.path = out.parent / f".{out.name}.part"
        self._note = out.parent / f".{out.name}.part.json"

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def whole(self) -> bool:
        """Whether all of the file is here."""
        return self.path.is_file() and self.size == self._read_note().get("total")

    def conditions(self) -> dict[str, str]:
        """Headers that ask for the rest alone; none when the whole must be asked for."""
        note = self._read_note()
        validator = note.get("validator")
        # By a checksum over the whole it shows later whether the file has changed meanwhile.
        if not (note and self.size and (validator or self.source.checksum)):
            return {}
        headers = {"Range": f"bytes={self.size}-"}
        # RFC 9110, 13.1.5: another file than the one this is a part of then comes whole.
        return headers | ({"If-Range": str(validator)} if validator else {})

    def begin(self, answer: Answer, total: int | None) -> None:
        """Start with an empty part of a file that has ``total`` bytes, where that is known."""
        self.path.write_bytes(b"")
        tag = answer.headers.get("etag", "")
        # A weak tag stands for files that mean the same, not for the same bytes.
        strong = tag if tag and not tag.startswith("W/") else answer.headers.get("last-modified")
        note = {"url": self.url, "validator": strong, "total": total}
        with atomic_file(self._note) as temporary:
            temporary.write_text(json.dumps(note), encoding="utf-8")

    def append(self, response: "httpx.Response", total: int | None) -> None:
        """Write what comes, which stays whatever follows, and show how much of it has come."""
        name = self.url.split("?")[0].rsplit("/", 1)[-1]
        bar = progress(f"download {name}", -(-total // _MB), "MB") if total else nullcontext(int)
        size, shown = self.size, 0
        try:
            with bar as advance, self.path.open("ab") as file:
                for piece in response.iter_raw():
                    size += len(piece)
                    if size > self.source.bytes:
                        raise self.too_long()
                    done = -(-size // _MB) if size == total else size // _MB
                    if done > shown:
                        advance(done - shown)
                        shown = done
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); what has come is kept: make "
                "room, then run again"
            ) from error

    def too_long(self) -> UserError:
        """Remove the part, and give the error."""
        self.discard()
        return UserError(
            f"{self.url}: is longer than {self.source.bytes} bytes; if it is meant, allow more "
            "(bytes in the config, --bytes on the command line)"
        )

    def discard(self) -> None:
        """Remove the part and its note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _read_note(self) -> dict[str, Any]:
        """Read the note; empty when there is none, or one of another address."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and note.get("url") == self.url else {}


def _ask(http: Http, part: _Part) -> bool:
    """Ask until something comes of it; True when the file is whole."""
    try:
        return http.repeated(lambda: _attempt(http, part))
    except TryAgain as last:
        raise UserError(
            f"{part.url}: {last.answer.reason} in the last of {http.network.attempts} tries; "
            "what has come is kept: run again later"
        ) from last


def _attempt(http: Http, part: _Part) -> bool:
    """Make one request; see `_ask`. Raises TryAgain when another one may bring more."""
    import httpx

    before = part.size
    try:
        with http.stream("GET", part.url, headers=part.conditions()) as response:
            answer = http.head(response, part.url)
            if not answer.reason:
                if _receive(response, answer, part):
                    return True
                answer = replace(answer, http_status=None, reason="another part than was asked for")
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        answer = no_answer(error, part.url)
    if answer.http_status == 416 and before:
        # No part of the file that is there now.
        part.discard()
    elif not answer.transient:
        raise UserError(f"{part.url}: {answer.reason}; see whether the address is right")
    elif part.size >= before + _WORTHWHILE_BYTES:
        return False
    raise TryAgain(answer)


def _receive(response: "httpx.Response", answer: Answer, part: _Part) -> bool:
    """Write the body of a good answer to the part; True when the file is whole."""
    encoding = answer.headers.get("content-encoding", "identity")
    name = part.url.split("?")[0].lower()
    if encoding not in ("identity", "") and not name.endswith(_COMPRESSED):
        # The server has compressed it on its own account: its bytes are not the file's.
        raise UserError(
            f"{part.url}: the server sends it as {encoding}, though the file was asked for as "
            "it is; take another mirror"
        )
    start, total = _place(answer)
    if total is not None and total > part.source.bytes:
        raise part.too_long()
    if start == 0:
        part.begin(answer, total)
    elif start != part.size:
        part.discard()
        return False
    part.append(response, total)
    return total is None or part.size == total


def _place(answer: Answer) -> tuple[int, int | None]:
    """Where in the file an answer begins, and how long the file is, if that is known."""
    if answer.http_status == 206:
        sent = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if sent is None:
            return -1, None
        return int(sent[1]), int(sent[2]) if sent[2].isdigit() else None
    length = answer.headers.get("content-length", "")
    return 0, int(length) if length.isdigit() else None


def _digest(path: Path, source: DownloadSettings) -> str:
    kind = source.checksum[0] if source.checksum else "sha256"
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _verify(part: _Part) -> None:
    """Compare the whole with its checksum; without one, log the one that it has."""
    digest = _digest(part.path, part.source)
    if part.source.checksum is None:
        logger.info("download: no checksum was given; this file has sha256: %s", digest)
        return
    kind, expected = part.source.checksum
    if digest != expected:
        part.discard()
        raise UserError(
            f"{part.url}: its {kind} is {digest}, but {expected} is expected; the file was not "
            "kept. Run again if it was damaged on its way; else see which of the two is right"
        )

"""Stage ``download``: a published file, resumed where it broke off, checked, never half there."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from galaxymill.downloads.part import Part
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
        part = Part(out, source.url, checked=source.checksum is not None)
        http = Http(Network())
        try:
            while not part.whole and not _ask(http, source, part):
                pass
        finally:
            http.close()
        _verify(part, source)
        size = part.size
        with atomic_file(out) as temporary:
            part.path.replace(temporary)
        part.discard()
    logger.info("download: %s, %d bytes", out, size)


def _ask(http: Http, source: DownloadSettings, part: Part) -> bool:
    """Ask until something comes of it; tell whether the file is whole."""
    try:
        return http.repeated(lambda: _attempt(http, source, part))
    except TryAgain as last:
        raise UserError(
            f"{source.url}: {last.answer.reason} in the last of {http.network.attempts} tries; "
            "what has come is kept: run again later"
        ) from last


def _attempt(http: Http, source: DownloadSettings, part: Part) -> bool:
    """Make one request; see `_ask`. Raises TryAgain when another one may bring more."""
    import httpx

    before = part.size
    try:
        with http.stream("GET", source.url, headers=part.conditions()) as response:
            answer = http.head(response, source.url)
            if not answer.reason:
                if _receive(response, answer, source, part):
                    return True
                answer = replace(answer, http_status=None, reason="another part than was asked for")
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        answer = no_answer(error, source.url)
    if answer.http_status == 416 and before:
        # No part of the file that is there now.
        part.discard()
    elif not answer.transient:
        raise UserError(f"{source.url}: {answer.reason}; see whether the address is right")
    elif part.size >= before + _WORTHWHILE_BYTES:
        return False
    raise TryAgain(answer)


def _receive(
    response: "httpx.Response", answer: Answer, source: DownloadSettings, part: Part
) -> bool:
    """Write the body of a good answer to the part; tell whether the file is whole."""
    _refuse_compressed(answer.headers, source)
    start, total = _place(answer)
    if total is not None and total > source.bytes:
        raise _too_long(source, part)
    if start == 0:
        part.begin(answer.headers, total)
    elif start != part.size:
        part.discard()
        return False
    part.append(_watched(response.iter_raw(), start, total, source, part))
    return total is None or part.size == total


def _place(answer: Answer) -> tuple[int, int | None]:
    """Tell where in the file an answer begins, and how long the file is, if that is known."""
    if answer.http_status == 206:
        sent = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if sent is None:
            return -1, None
        return int(sent[1]), int(sent[2]) if sent[2].isdigit() else None
    length = answer.headers.get("content-length", "")
    return 0, int(length) if length.isdigit() else None


def _refuse_compressed(headers: Mapping[str, str], source: DownloadSettings) -> None:
    """Refuse what a server has compressed on its own account: its bytes are not the file's."""
    encoding = headers.get("content-encoding", "identity")
    name = source.url.split("?")[0].lower()
    if encoding not in ("identity", "") and not name.endswith(_COMPRESSED):
        raise UserError(
            f"{source.url}: the server sends it as {encoding}, though the file was asked for as "
            "it is; take another mirror"
        )


def _too_long(source: DownloadSettings, part: Part) -> UserError:
    part.discard()
    return UserError(
        f"{source.url}: is longer than {source.bytes} bytes; if it is meant, allow more (bytes in "
        "the config, --bytes on the command line)"
    )


def _watched(
    pieces: Iterable[bytes], start: int, total: int | None, source: DownloadSettings, part: Part
) -> Iterator[bytes]:
    """Pass pieces on while the file is not too long, and show in MB how much of it has come."""
    name = source.url.split("?")[0].rsplit("/", 1)[-1]
    bar = progress(f"download {name}", -(-total // _MB), "MB") if total else nullcontext(int)
    size, shown = start, 0
    with bar as advance:
        for piece in pieces:
            size += len(piece)
            if size > source.bytes:
                raise _too_long(source, part)
            done = -(-size // _MB) if size == total else size // _MB
            if done > shown:
                advance(done - shown)
                shown = done
            yield piece


def _digest(path: Path, source: DownloadSettings) -> str:
    kind = source.checksum[0] if source.checksum else "sha256"
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _verify(part: Part, source: DownloadSettings) -> None:
    """Compare the whole with its checksum; without one, tell the user what to write down."""
    digest = _digest(part.path, source)
    if source.checksum is None:
        logger.info("download: no checksum was given; this file has sha256: %s", digest)
        return
    kind, expected = source.checksum
    if digest != expected:
        part.discard()
        raise UserError(
            f"{source.url}: its {kind} is {digest}, but {expected} is expected; the file was not "
            "kept. Run again if it was damaged on its way; else see which of the two is right"
        )

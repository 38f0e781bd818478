"""VOTables from outside: asked for by pyvo through our own client, bounded, with their errors."""

import html
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from galaxymill.decoding.decode import PayloadError
from galaxymill.web.answer import Answer, Verdict
from galaxymill.web.http import Http
from galaxymill.web.network import ServiceError

if TYPE_CHECKING:
    import requests

_MAX_REASON = 200
_MAX_ERROR_BYTES = 100_000
_HEAD_BYTES = 10_000
_VOTABLE = re.compile(rb"<(?:\w+:)?VOTABLE\b")
_ERROR = re.compile(
    rb"<(?:\w+:)?INFO\b(?=[^>]*QUERY_STATUS)(?=[^>]*ERROR)[^>]*>(?:\s*<!\[CDATA\[)?([^<\]]*)", re.I
)
_PARAM = re.compile(rb"(<(?:\w+:)?PARAM)(\s(?:[^<>\"']|\"[^<\"]*\"|'[^<']*')*>)")
_PLAIN = b' datatype="unicodeChar" arraysize="*"'
_TYPE = re.compile(rb"\s(?:datatype|arraysize|xtype|unit)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_OUTSIZE = re.compile(rb"\b(?:nrows|arraysize)\s*=\s*[\"'][^\"']*\d{7}")


class ArchiveError(Exception):
    """One query that failed; ``answer`` is what came instead of an image."""

    def __init__(
        self, reason: str, http_status: int | None = None, answer: Answer | None = None
    ) -> None:
        super().__init__(reason)
        self.http_status = http_status
        self.answer = answer


class FileInsteadError(ArchiveError):
    """A file came where a table was asked for."""


def session(http: Http, group: str = "") -> "requests.Session":
    """Make a session for pyvo that makes its requests by `Http.ask`, or raises ArchiveError."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPResponse

    class Adapter(HTTPAdapter):
        def send(self, request: Any, *args: object, **options: object) -> requests.Response:
            kind = request.headers.get("Content-Type")
            answer = http.ask(
                request.method,
                request.url,
                gives_up=_fails_again,
                group=group,
                judge=_judge_table,
                content=request.body,
                headers={"Content-Type": kind} if kind else {},
                unread=is_file,
            )
            if answer.verdict.status != "ok":
                reason = answer.why if answer.http_status == 200 else explain(answer)
                raise ArchiveError(reason, answer.http_status)
            if is_file(answer.headers.get("content-type", ""), answer.payload):
                raise FileInsteadError("an image, not a table", answer.http_status)
            body = io.BytesIO(_with_plain_parameters(answer.payload))
            raw = HTTPResponse(body, status=200, preload_content=False)
            return self.build_response(request, raw)

    made = requests.Session()
    made.trust_env = False
    for scheme in ("http://", "https://"):
        made.mount(scheme, Adapter())
    return made


def _with_plain_parameters(document: bytes) -> bytes:
    """Let parameters be read as text, to be sent literally: a free number has no value, not 0."""
    return _PARAM.sub(lambda tag: tag[1] + _PLAIN + _TYPE.sub(b"", tag[2]), document)


def _judge_table(answer: Answer) -> Verdict:
    """Accept a whole VOTable, or a file in its place; another try may better the rest."""
    if is_file(answer.headers.get("content-type", ""), answer.payload):
        return Verdict("ok")
    if answer.cut or _OUTSIZE.search(answer.payload):
        return Verdict("failed", "a table of unreasonable size", refused=True)
    if not _VOTABLE.search(answer.payload[:_HEAD_BYTES]):
        raise PayloadError("unreadable answer, not a VOTable")
    if b"VOTABLE>" not in answer.payload[-_HEAD_BYTES:]:
        raise PayloadError("unreadable answer, a VOTable that is cut short", truncated=True)
    return Verdict("ok")


def is_file(content_type: str, payload: bytes = b"") -> bool:
    """Whether an answer is a FITS file, by its type or its first bytes."""
    return "fits" in content_type.lower() or payload.startswith((b"SIMPLE  =", b"\x1f\x8b"))


def _fails_again(answer: Answer) -> bool:
    """Whether a query is at fault: a 500 with a message, not a server that is busy."""
    return answer.http_status == 500 and answer.retry_after_s is None and says_error(answer)


def says_error(answer: Answer) -> bool:
    """Whether an answer is a VOTable with an error, whatever its HTTP status."""
    return _ERROR.search(answer.payload[:_MAX_ERROR_BYTES]) is not None


def explain(answer: Answer) -> str:
    """What was wrong with an answer, in one line: its status, and the server's message."""
    found = _ERROR.search(answer.payload[:_MAX_ERROR_BYTES])
    message = shorten((found[1] if found else answer.payload[:2000]).decode("utf-8", "replace"))
    why = answer.why or f"HTTP {answer.http_status}"
    return f"{why}: {message}" if message and not message.startswith("<") else why


def shorten(text: str) -> str:
    """Put a message from outside on one line of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in html.unescape(text)).split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 1] + "…"


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn whatever pyvo raises into ArchiveError; ServiceError passes."""
    from pyvo.dal.exceptions import DALQueryError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, ServiceError):
            raise cause from None
        if isinstance(cause, ArchiveError):
            raise type(cause)(f"{what}: {cause}", cause.http_status) from None
        if isinstance(error, DALQueryError):
            raise ArchiveError(f"{what}: {shorten(str(error))}", 200) from error
        raise ArchiveError(f"{what}: unreadable answer ({type(cause).__name__})", 200) from error


def rows_of(results: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a result by lower-case column names, whatever case the server writes."""
    table = results.to_table()
    names = [name.lower() for name in table.colnames]
    for row in table:
        yield dict(zip(names, row, strict=True))


def overflows(results: Any) -> bool:
    """Whether the server has cut a result short (DALI 1.1, section 4.4.1).

    Raises ArchiveError for an empty table that does not say that the query went well.
    """
    infos = [info for info in results.votable.iter_info() if info.name.upper() == "QUERY_STATUS"]
    statuses = {str(info.value).upper() for info in infos}
    if not len(results) and not statuses & {"OK", "OVERFLOW"}:
        raise ArchiveError("an empty table without QUERY_STATUS OK", 200)
    return "OVERFLOW" in statuses


def sia2(server: str, session: "requests.Session", collection: str, **options: Any) -> Any:
    """Make a query of SIA2; of any collection when ``collection`` is empty."""
    from pyvo.dal.sia2 import SIA2Query

    return SIA2Query(server, session=session, collection=collection or None, **options)


def require_columns(rows: Sequence[Mapping[str, Any]], names: Iterable[str], way_out: str) -> None:
    """Raise ArchiveError when rows lack columns by which images are chosen: none would fit."""
    there = rows[0].keys() if rows else names
    missing = [name for name in names if name.lower() not in there]
    if missing:
        raise ArchiveError(
            f"its images have no column {', '.join(missing)}: set {way_out} to what the archive "
            f"has. Its columns: {shorten(', '.join(there))}",
            200,
        )


def require_images(query: Any, collection: str) -> None:
    """Raise ServiceError when ``query``, for any image at all of a collection, finds none."""
    try:
        with asking("query"):
            found = len(query.execute()) > 0
    except ArchiveError:
        return
    if not found:
        what = f"collection {collection!r}" if collection else "these bands"
        raise ServiceError(f"the archive has no image of {what} anywhere: see how it names them")


def text(value: Any) -> str:
    """A value of a VOTable as text; empty when there is none."""
    import numpy as np

    if value is None or value is np.ma.masked:
        return ""
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def number(value: Any) -> float:
    """A value of a VOTable as a number; NaN when there is none."""
    try:
        return float(text(value))
    except ValueError:
        return float("nan")

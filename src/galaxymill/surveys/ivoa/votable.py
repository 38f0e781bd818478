"""VOTables from outside: asked for by pyvo through our own client, bounded, with their errors."""

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from galaxymill.surveys.base import ServiceError
from galaxymill.surveys.http import Answer, Http

if TYPE_CHECKING:
    import requests

_MAX_REASON = 200
_MAX_ERROR_BYTES = 100_000
_HEAD_BYTES = 2000
_VOTABLE = re.compile(rb"<(?:\w+:)?VOTABLE\b")
_ERROR = re.compile(
    rb"<(?:\w+:)?INFO\b(?=[^>]*QUERY_STATUS)(?=[^>]*ERROR)[^>]*>(?:\s*<!\[CDATA\[)?([^<\]]*)", re.I
)
_PARAM = re.compile(rb"<(?:\w+:)?PARAM\s(?:[^<>\"']|\"[^<\"]*\"|'[^<']*')*>")
_TYPE = re.compile(rb"\s(?:datatype|arraysize|xtype|unit)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_OUTSIZE = re.compile(rb"\b(?:nrows|arraysize)\s*=\s*[\"'][^\"']*\d{7}")


class ArchiveError(Exception):
    """One question that the archive did not answer well.

    Attributes
    ----------
    http_status : int or None
        Of the answer.
    answer : Answer or None
        The bytes that came instead of an image.
    """

    def __init__(
        self, reason: str, http_status: int | None = None, answer: Answer | None = None
    ) -> None:
        super().__init__(reason)
        self.http_status = http_status
        self.answer = answer


class FileInstead(ArchiveError):
    """A file came where a table was asked for."""


def session(http: Http, own: str = "") -> "requests.Session":
    """Make a session for pyvo that hands every request over to our client.

    Parameters
    ----------
    http : Http
        Makes the requests.
    own : str
        See `Http.ask`.

    Returns
    -------
    requests.Session
        Which raises ArchiveError where an answer is no good.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPResponse

    class Adapter(HTTPAdapter):
        def send(self, request: Any, *args: object, **options: object) -> requests.Response:
            body = request.body.encode() if isinstance(request.body, str) else request.body
            kind = request.headers.get("Content-Type")
            answer = http.ask(
                request.method,
                request.url,
                gives_up=_fails_again,
                own=own,
                content=body,
                headers={"Content-Type": kind} if kind else {},
                extensions={"table": True},
            )
            if answer.http_status != 200:
                raise ArchiveError(explain(answer), answer.http_status)
            if is_file(answer.headers.get("content-type", ""), answer.payload):
                raise FileInstead("an image, not a table", answer.http_status)
            if answer.cut or _OUTSIZE.search(answer.payload):
                raise ArchiveError("a table of unreasonable size", answer.http_status)
            table = io.BytesIO(_with_plain_parameters(answer.payload))
            return self.build_response(request, HTTPResponse(table, status=200, preload_content=False))

    made = requests.Session()
    made.trust_env = False
    for scheme in ("http://", "https://"):
        made.mount(scheme, Adapter())
    return made


def _with_plain_parameters(document: bytes) -> bytes:
    """Let parameters be read as they are spelled.

    As a number, a free one (``value=""``) could not be told from one that is fixed at zero, and
    what is fixed is to be sent literally.
    """

    def plain(tag: re.Match[bytes]) -> bytes:
        name, rest = _TYPE.sub(b"", tag[0]).split(b"PARAM", 1)
        return name + b'PARAM datatype="unicodeChar" arraysize="*"' + rest

    return _PARAM.sub(plain, document)


def is_file(content_type: str, payload: bytes = b"") -> bool:
    """Tell whether an answer is a FITS file, by what its head says or by how it begins."""
    return "fits" in content_type.lower() or payload.startswith((b"SIMPLE  =", b"\x1f\x8b"))


def is_table(payload: bytes) -> bool:
    """Tell whether an answer is a VOTable."""
    return _VOTABLE.search(payload[:_HEAD_BYTES]) is not None


def _fails_again(answer: Answer) -> bool:
    """Tell whether a query is at fault: a 500 with a message, not a server that is busy."""
    return answer.http_status == 500 and answer.retry_after_s is None and says_error(answer)


def says_error(answer: Answer) -> bool:
    """Tell whether an answer is a VOTable with an error, whatever its HTTP status."""
    return _ERROR.search(answer.payload[:_MAX_ERROR_BYTES]) is not None


def explain(answer: Answer) -> str:
    """Say in a line what was wrong with an answer: its status, and what the server says."""
    found = _ERROR.search(answer.payload[:_MAX_ERROR_BYTES])
    said = shorten((found[1] if found else answer.payload[:2000]).decode("utf-8", "replace"))
    told = said and not said.startswith("<")
    return ": ".join([answer.reason or f"HTTP {answer.http_status}", *([said] if told else [])])


def shorten(text: str) -> str:
    """Put a message from outside in one line of bounded length."""
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
    """Give the rows of a result by lower-case column names, whatever case the server writes."""
    table = results.to_table()
    names = [name.lower() for name in table.colnames]
    for row in table:
        yield dict(zip(names, row, strict=True))


def overflows(results: Any) -> bool:
    """Tell whether the server has cut a result short (DALI 1.1, section 4.4.1).

    Raises ArchiveError for an empty table without a word that the query went well: what is not
    there is not known then.
    """
    infos = [info for info in results.votable.iter_info() if info.name.upper() == "QUERY_STATUS"]
    said = {str(info.value).upper() for info in infos}
    if not len(results) and not said & {"OK", "OVERFLOW"}:
        raise ArchiveError("an empty table without QUERY_STATUS OK", 200)
    return "OVERFLOW" in said


def has_images(server: str, session: "requests.Session", **constraints: Any) -> bool:
    """Tell whether a SIA2 service has any image of a kind; True also when that cannot be told.

    Services answer with an empty table to the name of a collection that they do not have.
    """
    from pyvo.dal.sia2 import SIA2Query

    try:
        with asking("SIA2"):
            query = SIA2Query(server, maxrec=1, session=session, **constraints)
            return len(query.execute()) > 0
    except ArchiveError:
        return True


def text(value: Any) -> str:
    """Give a value of a VOTable as text; empty when there is none."""
    import numpy as np

    if value is None or value is np.ma.masked:
        return ""
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def number(value: Any) -> float:
    """Give a value of a VOTable as a number; NaN when there is none."""
    try:
        return float(text(value))
    except ValueError:
        return float("nan")

"""The bearer token of an archive: sent to its server, and taken out of all that servers say."""

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from galaxymill.errors import UserError
from galaxymill.surveys.base import Network
from galaxymill.surveys.http import Answer, Http
from galaxymill.surveys.ivoa.votable import is_file

if TYPE_CHECKING:
    import httpx

_MIN_TELLING = 8


class BearerHttp(Http):
    """A client that sends a token to one server, and that never hands on a token that it gets back.

    Parameters
    ----------
    network : Network
        The limits.
    server : str
        Its origin gets the token, and no other.
    token : str
        Empty for none.
    """

    def __init__(self, network: Network, server: str, token: str) -> None:
        super().__init__(network, server, {"Authorization": f"Bearer {token}"} if token else None)
        self._secrets = _secrets(token) if token else []

    def once(self, method: str, url: str, **options: Any) -> Answer:
        """Make one request once, see `Http.once`; tokens in the answer are replaced by ``***``."""
        answer = super().once(method, url, **options)
        payload = answer.payload
        for secret, shown in self._secrets:
            payload = secret.sub(shown, payload)
        return replace(answer, payload=payload)

    def _bounded(self, response: "httpx.Response") -> bytes:
        """Read a body, and none of a file that comes where a table was asked for."""
        table = response.request.extensions.get("table", False)
        if table and is_file(response.headers.get("content-type", "")):
            return b""
        return super()._bounded(response)


def _secrets(token: str) -> list[tuple[re.Pattern[bytes], bytes]]:
    """What is replaced, and by what: also a token that a server cuts short.

    A quarter of it tells a token; less may be the header that all JSON web tokens share, and those
    in signed addresses are needed. Each search has a fixed beginning: that is quick in images.
    """
    # Quotes and tags end it: what remains is still a VOTable.
    rest = rb"[^\s<>\"']"
    telling = re.escape(token[: max(_MIN_TELLING, len(token) // 4)].encode())
    return [
        (re.compile(rb"Bearer\s+" + rest + rb"+"), b"Bearer ***"),
        (re.compile(telling + rest + rb"*"), b"***"),
    ]


def read_token(variable: str) -> str:
    """Read a bearer token from the environment.

    Parameters
    ----------
    variable : str
        Which holds it; empty when no token is used.

    Returns
    -------
    str
        Empty when no token is used.

    Raises
    ------
    UserError
        When the variable is not set, or holds no token.
    """
    if not variable:
        return ""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise UserError(
            f"the environment variable {variable} is not set: service sia takes its token from it "
            "(token_variable); export it, or set token_variable to nothing"
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise UserError(f"the environment variable {variable} holds no bearer token")
    return token

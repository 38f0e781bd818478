"""Secrets of services: from the environment or ~/.netrc, and from nowhere else."""

import netrc
from base64 import b64encode
from dataclasses import dataclass
from os import environ
from urllib.parse import urlsplit

from galaxymill.errors import UserError


@dataclass(frozen=True)
class Credentials:
    """Where user and password are found: in two environment variables, else in ``~/.netrc``."""

    user_variable: str
    password_variable: str
    server: str

    @property
    def how_to(self) -> str:
        """Name both ways to give user and password."""
        return (
            f"set {self.user_variable} and {self.password_variable} in the environment, or write "
            f"a line for {urlsplit(self.server).hostname} in ~/.netrc"
        )

    def headers(self) -> dict[str, str]:
        """Make the header of HTTP Basic authentication (RFC 7617), in UTF-8, or raise UserError."""
        user, password = environ.get(self.user_variable), environ.get(self.password_variable)
        if not (user and password):
            # Not httpx.NetRCAuth: where the host is not in the file it sends the request without
            # a word, and the error for a file that is not well formed may quote a password.
            try:
                entry = netrc.netrc().authenticators(urlsplit(self.server).hostname or "")
            except FileNotFoundError:
                entry = None
            except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
                raise UserError("~/.netrc cannot be read; see that it is well formed") from None
            user, _, password = entry or ("", "", "")
        if not (user and password):
            raise UserError(f"user and password are needed: {self.how_to}")
        return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def token_headers(variable: str) -> dict[str, str]:
    """Make the header of a bearer token from an environment variable; none without its name."""
    if not variable:
        return {}
    token = environ.get(variable, "").strip()
    if not token:
        raise UserError(
            f"the environment variable {variable} is not set: service sia takes its token from it "
            "(token_variable); export it, or set token_variable to nothing"
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise UserError(f"the environment variable {variable} holds no bearer token")
    return {"Authorization": f"Bearer {token}"}

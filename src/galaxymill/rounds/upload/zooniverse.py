"""Zooniverse's API, Panoptes, by its own client: the few things that an upload asks for."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from galaxymill.errors import UserError
from galaxymill.rounds.upload.patience import (
    GO_ON,
    PatientAdapter,
    RefusedError,
    UnsureError,
    again,
)

if TYPE_CHECKING:
    from panoptes_client import Panoptes

ENDPOINT = "https://www.zooniverse.org"
PAGE = 100
"""Rows of a page, and subjects of a batch."""
_JPEG = "image/jpeg"
_SECRETS = ("PANOPTES_USERNAME", "PANOPTES_PASSWORD", "PANOPTES_CLIENT_SECRET")
_LEAST_LETTERS, _QUOTED_LETTERS = 4, 600
_HOW_TO = (
    "set PANOPTES_USERNAME and PANOPTES_PASSWORD, or PANOPTES_CLIENT_ID and "
    "PANOPTES_CLIENT_SECRET, in the environment"
)


@dataclass
class Zooniverse:
    """A connection with an account; see `connect`."""

    client: "Panoptes"
    _media: requests.Session
    _token: Lock = field(default_factory=Lock)

    def ask(
        self, method: str, path: str, json: Any = None, etag: str | None = None, **params: Any
    ) -> tuple[dict[str, Any], str | None]:
        """Ask once; give the answer and its ETag, or raise `UnsureError` or `RefusedError`."""
        from panoptes_client.panoptes import PanoptesAPIException

        try:
            with self._token:
                self.client.get_bearer_token()
            plain, found = self.client.json_request(
                method, path, params=params, json=json, etag=etag
            )
        except PanoptesAPIException as error:
            raise RefusedError(200, str(error)) from None
        except (requests.RequestException, ValueError, LookupError) as error:
            raise UnsureError(f"an answer that is none ({type(error).__name__})") from None
        return plain or {}, found

    def get(self, path: str, **params: Any) -> tuple[dict[str, Any], str | None]:
        """Ask for something until there is an answer."""
        return again(lambda: self.ask("GET", path, **params))

    def page(self, kind: str, number: int, **params: Any) -> tuple[list[dict[str, Any]], int]:
        """Get one page of things of a kind, and how many pages there are."""
        answer, _ = self.get(f"/{kind}", page=number, page_size=PAGE, **params)
        return answer[kind], int(answer.get("meta", {}).get(kind, {}).get("page_count", 1))

    def all(self, kind: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Walk through all pages of things of a kind."""
        number, count = 1, 1
        while number <= count:
            rows, count = self.page(kind, number, **params)
            yield from rows
            number += 1

    def subjects_of(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Get those subjects that the server has, by their identifiers; 100 at most."""
        return {row["id"]: row for row in self.all("subjects", id=",".join(ids))} if ids else {}

    def make_subject(self, project: str, metadata: Mapping[str, str]) -> tuple[str, str]:
        """Ask once for a new subject; give its identifier, and where its image is to be put."""
        links = {"project": project}
        plain = {"locations": [_JPEG], "metadata": dict(metadata), "links": links}
        return _place(self.ask("POST", "/subjects", json={"subjects": plain})[0])

    def place_again(self, subject_id: str) -> tuple[str, str]:
        """Get a new place for a subject's image, whose own may not have come."""
        plain = {"subjects": {"locations": [_JPEG]}}
        return _place(self._change("PUT", subject_id, plain))

    def remove(self, subject_id: str) -> None:
        """Delete a subject."""
        self._change("DELETE", subject_id)

    def _change(self, method: str, subject_id: str, plain: Any = None) -> dict[str, Any]:
        path = f"/subjects/{subject_id}"

        def change() -> dict[str, Any]:
            _, etag = self.ask("GET", path)
            return self.ask(method, path, json=plain, etag=etag)[0]

        return again(change, stale=True)

    def put_image(self, address: str, image: bytes) -> None:
        """Put an image where the server wants it; no credentials go there."""
        require_safe(address, "the server's address for images")
        headers = {"Content-Type": _JPEG, "x-ms-blob-type": "BlockBlob"}
        again(lambda: self._media.put(address, image, headers=headers, allow_redirects=False))

    def secrets(self) -> list[str]:
        """List what no message may hold."""
        tokens = [self.client.bearer_token, getattr(self.client, "refresh_token", None)]
        return _given() + [token for token in tokens if token]


def connect(endpoint: str) -> Zooniverse:
    """Log in with credentials of the environment.

    Raises `UserError` when the client is not installed, or credentials are absent or wrong.
    """
    try:
        from panoptes_client import Panoptes
    except ImportError:
        raise UserError(
            "uploading needs Zooniverse's client: pip install 'galaxymill[volunteers]'"
        ) from None
    require_safe(endpoint, "--endpoint")
    # Not yet logged in: only then has its session time limits.
    client = Panoptes(endpoint=endpoint, login="keyring")
    media = requests.Session()
    for session in (client.session, media):
        session.mount("https://", PatientAdapter())
        session.mount("http://", PatientAdapter())
        # Else a line for the host in ~/.netrc takes the place of the token.
        session.auth = lambda request: request
    user, password = os.environ.get("PANOPTES_USERNAME"), os.environ.get("PANOPTES_PASSWORD")
    if not (client.client_secret or (user and password)):
        raise UserError(f"an account of Zooniverse is needed: {_HOW_TO}")

    def login() -> None:
        if not client.client_secret:
            client.login(user, password)
        client.get_bearer_token()

    try:
        again(login)
    except RefusedError as error:
        raise UserError(f"{endpoint}: the account is refused: {error}; {_HOW_TO}") from None
    except (LookupError, ValueError):
        raise UserError(f"--endpoint {endpoint}: does not answer as Zooniverse does") from None
    return Zooniverse(client, media)


@contextmanager
def without_secrets(zooniverse: Zooniverse | None = None) -> Iterator[None]:
    """Turn failures into messages, and take credentials out of all that is raised.

    Errors keep no cause: its own words could hold them.
    """

    def cleaned(error: Exception) -> str:
        text = str(error)
        for secret in zooniverse.secrets() if zooniverse else _given():
            text = text.replace(secret, "***") if len(secret) >= _LEAST_LETTERS else text
        # Cut last: half a secret would not be found.
        return text[:_QUOTED_LETTERS]

    try:
        yield
    except UserError as error:
        raise UserError(cleaned(error)) from None
    except UnsureError as error:
        raise UserError(f"the server does not answer ({cleaned(error)}); {GO_ON}") from None
    except RefusedError as error:
        raise UserError(f"the server refuses: {cleaned(error)}; {GO_ON}") from None
    except Exception as error:
        raise RuntimeError(f"upload: {type(error).__name__}: {cleaned(error)}") from None


def require_safe(address: str, what: str) -> None:
    """Refuse an address to which a password, or an image, would go in the open."""
    parts = urlsplit(address)
    own = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.scheme not in (("https", "http") if own else ("https",)):
        raise UserError(f"{what}: must be an https address, such as {ENDPOINT}")
    if parts.username or parts.password:
        raise UserError(f"{what}: holds credentials; {_HOW_TO}")


def _given() -> list[str]:
    return [value for name in _SECRETS if (value := os.environ.get(name))]


def _place(answer: Mapping[str, Any]) -> tuple[str, str]:
    subject = answer["subjects"][0]
    return str(subject["id"]), str(subject["locations"][0][_JPEG])

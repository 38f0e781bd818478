"""Pseudonyms of volunteers: a keyed hash, whose key never lies among the results.

Without the key nobody can tell whose pseudonym it is by hashing the names of all volunteers.
"""

import hashlib
import os
import secrets
from pathlib import Path

from galaxymill.errors import UserError

VARIABLE = "GALAXYMILL_VOLUNTEERS_KEY"
SHORTEST = 16


def key_file() -> Path:
    """Where the key is kept when the variable does not give it."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(config) / "galaxymill" / "volunteers.key"


def volunteers_key(out: Path) -> bytes:
    """Give the key: what the environment variable holds, else the file's, which is made once.

    Raises
    ------
    UserError
        When the key is too short, others may read its file, the file cannot be made, or it would
        lie among the results, in the folder of ``out``, two folders above it or between.
    """
    given = os.environ.get(VARIABLE, "")
    if given:
        return _checked(given, VARIABLE)
    path = key_file()
    results = out.resolve().parents[min(2, len(out.resolve().parents) - 1)]
    if path.resolve().is_relative_to(results) and len(results.parts) > 1 and _is_results(results):
        raise UserError(
            f"{path}: the key of volunteers' pseudonyms would lie among the results, in {results}; "
            f"set XDG_CONFIG_HOME to a folder outside, or {VARIABLE} to a secret of your own"
        )
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise UserError(f"{path}: others may read this key; run: chmod 600 {path}")
        return _checked(path.read_text(encoding="ascii", errors="replace"), str(path))
    except OSError as error:
        raise UserError(
            f"{path}: the key of volunteers' pseudonyms cannot be read or made "
            f"({error.strerror}); set {VARIABLE} to a secret of at least {SHORTEST} characters"
        ) from None


def _is_results(folder: Path) -> bool:
    """Whether a folder is that of a workflow's results, not one that merely holds them."""
    return (folder / "labels").is_dir()


def _checked(text: str, place: str) -> bytes:
    key = text.strip().encode()
    if len(key) < SHORTEST:
        raise UserError(
            f"{place}: the key of volunteers' pseudonyms has {len(key)} characters; allowed: at "
            f"least {SHORTEST}, such as openssl rand -hex 32 gives"
        )
    return key


def _make(path: Path) -> None:
    """Write a key that only its owner can read; of two who make one, the first has it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mine = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink(missing_ok=True)


def pseudonym(volunteer: str, key: bytes) -> str:
    """Name a volunteer by 16 letters that say nothing to anybody without the key."""
    secret = hashlib.blake2b(key, digest_size=32).digest()
    return hashlib.blake2b(volunteer.encode(), key=secret, digest_size=8).hexdigest()

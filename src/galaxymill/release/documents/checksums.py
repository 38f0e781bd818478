"""``SHA256SUMS``: the sha256 of every file of a release."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galaxymill.storage.digest import sha256_file

THREADS = 2


def list_files(folder: Path) -> list[str]:
    """List the paths of all files below a folder, from there, sorted."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def checksums(folder: Path, files: Sequence[str], done: Mapping[str, str]) -> dict[str, str]:
    """Give the sha256 of files of a folder by their paths; those in ``done`` are not read again."""
    left = [name for name in files if name not in done]
    with ThreadPoolExecutor(THREADS) as pool:
        taken = pool.map(lambda name: sha256_file(folder / name), left)
        sums = {**done, **dict(zip(left, taken, strict=True))}
    return {name: sums[name] for name in files}


def write_checksums(folder: Path, name: str, done: Mapping[str, str]) -> None:
    """Write the sha256 of every file of a folder into its file ``name``, for ``sha256sum -c``."""
    sums = checksums(folder, list_files(folder), done)
    lines = [f"{digest}  {file}\n" for file, digest in sums.items()]
    (folder / name).write_text("".join(lines), encoding="utf-8")

"""``SHA256SUMS``: the sha256 of every file of a release."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galaxymill.storage.digest import sha256_file

THREADS = 2


def list_files(folder: Path) -> list[str]:
    """Give the paths, from there, of all files below a folder, sorted."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def checksums(folder: Path, files: Sequence[str]) -> dict[str, str]:
    """Give the sha256 of some files of a folder, by their paths from there."""
    with ThreadPoolExecutor(THREADS) as pool:
        sums = pool.map(lambda name: sha256_file(folder / name), files)
        return dict(zip(files, sums, strict=True))


def all_checksums(folder: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Give the sha256 of every file below a folder, by its path from there, sorted.

    Those that are known are not read again.
    """
    files = list_files(folder)
    sums = {**known, **checksums(folder, [name for name in files if name not in known])}
    return {name: sums[name] for name in files}


def write_checksums(folder: Path, name: str, known: Mapping[str, str]) -> None:
    """Write the sha256 of every file below a folder into its file ``name``, for ``sha256sum -c``.

    Those that are known are not read again.
    """
    lines = [f"{digest}  {file}\n" for file, digest in all_checksums(folder, known).items()]
    (folder / name).write_text("".join(lines), encoding="utf-8")

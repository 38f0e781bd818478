"""``SHA256SUMS``: the sha256 of every file of a release."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galaxymill.storage.digest import sha256_file

THREADS = 2


def checksums(folder: Path) -> dict[str, str]:
    """Give the sha256 of every file below a folder, by its path from there, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(THREADS) as pool:
        sums = pool.map(sha256_file, files)
        return {p.relative_to(folder).as_posix(): s for p, s in zip(files, sums, strict=True)}


def write_checksums(folder: Path, name: str, known: Mapping[str, str]) -> None:
    """Write the sha256 of every file below a folder as ``sha256sum -c`` reads them.

    Parameters
    ----------
    folder : Path
    name : str
        Of the file to write.
    known : mapping of str to str
        Those that need not be read again.
    """
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    lines = [f"{known.get(file) or sha256_file(folder / file)}  {file}\n" for file in files]
    (folder / name).write_text("".join(lines), encoding="utf-8")

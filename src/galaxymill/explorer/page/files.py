"""The files of the page, and their copy."""

import shutil
from pathlib import Path

_HERE = Path(__file__).parent
SUFFIXES = {".html", ".css", ".js"}


def write_page(folder: Path) -> None:
    """Copy the page into an explorer's folder."""
    for path in sorted(_HERE.iterdir()):
        if path.suffix in SUFFIXES:
            shutil.copyfile(path, folder / path.name)

"""Service ``files``: images or FITS cutouts that lie on disk.

Each galaxy's ``file_loc`` column names its file. It cannot say whether a file shows the right
piece of sky: positions and scale are the owner's word.
"""

import errno
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.surveys.base import (
    MAX_PAYLOAD_BYTES,
    MAX_SIZE,
    Cutout,
    ServiceSettings,
    Target,
)
from galaxymill.surveys.validate import check_payload

_COMMON_SIZE = 256


class FilesSettings(ServiceSettings):
    """Settings of the service ``files``."""

    operational: ClassVar[frozenset[str]] = ServiceSettings.operational | {"folder"}

    folder: str = Field(".", description="folder that relative file_loc paths start from")
    pixel_scale: Annotated[float, Field(ge=0, le=60)] | Literal["gz_decals"] = Field(
        0.0,
        description="arcsec per pixel that files should have, else they are flagged; 0: any",
    )
    size: int = Field(
        0,
        ge=0,
        le=MAX_SIZE,
        description="width and height that files should have, else they are flagged; 0: any",
    )

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout; of files of any size by the common one."""
        return super().payload_bytes(size or _COMMON_SIZE)


class FilesService:
    """Read each target's file."""

    def __init__(self, settings: FilesSettings) -> None:
        if not Path(settings.folder).is_dir():
            raise UserError(f"folder: no such folder: {settings.folder} (looked in {Path.cwd()})")
        self._settings = settings

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target from its file; a missing file is ``no_coverage``."""
        for target in targets:
            yield self._read(target)

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self, target: Target) -> Cutout:
        path = Path(self._settings.folder, target.file_loc)
        url = f"file:{target.file_loc}"
        try:
            if not target.file_loc or not path.is_file():
                return Cutout(target, "no_coverage", reason=no_file(target.file_loc), url=url)
            if path.stat().st_size > MAX_PAYLOAD_BYTES:
                return Cutout(
                    target,
                    "invalid",
                    reason=f"larger than {MAX_PAYLOAD_BYTES / 1e6:.0f} MB",
                    url=url,
                )
            payload = path.read_bytes()
        except OSError as error:
            status = "no_coverage" if error.errno == errno.ENAMETOOLONG else "failed"
            return Cutout(target, status, reason=error.strerror or "unreadable", url=url)
        verdict = check_payload(payload, None, None)
        made = datetime.now(UTC)
        return Cutout(target, verdict.status, payload, None, verdict.reason, url, made)


def no_file(file_loc: str) -> str:
    """Say that there is no such file."""
    hint = "; write / between folders" if "\\" in file_loc else ""
    return f"no file {file_loc!r}{hint}"

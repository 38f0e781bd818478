"""Service ``files``: images or FITS cutouts that lie on disk.

Each galaxy's ``file_loc`` column names its file, or ``pattern`` does, also one file a band. It
cannot say whether a file shows the right piece of sky: positions, scale and unit are the owner's
word. FITS files that are no cutouts as they stand are made so; docs/own_files.md says which.
"""

import errno
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from galaxymill.decoding.decode import PayloadError
from galaxymill.errors import UserError
from galaxymill.settings import Names
from galaxymill.surveys.base import (
    MAX_PAYLOAD_BYTES,
    MAX_SIZE,
    Cutout,
    Service,
    ServiceSettings,
    Target,
)
from galaxymill.surveys.own_fits import Naming, as_cutout
from galaxymill.surveys.validate import check_payload

_PLACEHOLDERS = ("{file_loc}", "{object_id}", "{band}")
_COMMON_SIZE = 256


class FilesSettings(ServiceSettings):
    """Settings of the service ``files``."""

    operational: ClassVar[frozenset[str]] = ServiceSettings.operational | {"folder"}
    uses_positions: ClassVar[bool] = False

    folder: str = Field(".", description="folder that relative paths start from")
    pattern: str = Field(
        "{file_loc}",
        min_length=1,
        description="path of a galaxy's file: {file_loc} and {object_id} stand for its own; with "
        "{band} each band has a file",
    )
    bands: Names = Field(
        ("g", "r", "z"),
        min_length=1,
        description="bands, blue to red: names as in the FITS headers or, where these have none, "
        "names for the planes in their order",
    )
    naming: Naming = Field(
        "header",
        description="whether FITS planes are named by their header, where it names them, or "
        "always by bands, in their order",
    )
    hdu: str = Field("", description="number or EXTNAME of the FITS image; empty to look for it")

    @field_validator("pattern")
    @classmethod
    def _known_placeholders(cls, pattern: str) -> str:
        unknown = [word for word in re.findall(r"\{\w*\}", pattern) if word not in _PLACEHOLDERS]
        if unknown:
            raise ValueError(f"{unknown[0]} is unknown; allowed: {', '.join(_PLACEHOLDERS)}")
        return pattern

    def paths(self, target: Target) -> dict[str, str]:
        """Paths of a galaxy's files by band; a single file is under the empty name."""
        named = target.file_loc.split("\n")
        if len(named) not in (1, len(self.bands)):
            raise UserError(
                f"catalog.file_loc names {len(named)} columns for bands {', '.join(self.bands)}; "
                "give one column a band, in their order"
            )
        patterns = [self.pattern]
        if "{file_loc}" in self.pattern:
            patterns = [self.pattern.replace("{file_loc}", path) if path else "" for path in named]
        a_band = len(patterns) > 1 or "{band}" in patterns[0]
        bands = self.bands if a_band else ("",)
        patterns *= len(bands) // len(patterns)
        return {
            band: pattern.replace("{object_id}", target.object_id).replace("{band}", band)
            for band, pattern in zip(bands, patterns, strict=True)
        }

    pixel_scale: Annotated[float, Field(ge=0, le=60)] | Literal["gz_decals"] = Field(
        0.0, description="arcsec per pixel that files should have, else they are flagged; 0: any"
    )
    size: int = Field(
        0,
        ge=0,
        le=MAX_SIZE,
        description="width and height that files should have, else they are flagged; 0: any",
    )

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout; of files of any size by the usual one."""
        return super().payload_bytes(size or _COMMON_SIZE)


def path_hint(path: str) -> str:
    """What is wrong with a path that leads to no file, as far as that can be seen."""
    if "://" in path:
        return "; it is a web address: download the files, and give their paths"
    if path[1:3] in (":\\", ":/"):
        return "; give paths below the folder, without a drive, and use / between folders"
    return "; use / between folders" if "\\" in path else ""


class FilesService(Service):
    """Read each target's files."""

    def __init__(self, settings: FilesSettings) -> None:
        if not Path(settings.folder).is_dir():
            raise UserError(f"folder: no such folder: {settings.folder} (looked in {Path.cwd()})")
        self._settings = settings

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target from its files; a missing file is ``no_coverage``."""
        for target in targets:
            yield self._cutout(target)

    def _cutout(self, target: Target) -> Cutout:
        paths = self._settings.paths(target)
        url = f"file:{','.join(paths.values())}"
        files: dict[str, bytes] = {}
        absent = []
        for band, path in paths.items():
            content = self._read(path)
            if isinstance(content, bytes):
                files[band] = content
                continue
            status, reason = content
            if status != "no_coverage":
                return Cutout(target, status, reason=reason, url=url)
            absent.append(reason)
        if not files:
            return Cutout(target, "no_coverage", reason="; ".join(absent), url=url)
        settings, made = self._settings, datetime.now(UTC)
        try:
            found = as_cutout(files, settings.bands, settings.naming, settings.hdu)
        except PayloadError as error:
            payload = next(iter(files.values()))
            return Cutout(target, "invalid", payload, None, str(error), url, made)
        verdict = check_payload(found.payload, None, None)
        reasons = list(filter(None, [verdict.reason, found.lacking, *absent]))
        status = "partial" if verdict.status == "ok" and reasons else verdict.status
        if found.renamed:
            url = f"{url} ({found.renamed})"
        return Cutout(target, status, found.payload, None, "; ".join(reasons), url, made)

    def _read(self, path: str) -> bytes | tuple[str, str]:
        """Content of a file or, when it cannot be had, status and reason."""
        if not path:
            return "no_coverage", "no file: the catalogue names none"
        place = Path(self._settings.folder, path)
        try:
            if not place.is_file():
                return "no_coverage", f"no file '{path}'{path_hint(path)}"
            if place.stat().st_size > MAX_PAYLOAD_BYTES:
                return "invalid", f"larger than {MAX_PAYLOAD_BYTES / 1e6:.0f} MB"
            return place.read_bytes()
        except OSError as error:
            status = "no_coverage" if error.errno == errno.ENAMETOOLONG else "failed"
            return status, f"{str(place)[:200]!r}: {error.strerror or 'unreadable'}"

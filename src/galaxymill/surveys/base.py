"""What every cutout service has: settings, targets that go in, cutouts that come out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from galaxymill.settings import Names, Settings, spell
from galaxymill.web.answer import Answer
from galaxymill.web.network import MAX_ANSWER_BYTES, MAX_UNDER_WAY

MAX_SIZE = 3000
MAX_PAYLOAD_BYTES = MAX_ANSWER_BYTES
"""3,000 pixels a side in one band, 1,730 in three. Into Parquet it takes ten times its size."""
BATCH = MAX_UNDER_WAY
"""Most galaxies under way at once: a killed job asks again for no more than these."""

NANOMAGGY_ZERO_POINT = 22.5
_NAMES = ("layer", "release", "rerun", "hips", "collection", "table", "folder")
_FLOAT_BYTES = 4
_RGB_BYTES = 3


PixelScale = Annotated[float, Field(ge=1e-4, le=60)] | Literal["gz_decals"]


class ServiceSettings(Settings):
    """Settings of every service: how the cutouts are to be cut.

    ``files`` names settings that are files the cutouts depend on: their contents, not their paths,
    are part of the product's origin. ``uses_positions``: whether a galaxy is found by where it is
    on the sky; else by ``file_loc``.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"footprint", "server"})
    files: ClassVar[frozenset[str]] = frozenset({"footprint"})
    uses_positions: ClassVar[bool] = True

    pixel_scale: PixelScale = Field(
        0.262,
        description="arcsec per pixel, or 'gz_decals': by the galaxy's Petrosian radii as in "
        "Galaxy Zoo DECaLS",
    )
    size: int = Field(256, ge=16, le=MAX_SIZE, description="width and height in pixels")
    bands: Names = Field(("g", "r", "z"), min_length=1, description="bands, blue to red")
    footprint: Path | None = Field(
        None,
        description="MOC (FITS, JSON) or table of bricks (ra1, ra2, dec1, dec2): galaxies outside "
        "are not asked for",
    )

    @field_validator("bands")
    @classmethod
    def _each_once(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(bands)) < len(bands):
            raise ValueError(f"a band stands twice in {','.join(bands)}")
        return bands

    @model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        if self.payload_bytes(self.size) > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"size {self.size} with {len(self.bands)} bands makes cutouts of "
                f"{self.payload_bytes(self.size) / 1e6:.0f} MB; at most "
                f"{MAX_PAYLOAD_BYTES / 1e6:.0f} MB"
            )
        return self

    @property
    def host(self) -> str:
        """Host of the server, empty without one: jobs that ask the same one share its limits."""
        return urlsplit(getattr(self, "server", "")).netloc

    @property
    def sends_pictures(self) -> bool:
        """Whether the cutouts are JPEG or PNG, not FITS."""
        return False

    @property
    def zero_point(self) -> float | None:
        """AB magnitude of one unit of flux in FITS cutouts; None where there is no such thing."""
        return None if self.sends_pictures else NANOMAGGY_ZERO_POINT

    @property
    def source_name(self) -> str:
        """Names by which the service knows what it is asked for, as in ``layer=ls-dr9``."""
        values = {name: getattr(self, name, "") for name in _NAMES}
        return " ".join(f"{name}={spell(value)}" for name, value in values.items() if value)

    def requests(self, galaxies: int) -> int:
        """Count, from above, the requests that so many galaxies need."""
        return galaxies

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout of ``size`` pixels from above."""
        pixel_bytes = _RGB_BYTES if self.sends_pictures else len(self.bands) * _FLOAT_BYTES
        return size * size * pixel_bytes

    @property
    def why_positions(self) -> str:
        """Why positions of galaxies are needed; empty when they are not."""
        if self.uses_positions:
            return "the cutout service asks for galaxies by their positions"
        return "a footprint takes galaxies by their positions" if self.footprint else ""

    def input_files(self) -> dict[str, Path]:
        """Files that the cutouts depend on, by setting."""
        values = {name: getattr(self, name) for name in self.files}
        return {name: Path(value) for name, value in sorted(values.items()) if value is not None}


@dataclass(frozen=True)
class Target:
    """One galaxy to cut out.

    The ICRS position is in degrees, NaN where the catalogue has none. ``pixel_scale`` is in arcsec
    per pixel, ``size`` is width and height in pixels; 0 where any will do. ``file_loc`` is, for the
    service ``files``, the path of the image or a line a band; ``redshift`` its own, where known.
    """

    object_id: str
    ra: float
    dec: float
    pixel_scale: float
    size: int
    file_loc: str = ""
    redshift: float | None = None

    def radec(self) -> dict[str, str]:
        """Write the position, to a third of a milliarcsecond."""
        return {"ra": f"{self.ra:.7f}", "dec": f"{self.dec:.7f}"}


@dataclass(frozen=True)
class Cutout:
    """What became of one target; a row of the cutouts product.

    ``status`` is one of `galaxymill.products.CUTOUT_STATUSES`, and ``reason`` says why it is not
    ``ok``. The ``payload``, as served, is kept for ``ok`` and ``partial``, and for ``invalid`` to
    look at. ``url`` is what was asked, without server and secrets.
    """

    target: Target
    status: str
    payload: bytes | None = None
    http_status: int | None = None
    reason: str = ""
    url: str = ""
    fetched_at: datetime | None = None


def cutout_of(answer: Answer, target: Target, status: str = "", reason: str = "") -> Cutout:
    """Make an answer the cutout of ``target``, by its verdict unless a status is given."""
    if not status:
        status, reason = answer.verdict.status, answer.verdict.reason
    kept = answer.payload if status not in ("no_coverage", "failed") and not answer.cut else b""
    when = answer.fetched_at
    return Cutout(target, status, kept or None, answer.http_status, reason, answer.url, when)


class Service(ABC):
    """A source of cutouts; made anew in every process."""

    @abstractmethod
    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target exactly once, in any order, as the answers come.

        At most ``BATCH`` galaxies, or one bulk request, are under way at a time. A bad galaxy never
        raises, but ServiceError when nothing more can be had now.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close connections and servers."""

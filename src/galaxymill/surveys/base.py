"""The protocol that every cutout service follows, and what goes in and out of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from galaxymill.errors import UserError
from galaxymill.settings import Names, Settings, spell

MAX_SIZE = 3000
MAX_PAYLOAD_BYTES = 36_000_000
"""3,000 pixels a side in one band, 1,730 in three. Into Parquet it takes ten times its size."""
BATCH = 64
"""Most galaxies under way at once: a killed job asks again for no more than these."""

NANOMAGGY_ZERO_POINT = 22.5
_KNOWN_BY = ("layer", "release", "rerun", "hips", "collection", "table", "folder")
_FLOAT_BYTES = 4
_RGB_BYTES = 3


class ServiceError(UserError):
    """The service cannot be asked any further now; what has been fetched is kept."""


class Network(Settings):
    """How hard a service may be asked: operational, changing it fetches nothing again."""

    requests_per_second: float = Field(
        5.0, ge=1e-4, le=1e4, description="upper limit of requests a second"
    )
    connections: int = Field(4, ge=1, le=BATCH, description="requests under way at once")
    jobs: int = Field(
        1, ge=1, le=BATCH, description="jobs at once; each gets its share of rate and connections"
    )
    timeout_s: float = Field(60.0, gt=0, le=86400, description="time for one request, in seconds")
    attempts: int = Field(5, ge=1, le=20, description="tries before a galaxy is given up")
    stop_after: int = Field(
        40,
        ge=1,
        description="failures in a row (5xx, no answer, or no image) after which a job stops",
    )
    max_failed: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of a partition's galaxies that may be failed or invalid; with more the "
        "job fails, and a rerun asks for them again; 1: all may be",
    )
    contact: str = Field(
        "",
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="address for the service's operators, in the User-Agent",
    )

    @model_validator(mode="after")
    def _a_connection_each(self) -> Self:
        if self.jobs > self.connections:
            raise ValueError(f"jobs ({self.jobs}) must not exceed connections ({self.connections})")
        return self

    def share(self) -> "Network":
        """Limits of one of ``jobs`` jobs."""
        return self.model_copy(
            update={
                "requests_per_second": self.requests_per_second / self.jobs,
                "connections": self.connections // self.jobs,
                "jobs": 1,
            }
        )

    def limit_flags(self) -> str:
        """Spell the limits as ``--network`` flags."""
        return self._flags("--network", set(type(self).model_fields))


PixelScale = Annotated[float, Field(ge=1e-4, le=60)]


def _plain_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None:
        raise ValueError("must hold no user or password; they come from the environment")
    if not parts.hostname or (parts.port or 0) < 0:
        raise ValueError("must name a host")
    return url


Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$"), AfterValidator(_plain_address)]
"""Address of a service, without secrets."""


class ServiceSettings(Settings):
    """What every service is told: how the cutouts are to be cut.

    Attributes
    ----------
    files : frozenset of str
        Names of settings that are files the cutouts depend on: their contents, not their
        paths, are part of the product's origin.
    asks_by_position : bool
        Whether a galaxy is found by where it is on the sky; else by ``file_loc``.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"footprint"})
    files: ClassVar[frozenset[str]] = frozenset({"footprint"})
    asks_by_position: ClassVar[bool] = True

    pixel_scale: PixelScale | Literal["gz_decals"] = Field(
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
        """Host that is asked, empty when none is: jobs that ask the same one share its limits."""
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
    def known_as(self) -> str:
        """Names by which the service knows what it is asked for, as in ``layer=ls-dr9``."""
        given = {name: getattr(self, name, "") for name in _KNOWN_BY}
        return " ".join(f"{name}={spell(value)}" for name, value in given.items() if value)

    def requests(self, galaxies: int) -> int:
        """Count the requests that so many galaxies need."""
        return galaxies

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout of ``size`` pixels from above."""
        pixel_bytes = _RGB_BYTES if self.sends_pictures else len(self.bands) * _FLOAT_BYTES
        return size * size * pixel_bytes

    def most_bytes(self) -> int:
        """Bytes beyond which an answer is no cutout: with all its headers it is far smaller."""
        return 2 * self.payload_bytes(self.size) + 1_000_000

    @property
    def why_positions(self) -> str:
        """What the positions of galaxies are needed for; empty for nothing."""
        if self.asks_by_position:
            return "the cutout service asks for galaxies by their positions"
        return "a footprint takes galaxies by their positions" if self.footprint else ""

    def input_files(self) -> dict[str, Path]:
        """Files that the cutouts depend on, by setting."""
        values = {name: getattr(self, name) for name in self.files}
        return {name: Path(value) for name, value in sorted(values.items()) if value is not None}


@dataclass(frozen=True)
class Target:
    """One galaxy to cut out.

    Attributes
    ----------
    object_id : str
        Key of the galaxy.
    ra, dec : float
        ICRS position in degrees; NaN where the catalogue has no positions.
    pixel_scale : float
        In arcsec per pixel; 0 where any will do.
    size : int
        Width and height in pixels; 0 where any will do.
    file_loc : str
        Path of the image on disk, for the service ``files``, or a line a band; else empty.
    """

    object_id: str
    ra: float
    dec: float
    pixel_scale: float
    size: int
    file_loc: str = ""


@dataclass(frozen=True)
class Cutout:
    """What became of one target; a row of the cutouts product.

    Attributes
    ----------
    target : Target
        What was asked for.
    status : str
        One of `galaxymill.products.CUTOUT_STATUSES`.
    payload : bytes or None
        As served; kept for ``ok`` and ``partial``, and for ``invalid`` so that it can be looked at.
    http_status : int or None
        The last one received.
    reason : str
        Why the status is not ``ok``.
    url : str
        What was asked, without server and secrets.
    fetched_at : datetime or None
        When the answer came.
    """

    target: Target
    status: str
    payload: bytes | None = None
    http_status: int | None = None
    reason: str = ""
    url: str = ""
    fetched_at: datetime | None = None


class Service(Protocol):
    """A source of cutouts; made anew in every process."""

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target exactly once, in any order, as the answers come.

        At most ``BATCH`` galaxies, or one bulk request, are under way at a time. One bad galaxy
        never raises; `ServiceError` says that nothing more can be had now.
        """

    def close(self) -> None:
        """Let go of connections and servers."""

"""Limits of the client, addresses, and the error that says a service cannot be asked further."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from galaxymill.errors import UserError
from galaxymill.settings import Settings

MAX_ANSWER_BYTES = 36_000_000
MAX_UNDER_WAY = 64
"""Requests at once, whatever the settings say."""


class ServiceError(UserError):
    """The service cannot be asked any further now; what has been fetched is kept."""


class Network(Settings):
    """How hard a service may be asked: operational, changing it fetches nothing again."""

    requests_per_second: float = Field(
        5.0, ge=1e-4, le=1e4, description="upper limit of requests a second"
    )
    connections: int = Field(4, ge=1, le=MAX_UNDER_WAY, description="requests under way at once")
    jobs: int = Field(
        1,
        ge=1,
        le=MAX_UNDER_WAY,
        description="jobs at once; each gets its share of rate and connections",
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


def _plain_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None:
        raise ValueError("must hold no user or password; they come from the environment")
    if not parts.hostname or (parts.port or 0) < 0:
        raise ValueError("must name a host")
    return url


Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$"), AfterValidator(_plain_address)]
"""Address of a service, without secrets."""

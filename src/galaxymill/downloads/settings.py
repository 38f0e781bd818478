"""Where a published file is, and its checksum."""

import shlex
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from galaxymill.settings import Settings
from galaxymill.web.network import Url

FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=128)
]
"""What a downloaded file is called: its ending says which kind of table it is."""


class DownloadSettings(Settings):
    """A published file: its address, its checksum if any, and the most bytes it may have."""

    operational: ClassVar[frozenset[str]] = frozenset({"bytes"})

    url: Url = Field(description="address of the file")
    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$", to_lower=True)] | None = (
        Field(None, description="its MD5, as Zenodo's pages give it")
    )
    sha256: (
        Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)] | None
    ) = Field(None, description="its SHA-256")
    bytes: int = Field(10_000_000_000, ge=1, description="a longer file is refused")

    @model_validator(mode="after")
    def _one_checksum(self) -> Self:
        if self.md5 and self.sha256:
            raise ValueError("give md5 or sha256, not both")
        return self

    @property
    def checksum(self) -> tuple[str, str] | None:
        """Name and value of the checksum; None without one."""
        if self.md5:
            return "md5", self.md5
        return ("sha256", self.sha256) if self.sha256 else None

    def checksum_flags(self) -> str:
        """Write the checksum as a flag; empty without one."""
        return shlex.join(["--" + self.checksum[0], self.checksum[1]]) if self.checksum else ""

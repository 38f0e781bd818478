"""Settings of a probe: a small model that learns from features instead of images."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from galaxymill.settings import Name, Numbers, Settings


class ProbeSettings(Settings):
    """A small model on the features of a space, learned in seconds from tens of labels."""

    dropout: ClassVar[float] = 0.0
    concentrations: ClassVar[Numbers] = (0.1, 101.0)
    weights_file: ClassVar[Path | None] = None
    unfit: ClassVar[tuple[str, ...]] = ()
    views: ClassVar[int] = 1

    features: Name = Field(description="a space of this config, whose features it learns from")
    folds: int = Field(
        5,
        ge=2,
        le=32,
        description="members, each of which learns from all folds of the splits train and val but "
        "one, which judges it",
    )
    hidden: int = Field(
        0, ge=0, le=1024, description="units of a hidden layer; 0: none, predictions are linear"
    )
    seed: int = Field(1, ge=0, le=2**53, description="seed of the hidden layer")

    @property
    def networks(self) -> int:
        """Number of members."""
        return self.folds

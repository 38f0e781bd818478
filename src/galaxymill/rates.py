"""What a plan is reckoned with: how fast things go, and what a model leaves behind."""

from typing import Annotated

from pydantic import Field

from galaxymill.settings import Names, Settings

ARate = Annotated[float, Field(ge=1e-6, le=1e12)]
"""In a second, of any machine there is: what is divided by it stays a number to read."""


class Rates(Settings):
    """How fast your machines are: a plan's hours are reckoned at these, and nothing else is.

    The defaults were measured on two cores without a GPU, see ``docs/BENCHMARKS.md``.
    """

    render: ARate = Field(199, description="images of 424 pixels a second, of one core")
    predict: ARate = Field(
        98.7,
        description="views of galaxies a second, of one GPU, or of one job without: `make "
        "bench-predict` measures it; the default is EfficientNet-B0's on two cores",
    )
    merge: ARate = Field(100_000, description="galaxies a second, of one release")


class ModelUse(Settings):
    """How a model predicts a survey, as far as its cost goes."""

    passes: int = Field(1, ge=1, le=10**6, description="passes of a galaxy through encoders")
    summary_bytes: int = Field(3000, ge=0, le=10**12, description="of a galaxy's prediction")
    embedding_bytes: int = Field(2560, ge=0, le=10**12, description="of a galaxy's embedding")
    releases: Names = Field((), description="names of the releases that hold it")

"""What a plan is reckoned with: how fast things go, and what a model leaves behind."""

from pydantic import Field

from galaxymill.settings import Settings


class Rates(Settings):
    """How fast your machines are: a plan's hours are reckoned at these, and nothing else is.

    The defaults were measured on two cores without a GPU, see ``docs/BENCHMARKS.md``.
    """

    render: float = Field(
        199, gt=0, allow_inf_nan=False, description="images of 424 pixels a second, of one core"
    )
    predict: float = Field(
        98.7,
        gt=0,
        allow_inf_nan=False,
        description="views of galaxies a second, of one GPU, or of one job without: `make "
        "bench-predict` measures it; the default is EfficientNet-B0's on two cores",
    )
    merge: float = Field(
        100_000, gt=0, allow_inf_nan=False, description="galaxies a second, of one release"
    )


class ModelUse(Settings):
    """How a model predicts a survey, as far as its cost goes."""

    passes: int = Field(1, ge=1, description="times that a galaxy goes through an encoder")
    summary_bytes: int = Field(3000, ge=0, description="that one galaxy's prediction takes")
    embedding_bytes: int = Field(2560, ge=0, description="that one galaxy's embedding takes")
    releases: int = Field(1, ge=0, description="releases that are made of it")

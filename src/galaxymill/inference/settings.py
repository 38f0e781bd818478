"""Settings of prediction."""

from pydantic import Field

from galaxymill import flags
from galaxymill.settings import Settings


class PredictSettings(Settings):
    """What a prediction holds."""

    samples: int = Field(5, ge=1, le=100, description="Monte-Carlo dropout samples of the head")
    unfit: flags.FlagNames = Field(
        flags.UNFIT,
        description="quality flags of images that are not predicted: null in every table",
    )
    allow_domain_shift: bool = Field(
        False, description="predict images of another survey or recipe than the model's"
    )

"""Settings of rounds: how many are asked about, by which rules, and when a model is replaced."""

from pydantic import Field, model_validator

from galaxymill.rounds.rules import RULES
from galaxymill.settings import Names, Settings


class ChooseSettings(Settings):
    """Which galaxies are asked about."""

    budget: int = Field(ge=1, le=1_000_000, description="galaxies of a round")
    choose: Names = Field(
        ("not_confidently_smooth", "mutual_information"),
        description=f"rules, which share the budget: {', '.join(RULES)}",
    )
    random: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of the budget that is drawn at random: the only fair test of a model",
    )
    featured: str = Field(
        "", description="answer of not_confidently_smooth, as its column, question_answer"
    )
    fraction: float = Field(
        0.2, gt=0, lt=1, description="fraction of volunteers that would make a galaxy featured"
    )
    probability: float = Field(
        0.8, gt=0, lt=1, description="probability of that fraction or more that is enough"
    )
    seed: int = Field(1, ge=0, le=2**53, description="another seed draws other galaxies")

    @model_validator(mode="after")
    def _rules_can_be_used(self) -> "ChooseSettings":
        for name in self.choose:
            if name not in RULES:
                raise ValueError(f"choose: {name!r}; allowed: {', '.join(RULES)}")
        if "not_confidently_smooth" in self.choose and not self.featured:
            raise ValueError(
                "featured: name the answer whose volunteers see features, such as "
                "smooth-or-featured_featured-or-disk: rule not_confidently_smooth asks for it"
            )
        return self


class JudgeSettings(Settings):
    """When a challenger takes the champion's place."""

    margin: float = Field(
        0.1,
        gt=0,
        le=1,
        description="part of what the champion gains over a constant, by likelihood, that a "
        "challenger may lose: the upper 95 % bound must be below",
    )

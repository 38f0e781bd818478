"""Settings of prediction."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator

from galaxymill import flags
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.settings import Names, Settings

OPTIONAL = ("samples", "embeddings")
_POSTERIOR = frozenset({"samples", "views", "keep_views"})


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in OPTIONAL:
            raise ValueError(f"{name!r} cannot be kept or left out; allowed: {', '.join(OPTIONAL)}")
    return tuple(name for name in OPTIONAL if name in names)


class PredictSettings(Settings):
    """What a prediction holds; where and how it is computed changes it by rounding only."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"device", "precision", "batch_size", "compile"}
    )

    samples: int = Field(
        5, ge=1, le=100, description="Monte-Carlo dropout samples of the head, of each member"
    )
    views: Literal["model", 1, 8] = Field(
        "model",
        description="one view, the 8 quarter turns and reflections, or as many as the model says",
    )
    keep_views: bool = Field(
        False,
        description="views are members of the posterior, rather than averaged before the head",
    )
    keep: Annotated[Names, AfterValidator(_in_order)] = Field(
        OPTIONAL,
        description="what is kept beside the summary columns: samples (every one of the posterior, "
        "such as concentrations), embeddings (features of the encoder); embeddings that are not "
        "kept are null",
    )
    unfit: flags.FlagNames = Field(
        flags.UNFIT,
        description="quality flags of images that are not predicted: null in every table",
    )
    allow_domain_shift: bool = Field(
        False, description="predict images of another survey or recipe than the model's"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda where there is a GPU"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="of the encoder; auto: bf16 where the processor has it and predictions keep",
    )
    batch_size: int = Field(
        0, ge=0, le=4096, description="galaxies a step; 0: 16 on a CPU, 256 on a GPU"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto: when a partition is long enough to repay it"
    )

    @field_validator("views", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    def posterior(self) -> dict[str, Any]:
        """Choices that change the posterior: a calibration holds for these alone."""
        return self.model_dump(mode="json", include=set(_POSTERIOR), exclude_defaults=True)

    def as_evaluated(self) -> Self:
        """Choices that matter to an evaluation; what is kept or left out does not."""
        names = _POSTERIOR | self.operational
        return type(self)(**self.model_dump(include=set(names), exclude_defaults=True))

    def view_count(self, model: TrainSettings | ProbeSettings) -> int:
        """Number of views of each image."""
        return model.views if self.views == "model" else self.views

    def draws(self, model: TrainSettings | ProbeSettings) -> int:
        """Number of posterior samples of a galaxy, of all members, and all views if kept."""
        if isinstance(model, ProbeSettings):
            return model.networks
        kept = self.view_count(model) if self.keep_views else 1
        return self.samples * model.networks * kept

"""Settings of prediction."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator

from galaxymill import flags
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.settings import EncoderSettings, refused_views
from galaxymill.products import POOLING
from galaxymill.settings import Names, Settings
from galaxymill.tasks.task import Task

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
    views: Literal["model", 1, 4, 8] = Field(
        "model",
        description="one view, the 4 quarter turns, these and their reflections (8), or as many as "
        "the model says",
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
    member: int = Field(
        1, ge=1, le=32, description="network of an ensemble that embeddings are of, from 1 on"
    )
    pool: Literal["mean", "mean_std"] = Field(
        "mean",
        description="embeddings of several views: their mean, or their mean and then their "
        "standard deviation, twice as long",
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

    def embedding(self) -> dict[str, Any]:
        """Choices that change embeddings: a space holds for these alone."""
        return self.model_dump(mode="json", include=set(POOLING), exclude_defaults=True)

    def as_evaluated(self) -> Self:
        """Choices that matter to an evaluation; what is kept or left out does not."""
        names = _POSTERIOR | self.operational
        return type(self)(**self.model_dump(include=set(names), exclude_defaults=True))

    def view_count(self, model: EncoderSettings | ProbeSettings) -> int:
        """Number of views of each image."""
        return model.views if self.views == "model" else self.views

    def refused(self, model: EncoderSettings | ProbeSettings, task: Task | None = None) -> str:
        """Say why a model, which has that task, cannot predict so; empty when it can."""
        views = self.view_count(model)
        if self.member > model.networks:
            return f"member: {self.member}: the model has {model.networks} network(s)"
        if self.pool == "mean_std" and views == 1:
            return "pool: mean_std: one view has no deviation; give views: 8 or 4, or pool: mean"
        return refused_views(views, task) if task else ""

    def described(self, model: EncoderSettings) -> str:
        """Say which network's features of which views embeddings hold."""
        views = self.view_count(model)
        parts = [f"encoder {model.encoder}"]
        if model.networks > 1:
            parts.append(f"network {self.member} of {model.networks}")
        if views > 1:
            more = ", then their standard deviation" if self.pool == "mean_std" else ""
            parts.append(f"mean over {views} views{more}")
        return ", ".join([*parts, f"of images of {model.image_size} pixels"])

    def draws(self, model: EncoderSettings | ProbeSettings) -> int:
        """Number of posterior samples of a galaxy, of all members, and all views if kept."""
        if isinstance(model, ProbeSettings):
            return model.networks
        kept = self.view_count(model) if self.keep_views else 1
        return self.samples * model.networks * kept

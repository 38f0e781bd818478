"""Settings of training."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from galaxymill import flags
from galaxymill.models.encoders import encoder_names, is_encoder
from galaxymill.settings import Numbers, Settings


class TrainSettings(Settings):
    """What a model is made of and how it learns."""

    encoder: str = Field(description="a timm architecture, or hf-hub:… / local-dir:…")
    pretrained: bool = Field(False, description="start from the encoder's published weights")
    image_size: int = Field(224, ge=32, le=1024, description="pixels that the network sees")
    zoom: Numbers = Field(
        (1.2, 1.4), description="range of zoom in training; their mean in use", min_length=2
    )
    views: Annotated[Literal[1, 8], BeforeValidator(int)] = Field(
        1, description="in use: one view, or the mean over the 8 quarter turns and reflections"
    )
    epochs: int = Field(30, ge=1, le=1000, description="passes over the training galaxies")
    batch_size: int = Field(64, ge=2, le=4096, description="galaxies a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="weight decay of AdamW")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the head")
    concentrations: Numbers = Field(
        (1.0, 101.0), description="range of the Dirichlet concentrations", min_length=2
    )
    unfit: flags.FlagNames = Field(
        flags.UNFIT, description="quality flags of images that are not learned from"
    )
    seed: int = Field(1, ge=0, description="seed of weights, order and augmentation")

    @field_validator("encoder")
    @classmethod
    def _known_encoder(cls, name: str) -> str:
        if not is_encoder(name):
            from galaxymill.errors import unknown_name

            raise ValueError(str(unknown_name("timm", name, encoder_names(), "encoder")))
        return name

    @field_validator("zoom")
    @classmethod
    def _is_inside(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if min(bounds) < 1:
            raise ValueError("must be at least 1: there is nothing outside the image")
        return bounds

    @field_validator("zoom", "concentrations")
    @classmethod
    def _is_range(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
            raise ValueError("must be two positive numbers, the smaller first")
        return bounds

"""Models in a config: networks that are trained, probes on features, and encoders alone."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError

from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.settings import EncoderSettings, LoneEncoderSettings, TrainSettings
from galaxymill.settings import Name, Strict, explain, without_nulls


def several(value: Any) -> Any:
    """Take one name as a list of one."""
    return (value,) if isinstance(value, str) else value


def _learning(value: Any) -> Any:
    """Settings of a probe where they name the features that it stands on, else of a network."""
    if not isinstance(value, Mapping):
        return value
    if "features" not in value:
        return TrainSettings.model_validate(value)
    try:
        return ProbeSettings.model_validate(value)
    except ValidationError as error:
        raise ValueError(explain(error, ProbeSettings)) from error


class Model(Strict):
    """A model: what it learns from and how."""

    labels: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        description="labels of this config; several are learned jointly", min_length=1
    )
    train: Annotated[TrainSettings | ProbeSettings, BeforeValidator(_learning)]

    @property
    def probe(self) -> ProbeSettings | None:
        """Its settings when it learns from the features of a space; None for a network."""
        return self.train if isinstance(self.train, ProbeSettings) else None

    @property
    def network(self) -> TrainSettings | ProbeSettings:
        """What its networks are."""
        return self.train


class EncoderAlone(LoneEncoderSettings):
    """A model that is an encoder alone, as it was published: its predictions are embeddings."""

    labels: ClassVar[tuple[str, ...]] = ()
    probe: ClassVar[None] = None

    @property
    def network(self) -> EncoderSettings:
        """What its one network is."""
        return self


def _parse_model(plain: Any) -> Model | EncoderAlone:
    keys = set(without_nulls(plain) if isinstance(plain, Mapping) else ())
    if "encoder" not in keys or keys & {"labels", "train"}:
        return Model.model_validate(plain)
    try:
        return EncoderAlone.model_validate(plain)
    except ValidationError as error:
        raise ValueError(explain(error, EncoderAlone)) from error


AnyModel = Annotated[
    Model | EncoderAlone,
    PlainValidator(_parse_model, json_schema_input_type=Model | EncoderAlone),
]

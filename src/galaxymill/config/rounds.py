"""Rounds in a config: each stands for ordinary labels, models and a prediction, which are added."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from galaxymill.errors import unknown_name
from galaxymill.labels.panoptes import SUBJECT_ID, PanoptesSettings
from galaxymill.labels.settings import Files
from galaxymill.rounds.settings import ChooseSettings, JudgeSettings
from galaxymill.settings import Name, Strict

if TYPE_CHECKING:
    from galaxymill.config.config import Config


class Overrule(Strict):
    """A person's word against a verdict."""

    promote: bool = Field(description="whether the challenger becomes the champion")
    reason: str = Field(min_length=10, max_length=2000, description="why; it is kept")


class Round(ChooseSettings):
    """Rounds of asking volunteers: what is asked, what came back, who is champion."""

    model: Name = Field(description="a model of this config: the first champion, before any round")
    survey: Name = Field(description="the survey whose galaxies are asked about")
    diverse: Name | None = Field(
        None, description="a space of this config: what rules choose is spread over it"
    )
    exports: Files = Field(
        (), description="what came back, a file a round, in order and of the format of the labels"
    )
    subjects: Files = Field(
        (), description="subjects.parquet of each round that came back, if not in the results"
    )
    margin: float = Field(
        JudgeSettings().margin, gt=0, le=1, description="part of the gain that may be lost"
    )
    overrule: dict[int, Overrule] = Field(
        {}, description="a person's word against the verdict of a round, by its number"
    )

    @property
    def asking(self) -> int:
        """Number of the round whose answers have not come back."""
        return len(self.exports) + 1

    def choose_settings(self) -> ChooseSettings:
        """Who is asked about."""
        return ChooseSettings(**self.model_dump(include=set(ChooseSettings.model_fields)))


def subjects_files(name: str, own: Round) -> list[Path]:
    """What was asked in the rounds that came back."""
    kept = [f"results/rounds/{name}/{n:04d}/subjects.parquet" for n in range(1, own.asking)]
    return list(own.subjects) or [Path(one) for one in kept]


def round_name(name: str, number: int) -> str:
    """Name of the labels of a round, and of the challenger that learns from them."""
    return f"{name}-{number:04d}"


def added_names(rounds: Mapping[str, Round]) -> set[str]:
    """Names of what rounds add to a config; see `add_rounds`."""
    every = [(name, range(1, own.asking)) for name, own in rounds.items()]
    return {*rounds, *(round_name(name, number) for name, some in every for number in some)}


def round_refusals(config: "Config") -> Iterator[tuple[str, str]]:
    """What is wrong with rounds before they are added: names that are taken, models of no use."""
    for name, own in config.rounds.items():
        key = f"rounds.{name}"
        if own.model not in config.models:
            yield "", str(unknown_name(f"{key}.model", own.model, config.models, "model"))
            continue
        if own.survey not in config.surveys:
            yield "", str(unknown_name(f"{key}.survey", own.survey, config.surveys, "survey"))
        labels = config.models[own.model].labels
        if len(labels) != 1:
            yield f"{key}.model", f"{own.model} has {len(labels)} labels; rounds add to one"
        for known in labels:
            yield from _of_labels(config, own, known, key)
        names = [name, *(round_name(name, number) for number in range(1, own.asking))]
        for kind in ("models", "labels", "predictions"):
            for taken in sorted(set(names) & set(getattr(config, kind))):
                yield key, f"{kind} has {taken}, which the rounds are to add; rename it"
        for number in sorted(set(own.overrule) - set(range(1, own.asking))):
            yield f"{key}.overrule", f"{number}: no such round has come back"
        if len(set(own.exports)) < len(own.exports):
            yield f"{key}.exports", "one is named twice"
        if own.subjects and len(own.subjects) != len(own.exports):
            yield f"{key}.subjects", f"{len(own.subjects)}, of {len(own.exports)} rounds"


def _of_labels(config: "Config", own: Round, name: str, key: str) -> Iterator[tuple[str, str]]:
    """Why the answers of rounds could not be added to some labels."""
    if name not in config.labels:
        return
    images = config.labels[name].images.survey
    if images != own.survey:
        which = f"of survey {images}" if images else "in a folder"
        yield (
            f"{key}.survey",
            f"{own.survey}, but the images of labels {name}, which the answers are added to, are "
            f"{which}; give labels of galaxies of {own.survey}",
        )
    if subject_keys(config, own).get("object_id") == SUBJECT_ID:
        yield (
            f"labels.{name}.object_id",
            f"{SUBJECT_ID} is Zooniverse's own number, by which answers do not find their way "
            "back to galaxies; name the key of the metadata, such as '#object_id'",
        )


def subject_keys(config: "Config", own: Round) -> dict[str, str]:
    """Keys of the subjects' metadata by which labels find a galaxy; none for other formats."""
    settings = config.labels[config.models[own.model].labels[0]].settings
    if not isinstance(settings, PanoptesSettings):
        return {}
    return {"object_id": settings.object_id, "ra": settings.ra, "dec": settings.dec}


def add_rounds(config: "Config") -> None:
    """Add what rounds stand for: of each that came back its labels and the challenger.

    The champion is a model, and predicts the survey, by the name of the rounds.
    """
    from galaxymill.config.config import Prediction

    for name, own in config.rounds.items():
        first = config.models[own.model]
        (known,) = first.labels
        base = config.labels[known]
        for number in range(1, own.asking):
            known = round_name(name, number)
            votes = (*base.votes, *own.exports[:number])
            config.labels[known] = base.model_copy(update={"votes": votes})
            config.models[known] = first.model_copy(update={"labels": (known,)})
        config.models[name] = first.model_copy(update={"labels": (known,)})
        config.predictions[name] = Prediction(survey=own.survey, model=name)

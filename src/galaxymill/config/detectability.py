"""A detectability in the config: which predictions are compared, and what surveys show."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from galaxymill import products
from galaxymill.config.models import several
from galaxymill.config.observed import observed
from galaxymill.detectability.covariates import View
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.errors import unknown_name
from galaxymill.settings import Name

if TYPE_CHECKING:
    from galaxymill.config.config import Config


class Detectability(DetectabilitySettings):
    """How much of each answer is still seen of the same galaxies farther away."""

    near: Name | None = Field(None, description="a prediction of this config")
    labels: Name | None = Field(
        None, description="or a labelled set: volunteers who answered about the near images"
    )
    far: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        min_length=1, description="predictions of surveys that show the near one farther away"
    )

    @model_validator(mode="after")
    def _one_near(self) -> Self:
        if (self.near is None) == (self.labels is None):
            raise ValueError("give near, a prediction, or labels, a labelled set: one of them")
        return self

    def settings(self) -> DetectabilitySettings:
        """How it is learned."""
        return DetectabilitySettings(**self.model_dump(exclude={"near", "labels", "far"}))


def near_survey(config: "Config", name: str) -> str | None:
    """Survey whose galaxies are compared; None for labels of a folder of images."""
    one = config.detectability[name]
    if one.labels is not None:
        return config.labels[one.labels].images.survey
    return config.predictions[str(one.near)].survey


def view_of(config: "Config", survey: str, band: str) -> View | None:
    """How a survey shows galaxies in one band; None where seeing or depth is not known."""
    telescope, moved = config.telescope(survey), observed(config).get(survey)
    if telescope is None or band not in telescope.seeing or band not in telescope.depth:
        return None
    move = moved.model_dump(include={"farther", "redshift"}) if moved else {}
    return View(seeing=telescope.seeing[band], depth=telescope.depth[band], **move)


def detectability_refusals(config: "Config") -> Iterator[tuple[str, str]]:
    """What cannot be compared by what the config alone says."""
    for name, one in config.detectability.items():
        key = f"detectability.{name}"
        among: dict[str, Mapping[str, Any]] = {
            "near": config.predictions,
            "labels": config.labels,
            "far": config.predictions,
        }
        given = [("near", one.near), ("labels", one.labels), *(("far", far) for far in one.far)]
        unknown = [(kind, which) for kind, which in given if which and which not in among[kind]]
        if unknown:
            kind, which = unknown[0]
            yield "", str(unknown_name(f"{key}.{kind}", which, among[kind], kind))
            continue
        near = near_survey(config, name)
        if near is None:
            yield (
                f"{key}.labels",
                f"images of {one.labels} are in a folder, not of a survey",
            )
            continue
        yield from _of_columns(config, key, name, near)
        for far in one.far:
            survey = config.predictions[far].survey
            shown = observed(config).get(survey)
            if shown is None or shown.survey != near:
                what = f"shows {shown.survey}" if shown else "is not of service observed"
                yield f"{key}.far", f"{far} is of survey {survey}, which {what}, not {near}"
            yield from _of_view(config, survey, one.band)
    for release, settings in config.releases.items():
        told, key = settings.detectability, f"releases.{release}"
        if told and told not in config.detectability:
            place = f"{key}.detectability"
            yield "", str(unknown_name(place, told, config.detectability, "detectability"))
        elif told:
            survey = config.release_survey(release)
            yield from _of_columns(config, key, told, survey)
            yield from _of_view(config, survey, config.detectability[told].band)


def _of_columns(config: "Config", key: str, name: str, survey: str) -> Iterator[tuple[str, str]]:
    """Columns that the survey's catalogue does not keep."""
    catalog = config.surveys[survey].catalog
    own = [one for one in products.OPTIONAL_OBJECT_COLUMNS if getattr(catalog, one) is not None]
    for column in config.detectability[name].columns:
        if column not in (*own, *catalog.keep):
            allowed = ", ".join((*own, *catalog.keep)) or "none"
            yield (
                f"{key}: column {column}",
                f"is not kept of the catalogue of {survey}; allowed: {allowed}; name more in "
                f"surveys.{survey}.catalog.keep",
            )


def _of_view(config: "Config", survey: str, band: str) -> Iterator[tuple[str, str]]:
    if view_of(config, survey, band) is None:
        moved = observed(config).get(survey)
        place = f"surveys.{moved.survey if moved else survey}.telescope"
        yield place, f"band {band}: detectability needs its seeing and its depth; give both"

"""Settings of a labelled set in the config."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from galaxymill.images.settings import PassthroughSettings
from galaxymill.labels.formats import FORMATS
from galaxymill.labels.rows import FormatSettings
from galaxymill.settings import Choice, Name, without_nulls
from galaxymill.splits import SplitSettings
from galaxymill.tasks.checks import CheckSettings


class LabelImages(PassthroughSettings):
    """Where the images of labelled galaxies are: a survey, or a folder of files.

    A folder's images are drawn as by the recipe ``passthrough``, with its settings.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"survey", "folder"})

    survey: Name | None = Field(None, description="a survey of this config")
    folder: Path | None = Field(None, description="folder that file_loc paths start from")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.survey is None) == (self.folder is None):
            raise ValueError("give either survey or folder")
        if self.origin is not None and self.survey is not None:
            raise ValueError(
                f"origin goes with folder; that of a survey is surveys.{self.survey}.images.origin"
            )
        return self


def _one_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, str | Path) else value


Files = Annotated[
    tuple[Path, ...],
    BeforeValidator(_one_or_several),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]


class Labels(Choice):
    """A labelled set: its files, their format with its settings beside it, and the images."""

    key = "format"
    registry = FORMATS

    votes: Files = Field(min_length=1, description="file or list of files; their votes add up")
    format: str = Field("counts", description="layout of the files")
    settings: FormatSettings
    tree: str | None = Field(
        None, description="name of a tree in config/trees, or path of a tree file; for votes"
    )
    images: LabelImages
    splits: SplitSettings = SplitSettings()
    checks: CheckSettings = CheckSettings()

    @property
    def has_individuals(self) -> bool:
        """Whether the files say who gave which answer."""
        return FORMATS[self.format].individuals

    def to_flags(self) -> str:
        """Spell what changes the labels for the command line."""
        words = (self.splits.to_flags("--split"), self.checks.to_flags("--check"))
        return " ".join([super().to_flags(), *words])

    @classmethod
    def pick(cls, plain: Any) -> Any:
        """Set the keys of every labelled set apart, and split the others."""
        if not isinstance(plain, dict):
            return plain
        plain = without_nulls(plain)
        shared = {k: v for k, v in plain.items() if k in cls.model_fields and k != "settings"}
        own = {k: v for k, v in plain.items() if k not in shared}
        name = str(plain.get("format", "counts"))
        fields = set(FORMATS[name].settings.model_fields) if name in FORMATS else set(own)
        if unknown := sorted(map(str, set(own) - fields - {"settings"})):
            allowed = sorted({*cls.model_fields, *fields} - {"settings"})
            raise ValueError(f"{', '.join(unknown)}: unknown key; allowed: {', '.join(allowed)}")
        return {**shared, **super().pick({"format": name, **own})}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        needs_tree = FORMATS[self.format].votes is not None
        if needs_tree != (self.tree is not None):
            what = "is required by" if needs_tree else "does not go with"
            raise ValueError(f"tree: {what} format {self.format}")
        if self.has_individuals and self.images.folder is not None:
            raise ValueError(
                f"images.folder: format {self.format} has no column file_loc; make the folder a "
                "survey (service: files) and name it in images.survey"
            )
        twice = sorted({str(path) for path in self.votes if self.votes.count(path) > 1})
        if twice:
            raise ValueError(f"votes: given twice: {', '.join(twice)}; their votes would add up")
        return self

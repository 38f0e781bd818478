"""The task of classes: one question, of which each galaxy has one answer."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.splits import SPLITS
from galaxymill.storage.columns import field
from galaxymill.tasks.classes import release
from galaxymill.tasks.released import ColumnGroup, Panel, ReleaseText
from galaxymill.tasks.task import Floats, HeadSettings, Values
from galaxymill.tasks.votes.task import TreeTask, uncertainties, uncertainty_fields
from galaxymill.trees.tree import Question

if TYPE_CHECKING:
    from galaxymill.tasks.heads import Head
    from galaxymill.tasks.report import EvaluationData, ReportContent

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class ClassTask(TreeTask):
    """One of some classes: a tree of one question, and one vote a galaxy."""

    kind: ClassVar[str] = "class"
    sample_column: ClassVar[str] = "probabilities"
    sample_group: ClassVar[ColumnGroup] = release.PROBABILITIES
    groups: ClassVar[Mapping[str, ColumnGroup]] = release.GROUPS

    @property
    def question(self) -> Question:
        """The one question."""
        (question,) = self.tree.questions
        return question

    def sample_width(self) -> tuple[int, str]:
        """One probability a class."""
        return len(self.columns), "probabilities of the classes"

    def summary_fields(self) -> list[pa.Field]:
        """List probabilities of the classes, then their uncertainty."""
        question = self.question
        return [
            *(
                field(
                    f"{column}_probability",
                    pa.float32(),
                    f"probability that {question.name} is {answer!r}",
                )
                for column, answer in zip(question.columns, question.answers, strict=True)
            ),
            *uncertainty_fields(question, "class of"),
        ]

    def summarise(self, samples: Values) -> dict[str, Floats]:
        """Compute the columns of ``summary_fields``.

        Probabilities are fractions of a Dirichlet distribution whose concentrations they are.
        """
        from galaxymill.tasks.votes.posterior import mean_fractions

        mean = mean_fractions(samples, self.tree)
        columns = {f"{name}_probability": mean[:, n] for n, name in enumerate(self.columns)}
        return columns | uncertainties(samples, self.question)

    def tell(self, labels: pa.Table) -> None:
        """Log how many galaxies a class has, and where; few are a warning."""
        counts, few = [], []
        for name, column in zip(self.question.answers, self.columns, strict=True):
            there = Counter(labels["split"].filter(pc.equal(labels[column], 1)).to_pylist())
            by_split = "/".join(str(there[split]) for split in SPLITS)
            counts.append(f"{name} {there.total()} ({by_split})")
            few += [f"{name!r} has {there.total()}"] if there.total() < 2 else []
        logger.info("labels: galaxies by class (%s): %s", "/".join(SPLITS), ", ".join(counts))
        if few:
            logger.warning(
                "labels: classes with too few galaxies to learn and to test: %s; add galaxies, "
                "correct the name, or take the class out",
                ", ".join(few),
            )

    def panels(self) -> list[Panel]:
        """Probabilities of the classes."""
        return release.panels(self.question)

    def release_text(self) -> ReleaseText:
        """Describe the classes."""
        return release.release_text(self.question)

    def head(self, features: int, settings: "HeadSettings") -> "Head":
        """Make a softmax head."""
        from galaxymill.tasks.classes.head import SoftmaxHead

        return SoftmaxHead(features, len(self.columns), settings.dropout)

    def report(self, data: "EvaluationData") -> "ReportContent":
        """Compare the classes."""
        from galaxymill.tasks.classes.report import report_classes

        return report_classes(data, self.question)

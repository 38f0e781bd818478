"""The task of classes: one question, of which each galaxy has one answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from galaxymill.storage.columns import field
from galaxymill.tasks.task import Floats, Values
from galaxymill.tasks.votes.task import TreeTask, uncertainties, uncertainty_fields
from galaxymill.votes.tree import Question

if TYPE_CHECKING:
    from galaxymill.evaluation.material import Findings, Material
    from galaxymill.models.heads import Head
    from galaxymill.models.settings import TrainSettings


@dataclass(frozen=True)
class ClassTask(TreeTask):
    """One of some classes: a tree of one question, and one vote a galaxy."""

    kind: ClassVar[str] = "class"
    sample_column: ClassVar[str] = "probabilities"

    @property
    def question(self) -> Question:
        """The one question."""
        (question,) = self.tree.questions
        return question

    def sample_width(self) -> tuple[int, str]:
        """One probability a class."""
        return len(self.columns), "probabilities of the classes"

    def summary_fields(self) -> list[pa.Field]:
        """List probabilities of the classes, then how sure they are."""
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

    def head(self, features: int, settings: "TrainSettings") -> "Head":
        """Make a softmax head."""
        from galaxymill.tasks.classes.head import SoftmaxHead

        return SoftmaxHead(features, len(self.columns), settings.dropout)

    def report(self, material: "Material") -> "Findings":
        """Compare the classes."""
        from galaxymill.tasks.classes.report import report_classes

        return report_classes(material, self.question)

"""The task of classes: one question, of which each galaxy has one answer."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.reporting.tables import markdown_table
from galaxymill.splits import SPLITS
from galaxymill.storage.columns import field
from galaxymill.tasks.released import UNCERTAINTY, Answer, ColumnGroup, Panel, ReleaseText
from galaxymill.tasks.task import Floats, HeadSettings, Values
from galaxymill.tasks.votes.task import TreeTask, uncertainties, uncertainty_fields
from galaxymill.trees.tree import Question

if TYPE_CHECKING:
    from galaxymill.tasks.heads import Head
    from galaxymill.tasks.report import EvaluationData, ReportContent

logger = logging.getLogger("galaxymill")

_SCORES = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC AUC"}


@dataclass(frozen=True)
class ClassTask(TreeTask):
    """One of some classes: a tree of one question, and one vote a galaxy."""

    kind: ClassVar[str] = "class"
    sample_column: ClassVar[str] = "probabilities"
    sample_group: ClassVar[ColumnGroup] = ColumnGroup(
        "samples of class probabilities",
        "probabilities of the classes, sample after sample, classes in their order",
        "stat.probability",
        (0.0, 1.0),
    )
    groups: ClassVar[Mapping[str, ColumnGroup]] = {
        "probability": ColumnGroup(
            "class probabilities",
            "probability that the galaxy is of the class",
            "stat.probability;src.morph.type",
            (0.0, 1.0),
            friendly=True,
        ),
        "entropy": UNCERTAINTY,
        "mutual-information": UNCERTAINTY,
    }

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
        name = self.question.name
        return [
            *(
                field(
                    f"{column}_probability", pa.float32(), f"probability that {name} is {answer!r}"
                )
                for column, answer in self.question.column_answers
            ),
            *uncertainty_fields(self.question, "class of"),
        ]

    def summarise(self, samples: Values) -> dict[str, Floats]:
        """Compute the columns of ``summary_fields``.

        Probabilities are fractions of a Dirichlet distribution whose concentrations they are.
        """
        from galaxymill.tasks.votes.posterior import mean_fractions

        mean = mean_fractions(samples, self.tree)
        columns = {f"{name}_probability": mean[:, n] for n, name in enumerate(self.columns)}
        return columns | uncertainties(samples, self.question)

    def scores(self, samples: Values, labels: Floats) -> dict[str, float]:
        """Give the balanced accuracy: the mean recall of the classes that there are."""
        truth = labels.argmax(axis=1)
        right = samples.mean(axis=1).argmax(axis=1) == truth
        recalls = [right[truth == one].mean() for one in np.unique(truth)]
        return {"balanced accuracy": float(np.mean(recalls))}

    def log_labels(self, labels: pa.Table) -> None:
        """Log how many galaxies a class has, and where; few are a warning."""
        counts, few = [], []
        for column, name in self.question.column_answers:
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
        """Show the probabilities of the classes."""
        answers = (
            Answer(f"{column}_probability", answer, f"{column}_probability")
            for column, answer in self.question.column_answers
        )
        return [Panel(self.question.name, tuple(answers))]

    def release_text(self) -> ReleaseText:
        """Describe the classes and how well they are told apart."""
        name = self.question.name
        return ReleaseText(
            f"the probability of each class of {name}, with its uncertainty",
            {f"classes of {name}": ", ".join(self.question.answers)},
            (
                f"""The probabilities of {name} hold for galaxies like those learned from. \
If a class is rarer in the survey than it was among the labels, its probabilities are too high: \
choose a threshold on a sample of the survey that you have looked at.""",
            ),
            _figures,
        )

    def head(self, features: int, settings: "HeadSettings") -> "Head":
        """Make a softmax head."""
        from galaxymill.tasks.classes.head import SoftmaxHead

        return SoftmaxHead(features, len(self.columns), settings.dropout)

    def report(self, data: "EvaluationData") -> "ReportContent":
        """Compare the classes."""
        from galaxymill.tasks.classes.report import report_classes

        return report_classes(data, self.question)


def _figures(metrics: Mapping[str, Any]) -> str:
    """Give a table with one line a class, on galaxies kept for testing."""
    overall, classes = metrics.get("overall") or {}, metrics.get("classes") or {}
    if not classes:
        return ""
    rows = [
        (name, scores.get("support") or 0, *(_show(scores.get(key)) for key in _SCORES))
        for name, scores in classes.items()
    ]
    constant = overall.get("baselines", {}).get("constant", {})
    return f"""How well the classes are told apart on galaxies the model has not learned from, if \
a galaxy counts as of the class that is most probable: a share of {_show(overall.get("accuracy"))} \
get their own class, where the commonest class alone would be right for \
{_show(constant.get("accuracy"))}. The mean gap between the probability of that class and how \
often it is right is {_show(overall.get("calibration_error"))}.

{markdown_table(("class", "galaxies", *_SCORES.values()), rows)}"""


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

"""What a release shows of classes: the probability of each."""

from collections.abc import Mapping
from typing import Any

from galaxymill.reporting.tables import markdown_table
from galaxymill.tasks.released import UNCERTAINTY, Answer, ColumnGroup, Panel, ReleaseText
from galaxymill.trees.tree import Question

PROBABILITIES = ColumnGroup(
    "samples of class probabilities",
    "probabilities of the classes, sample after sample, classes in their order",
    "stat.probability",
    (0.0, 1.0),
)
GROUPS = {
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


def panels(question: Question) -> list[Panel]:
    """Show the probabilities of the classes."""
    answers = (
        Answer(f"{column}_probability", answer, f"{column}_probability")
        for column, answer in zip(question.columns, question.answers, strict=True)
    )
    return [Panel(question.name, tuple(answers))]


def release_text(question: Question) -> ReleaseText:
    """Describe the classes and how well they are told apart."""
    return ReleaseText(
        f"the probability of each class of {question.name}, with its uncertainty",
        {f"classes of {question.name}": ", ".join(question.answers)},
        (
            f"""The probabilities of {question.name} hold for galaxies like those learned from. \
If a class is rarer in the survey than it was among the labels, its probabilities are too high: \
choose a threshold on a sample of the survey that you have looked at.""",
        ),
        figures,
    )


def figures(metrics: Mapping[str, Any]) -> str:
    """Give a table with one line a class, on galaxies kept for testing."""
    overall, classes = metrics.get("overall") or {}, metrics.get("classes") or {}
    if not classes:
        return ""
    rows = [
        (name, entry.get("n") or 0, *(_show(entry.get(key)) for key in _SCORES))
        for name, entry in classes.items()
    ]
    constant = overall.get("baselines", {}).get("constant", {})
    return f"""How well the classes are told apart on galaxies the model has not learned from, if \
a galaxy counts as of the class that is most probable: a share of {_show(overall.get("accuracy"))} \
get their own class, where the commonest class alone would be right for \
{_show(constant.get("accuracy"))}. The mean gap between the probability of that class and how \
often it is right is {_show(overall.get("calibration_error"))}.

{markdown_table(("class", "galaxies", *_SCORES.values()), rows)}"""


_SCORES = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC AUC"}


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

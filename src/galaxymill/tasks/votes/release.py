"""What a release shows of votes: fractions of the answers to each question of a tree."""

from collections.abc import Mapping, Sequence
from typing import Any

from galaxymill.reporting.tables import markdown_table
from galaxymill.tasks.released import UNCERTAINTY, Answer, ColumnGroup, Panel, ReleaseText
from galaxymill.trees.tree import Tree

_SHARES = (0.0, 1.0)
CONCENTRATIONS = ColumnGroup(
    "concentrations",
    "Dirichlet concentrations, sample after sample, answers in the tree's order",
    "stat.param",
    (0.0, None),
)
_INTERVALS = ColumnGroup(
    "credible intervals",
    "5th and 95th percentile of that fraction",
    "stat.param;src.morph.type",
    _SHARES,
)
GROUPS = {
    "fraction": ColumnGroup(
        "vote fractions",
        "expected fraction of volunteers who would give the answer",
        "stat.probability;src.morph.type",
        _SHARES,
        friendly=True,
    ),
    "90pc-lower": _INTERVALS,
    "90pc-upper": _INTERVALS,
    "proportion-asked": ColumnGroup(
        "proportions asked",
        "fraction of volunteers who would be asked the question",
        "stat.probability",
        _SHARES,
    ),
    "entropy": UNCERTAINTY,
    "mutual-information": UNCERTAINTY,
}

_LIMITS = (
    """The fractions are **not debiased for redshift**: the same galaxy farther away shows less \
detail, and looks smoother. Compare samples at like redshift and apparent size.""",
    """A fraction predicts what volunteers would say of this image, which seeing, depth and the \
colour recipe shape; it is not the truth about the galaxy.""",
    """The unmasked fractions of a question that few would be asked say little: the friendly table \
masks them, in the advanced table use `_proportion-asked`.""",
)


def panels(tree: Tree) -> list[Panel]:
    """Show each question's fractions, where enough volunteers would be asked it."""
    return [
        Panel(
            question.name,
            tuple(
                Answer(f"{column}_fraction", answer, f"{column}_90pc-lower")
                for column, answer in zip(question.columns, question.answers, strict=True)
            ),
            asked=f"{question.name}_proportion-asked",
        )
        for question in tree.questions
    ]


def release_text(tree: Tree) -> ReleaseText:
    """Describe the trees, their fractions and their errors."""
    names = tree.name.split("+")
    trees = f"{', '.join(names[:-1])} and {names[-1]}" if names[1:] else tree.name
    questions = f"{len(tree.questions)} questions{' together' if names[1:] else ''}"
    return ReleaseText(
        "for every question, the fraction of volunteers who would give each answer, with its "
        "uncertainty",
        {f"decision tree{'s' if names[1:] else ''}": f"{trees}, {questions}"},
        _LIMITS,
        figures,
    )


def figures(metrics: Mapping[str, Any]) -> str:
    """Give a table with one line a question, on galaxies kept for testing."""
    rows = [_row(name, entry) for name, entry in (metrics.get("questions") or {}).items()]
    if not rows:
        return ""
    header = ("question", "galaxies", "RMSE", "constant", "linear", "vote noise", "90 % coverage")
    return f"""Errors of the vote fractions on galaxies the model has not learned from. Beside \
them: the same for a constant prediction (the training galaxies' mean) and for a linear fit to \
features of the image; the error that the noise of the votes alone would give a perfect model; \
and the share of observed counts inside the 90 % predictive intervals, which ought to be 90 %:

{markdown_table(header, rows)}{_caution(metrics["questions"])}"""


def _row(name: str, entry: Mapping[str, Any]) -> Sequence[object]:
    baselines = entry.get("baselines") or {}
    linear = [baselines.get(kind, {}).get("rmse") for kind in ("ridge_encoder", "ridge")]
    values = [
        entry.get("rmse"),
        baselines.get("constant", {}).get("rmse"),
        next((value for value in linear if value is not None), None),
        entry.get("noise_floor_rmse"),
    ]
    covered = entry.get("coverage_90")
    share = "–" if covered is None else f"{covered:.0%}"
    numbers = ("–" if value is None else f"{value:.3f}" for value in values)
    return name, entry.get("n") or 0, *numbers, share


def _caution(questions: Mapping[str, Any]) -> str:
    """Name the questions on which the model says nothing that a constant would not."""
    scores = {name: (q.get("nll"), q.get("nll_constant")) for name, q in questions.items()}
    weak = [n for n, (own, other) in scores.items() if None not in (own, other) and own >= other]
    if not weak:
        return ""
    return (
        "\n\nBy likelihood the model does no better than a constant on: "
        f"{', '.join(weak)}. Take care."
    )

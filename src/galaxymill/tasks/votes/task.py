"""The task of votes: counts of volunteers' answers to the questions of a decision tree."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.errors import UserError
from galaxymill.reporting.tables import markdown_table
from galaxymill.storage.columns import field
from galaxymill.tasks.released import UNCERTAINTY, Answer, ColumnGroup, Panel, ReleaseText
from galaxymill.tasks.task import Floats, HeadSettings, Task, Values
from galaxymill.trees.tree import Question, Tree, number_questions, parse_tree

if TYPE_CHECKING:
    from galaxymill.tasks.checks import CheckSettings, Dropped
    from galaxymill.tasks.heads import Head
    from galaxymill.tasks.report import EvaluationData, ReportContent

_SHARES = (0.0, 1.0)
_HANDED = re.compile(r"clockwise|(?<![a-z])(a|c)?cw(?![a-z])", re.IGNORECASE)
_INTERVALS = ColumnGroup(
    "credible intervals",
    "5th and 95th percentile of that fraction",
    "stat.param;src.morph.type",
    _SHARES,
)
_LIMITS = (
    """The fractions are **not debiased for redshift**: the same galaxy farther away shows less \
detail, and looks smoother. Compare samples at like redshift and apparent size.""",
    """A fraction predicts what volunteers would say of this image, which seeing, depth and the \
colour recipe shape; it is not the truth about the galaxy.""",
    """The unmasked fractions of a question that few would be asked say little: the friendly table \
masks them, in the advanced table use `_proportion-asked`.""",
)


@dataclass(frozen=True)
class TreeTask(Task):
    """What the tasks with questions share: a label column counts each answer."""

    tree: Tree

    @property
    def columns(self) -> tuple[str, ...]:
        """One an answer."""
        return self.tree.columns

    @property
    def handed(self) -> str:
        """First question whose answers name a sense of rotation."""
        handed = (q.name for q in self.tree.questions if any(map(_HANDED.search, q.answers)))
        return next(handed, "")

    def label_fields(self) -> list[pa.Field]:
        """Counts of the answers."""
        return [
            field(column, pa.int32(), f"volunteers who answered {answer!r} to {question.name}")
            for question in self.tree.questions
            for column, answer in question.column_answers
        ]

    def has_label(self, labels: Floats) -> npt.NDArray[np.bool_]:
        """Tell which galaxies have any vote."""
        return np.asarray((labels > 0).any(axis=1))

    def difference(self, one: Values, other: Values) -> float:
        """Largest difference of a fraction."""
        from galaxymill.tasks.votes.posterior import mean_fractions

        change = mean_fractions(one, self.tree) - mean_fractions(other, self.tree)
        return float(np.abs(change).max())

    def to_dict(self) -> dict[str, Any]:
        """Plain form: kind and tree."""
        return {"kind": self.kind, "tree": self.tree.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], place: str) -> Self:
        """Build it from its plain form."""
        return cls(parse_tree(plain.get("tree"), f"{place}: tree"))


@dataclass(frozen=True)
class VoteTask(TreeTask):
    """Votes of volunteers; several trees may be learned jointly."""

    kind: ClassVar[str] = "votes"
    adds_up: ClassVar[bool] = True
    sample_column: ClassVar[str] = "concentrations"
    sample_group: ClassVar[ColumnGroup] = ColumnGroup(
        "concentrations",
        "Dirichlet concentrations, sample after sample, answers in the tree's order",
        "stat.param",
        (0.0, None),
    )
    groups: ClassVar[Mapping[str, ColumnGroup]] = {
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

    def sample_width(self) -> tuple[int, str]:
        """One concentration an answer."""
        return len(self.columns), "Dirichlet concentrations"

    def summary_fields(self) -> list[pa.Field]:
        """List fractions with their intervals, by answer; then proportions, by question."""
        fields: list[pa.Field] = []
        for question in self.tree.questions:
            for column, answer in question.column_answers:
                what = f"fraction of volunteers who would answer {answer!r} to {question.name}"
                fields += [
                    field(f"{column}_fraction", pa.float32(), f"expected {what}"),
                    field(f"{column}_90pc-lower", pa.float32(), f"5th percentile of the {what}"),
                    field(f"{column}_90pc-upper", pa.float32(), f"95th percentile of the {what}"),
                ]
            asked = f"fraction of volunteers who would be asked {question.name}"
            fields.append(field(f"{question.name}_proportion-asked", pa.float32(), asked))
            fields += uncertainty_fields(question, "vote on")
        return fields

    def summarise(self, samples: Values) -> dict[str, Floats]:
        """Compute the columns of ``summary_fields``."""
        from galaxymill.tasks.votes import posterior

        fractions = posterior.mean_fractions(samples, self.tree)
        bounds = posterior.intervals(samples, self.tree)
        asked = posterior.proportion_asked(samples, self.tree)
        columns: dict[str, Floats] = {}
        for question in self.tree.questions:
            for place, column in enumerate(question.columns, start=question.start):
                columns[f"{column}_fraction"] = fractions[:, place]
                columns[f"{column}_90pc-lower"] = bounds[:, place, 0]
                columns[f"{column}_90pc-upper"] = bounds[:, place, 1]
            columns[f"{question.name}_proportion-asked"] = asked[question.name]
            columns |= uncertainties(samples, question)
        return columns

    def scores(self, samples: Values, labels: Floats) -> dict[str, float]:
        """Give the root mean square error of the fractions of questions that were asked."""
        errors = []
        for question in self.tree.questions:
            counts, alpha = labels[:, question.slice], samples[..., question.slice]
            asked = counts.sum(axis=1) > 0
            means = (alpha / alpha.sum(axis=-1, keepdims=True)).mean(axis=1)
            observed = counts[asked] / counts[asked].sum(axis=1, keepdims=True)
            errors.append((means[asked] - observed).ravel())
        return {"RMS error of fractions": float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))}

    def panels(self) -> list[Panel]:
        """Show each question's fractions, where enough volunteers would be asked it."""
        return [
            Panel(
                question.name,
                tuple(
                    Answer(f"{column}_fraction", answer, f"{column}_90pc-lower")
                    for column, answer in question.column_answers
                ),
                asked=f"{question.name}_proportion-asked",
            )
            for question in self.tree.questions
        ]

    def release_text(self) -> ReleaseText:
        """Describe the trees, their fractions and their errors."""
        names = self.tree.name.split("+")
        several = len(names) > 1
        trees = f"{', '.join(names[:-1])} and {names[-1]}" if several else self.tree.name
        questions = f"{len(self.tree.questions)} questions{' together' if several else ''}"
        return ReleaseText(
            "for every question, the fraction of volunteers who would give each answer, with its "
            "uncertainty",
            {f"decision tree{'s' if several else ''}": f"{trees}, {questions}"},
            _LIMITS,
            _figures,
        )

    def head(self, features: int, settings: "HeadSettings") -> "Head":
        """Make a Dirichlet head."""
        from galaxymill.tasks.votes.head import DirichletHead

        low, high = settings.concentrations
        return DirichletHead(features, self.tree, settings.dropout, low, high)

    def report(self, data: "EvaluationData") -> "ReportContent":
        """Compare fractions, votes and intervals."""
        from galaxymill.tasks.votes.report import report_votes

        return report_votes(data, self.tree)

    def check(
        self, object_ids: Sequence[str], labels: Floats, settings: "CheckSettings"
    ) -> "tuple[Floats, list[Dropped]]":
        """Leave out questions that have more votes than the answers that lead to them."""
        from galaxymill.tasks.checks import void_excess

        return void_excess(object_ids, labels, self.tree, settings)

    def joined(self, others: Sequence[Task], place: str) -> Task:
        """Put the trees of several labelled sets side by side in one.

        Raises UserError when one of several is no vote tree, or two different trees share a
        question's name.
        """
        trees = [self.tree]
        for task in others:
            if not isinstance(task, VoteTask):
                return super().joined(others, place)
            if task.tree not in trees:
                trees.append(task.tree)
        questions = number_questions(
            (q.name, q.answers, q.asked_after) for tree in trees for q in tree.questions
        )
        names = [question.name for question in questions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(
                f"{place}: {', '.join(twice)}: question of two different trees; rename one, as in "
                "bar-gz2 and bar-dr5"
            )
        return VoteTask(Tree("+".join(tree.name for tree in trees), questions))


def uncertainty_fields(question: Question, what: str) -> list[pa.Field]:
    """Columns of `uncertainties`; ``what`` is decided, such as "vote on"."""
    name = question.name
    return [
        field(f"{name}_entropy", pa.float32(), f"entropy of one {what} {name}", "nat"),
        field(f"{name}_mutual-information", pa.float32(), f"BALD score of {name}", "nat"),
    ]


def uncertainties(samples: Floats, question: Question) -> dict[str, Floats]:
    """Entropy of one answer, and mutual information of answers and model, in nats."""
    from galaxymill.tasks.votes.posterior import mutual_information

    entropy, information = mutual_information(samples, question)
    name = question.name
    return {f"{name}_entropy": entropy, f"{name}_mutual-information": information}


def _figures(metrics: Mapping[str, Any]) -> str:
    """Give a table with one line a question, on galaxies kept for testing."""
    questions = metrics.get("questions") or {}
    if not questions:
        return ""
    header = ("question", "galaxies", "RMSE", "constant", "linear", "vote noise", "90 % coverage")
    rows = [_row(name, scores) for name, scores in questions.items()]
    return f"""Errors of the vote fractions on galaxies the model has not learned from. Beside \
them: the same for a constant prediction (the training galaxies' mean) and for the better of two \
linear fits, to hand-made features of the image and to an untrained encoder's; the error that the \
noise of the votes alone would give a perfect model; and the share of observed counts inside the \
90 % predictive intervals, which ought to be 90 %:

{markdown_table(header, rows)}{_caution(questions)}"""


def _row(name: str, scores: Mapping[str, Any]) -> Sequence[object]:
    baselines = scores.get("baselines") or {}
    constant, *linear = (
        baselines.get(kind, {}).get("rmse") for kind in ("constant", "ridge_encoder", "ridge")
    )
    values = [
        scores.get("rmse"),
        constant,
        min((value for value in linear if value is not None), default=None),
        scores.get("noise_floor_rmse"),
    ]
    covered = scores.get("coverage_90")
    share = "–" if covered is None else f"{covered:.0%}"
    numbers = ("–" if value is None else f"{value:.3f}" for value in values)
    return name, scores.get("n") or 0, *numbers, share


def _caution(questions: Mapping[str, Any]) -> str:
    """Name the questions on which the model is no better than a constant."""
    scores = {name: (q.get("nll"), q.get("nll_constant")) for name, q in questions.items()}
    weak = [n for n, (own, other) in scores.items() if None not in (own, other) and own >= other]
    if not weak:
        return ""
    names = ", ".join(weak)
    return f"\n\nBy likelihood the model does no better than a constant on: {names}. Take care."

"""Decision trees: the questions volunteers were asked, and which answer leads to which question."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from galaxymill.errors import UserError, unknown_name
from galaxymill.settings import Strict, explain
from galaxymill.yaml_file import Text, read_yaml


@dataclass(frozen=True)
class Question:
    """One question of a tree.

    Attributes
    ----------
    name : str
        E.g. ``"disk-edge-on-dr5"``.
    answers : tuple of str
        In the order of the label columns.
    asked_after : tuple of str
        Label columns (``{question}_{answer}``), any one of which leads here; empty: always asked.
    start : int
        Index of the first answer among the tree's columns.
    """

    name: str
    answers: tuple[str, ...]
    asked_after: tuple[str, ...]
    start: int

    @property
    def slice(self) -> slice:
        """The answers among the tree's columns."""
        return slice(self.start, self.start + len(self.answers))

    @property
    def columns(self) -> tuple[str, ...]:
        """Label columns of this question, ``{question}_{answer}``."""
        return tuple(f"{self.name}_{answer}" for answer in self.answers)

    @property
    def column_answers(self) -> list[tuple[str, str]]:
        """Each label column with its answer."""
        return list(zip(self.columns, self.answers, strict=True))


@dataclass(frozen=True)
class Tree:
    """A decision tree; questions are ordered so that parents come before their children.

    In a ``simplified`` tree volunteers reached some questions by ways that are not in it, so that a
    question may have more votes than the answers that lead to it.
    """

    name: str
    questions: tuple[Question, ...]
    simplified: bool = False

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every label column, question by question."""
        return tuple(column for question in self.questions for column in question.columns)

    def question(self, name: str) -> Question:
        """Find a question by its name."""
        for question in self.questions:
            if question.name == name:
                return question
        allowed = ", ".join(question.name for question in self.questions)
        raise UserError(f"tree {self.name}: no question {name!r}; its questions are: {allowed}")

    def parents(self, question: Question) -> tuple[int, ...]:
        """Indices, among the tree's columns, of the answers that lead to ``question``."""
        return tuple(self.columns.index(column) for column in question.asked_after)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, as `parse_tree` reads it."""
        return {
            "name": self.name,
            **({"simplified": True} if self.simplified else {}),
            "questions": {
                q.name: {"answers": list(q.answers), "asked_after": list(q.asked_after)}
                for q in self.questions
            },
        }


class _QuestionForm(Strict):
    answers: tuple[Text, ...] = Field(min_length=2)
    asked_after: tuple[Text, ...] = ()


class _TreeForm(Strict):
    name: Text
    simplified: bool = False
    questions: dict[Text, _QuestionForm] = Field(min_length=1)


def tree_path(tree: str, trees: Path) -> Path:
    """Path of a tree: a name of the folder ``trees``, or itself a path."""
    is_path = "/" in tree or bool(Path(tree).suffix)
    return Path(tree) if is_path else trees / f"{tree}.yaml"


def find_tree(tree: str, trees: Path, place: str) -> Path:
    """Path of a tree whose file exists; else a UserError names ``place`` and the trees."""
    path = tree_path(tree, trees)
    if not path.is_file():
        raise unknown_name(place, tree, [file.stem for file in trees.glob("*.yaml")], "tree")
    return path


def load_tree(path: Path) -> Tree:
    """Read and check a tree file.

    It is YAML with ``name`` and ``questions: {question: {answers: [...], asked_after: [...]}}``. A
    UserError says what is wrong: an unknown key, an answer twice, a parent that does not exist, or
    questions that lead to themselves.
    """
    return parse_tree(read_yaml(path, "a tree"), str(path))


def parse_tree(plain: Any, place: str) -> Tree:
    """Build a tree from its plain form; ``place`` names it in errors."""
    try:
        form = _TreeForm.model_validate(plain)
    except ValidationError as error:
        raise UserError(f"{place}: {explain(error, _TreeForm)}") from error
    columns = [f"{name}_{answer}" for name, q in form.questions.items() for answer in q.answers]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise UserError(f"{place}: answers given twice: {', '.join(twice)}; each must be unique")
    for name, question in form.questions.items():
        lost = [column for column in question.asked_after if column not in columns]
        if lost:
            raise UserError(f"{place}: {name}: asked_after names no answer of this tree: {lost}")
    levels = _levels(form.questions, place)
    # Keep the file's own order when it already puts parents first: columns then stand as published.
    ordered = form.questions if _parents_first(form.questions) else levels
    numbered = number_questions((name, q.answers, q.asked_after) for name, q in ordered.items())
    return Tree(form.name, numbered, form.simplified)


def number_questions(
    questions: Iterable[tuple[str, tuple[str, ...], tuple[str, ...]]],
) -> tuple[Question, ...]:
    """Place questions (name, answers, asked after) one after another among a tree's columns."""
    placed: list[Question] = []
    for question in questions:
        placed.append(Question(*question, placed[-1].slice.stop if placed else 0))
    return tuple(placed)


def _levels(questions: dict[str, _QuestionForm], place: str) -> dict[str, _QuestionForm]:
    """Order questions by how many answers lead to them, one after the other."""
    ordered: dict[str, _QuestionForm] = {}
    reached: set[str] = set()
    while waiting := {name: q for name, q in questions.items() if name not in ordered}:
        ready = {name: q for name, q in waiting.items() if reached.issuperset(q.asked_after)}
        if not ready:
            raise UserError(f"{place}: questions lead to themselves: {', '.join(waiting)}")
        ordered |= ready
        reached.update(f"{name}_{answer}" for name, q in ready.items() for answer in q.answers)
    return ordered


def _parents_first(questions: dict[str, _QuestionForm]) -> bool:
    reached: set[str] = set()
    for name, question in questions.items():
        if not reached.issuperset(question.asked_after):
            return False
        reached.update(f"{name}_{answer}" for answer in question.answers)
    return True

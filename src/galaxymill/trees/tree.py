"""Decision trees: the questions volunteers were asked, and which answer leads to which question."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxymill.errors import UserError, unknown_name
from galaxymill.settings import short_repr
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
        """Where this question's answers stand among the tree's columns."""
        return slice(self.start, self.start + len(self.answers))

    @property
    def columns(self) -> tuple[str, ...]:
        """Label columns of this question, ``{question}_{answer}``."""
        return tuple(f"{self.name}_{answer}" for answer in self.answers)


@dataclass(frozen=True)
class Tree:
    """A decision tree; questions are ordered so that parents come before their children.

    Attributes
    ----------
    name : str
    questions : tuple of Question
    simplified : bool
        Volunteers reached some questions by other ways than the tree says, so that a question
        may have more votes than the answers that lead to it.
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


class _QuestionForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    answers: tuple[Text, ...] = Field(min_length=2)
    asked_after: tuple[Text, ...] = ()


class _TreeForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Text
    simplified: bool = False
    questions: dict[Text, _QuestionForm] = Field(min_length=1)


def tree_path(tree: str, trees: Path) -> Path:
    """Path of a tree that is known by name, a file of the folder ``trees``, or given as a path."""
    is_path = "/" in tree or bool(Path(tree).suffix)
    return Path(tree) if is_path else trees / f"{tree}.yaml"


def find_tree(tree: str, trees: Path, place: str) -> Path:
    """Path of a tree that is there; see `tree_path`.

    Raises
    ------
    UserError
        When there is none; ``place`` says where it was named.
    """
    path = tree_path(tree, trees)
    if not path.is_file():
        raise unknown_name(place, tree, [known.stem for known in trees.glob("*.yaml")], "tree")
    return path


def load_tree(path: Path) -> Tree:
    """Read and check a tree file.

    Parameters
    ----------
    path : Path
        YAML with ``name`` and ``questions: {question: {answers: [...], asked_after: [...]}}``.

    Returns
    -------
    Tree

    Raises
    ------
    UserError
        When the file is no tree: an unknown key, an answer twice, a parent that does not
        exist, or questions that lead to themselves.
    """
    return parse_tree(read_yaml(path, "a tree"), str(path))


def parse_tree(plain: Any, place: str) -> Tree:
    """Build a tree from its plain form; ``place`` names it in errors."""
    try:
        form = _TreeForm.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        told = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{place}: {where}: {told}; given: {short_repr(first['input'])}") from error
    columns = [f"{name}_{answer}" for name, q in form.questions.items() for answer in q.answers]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise UserError(f"{place}: answers given twice: {', '.join(twice)}; each must be unique")
    ordered: list[str] = []
    known: set[str] = set()
    waiting = dict(form.questions)
    for name, question in waiting.items():
        lost = [column for column in question.asked_after if column not in columns]
        if lost:
            raise UserError(f"{place}: {name}: asked_after names no answer of this tree: {lost}")
    while waiting:
        ready = [name for name, q in waiting.items() if set(q.asked_after) <= known]
        if not ready:
            raise UserError(f"{place}: questions lead to themselves: {', '.join(waiting)}")
        for name in ready:
            known.update(f"{name}_{answer}" for answer in waiting.pop(name).answers)
            ordered.append(name)
    # Keep the file's own order when it already puts parents first: columns then stand as published.
    if _parents_first(form):
        ordered = list(form.questions)
    return Tree(form.name, _questions(form, ordered), form.simplified)


def _parents_first(form: _TreeForm) -> bool:
    seen: set[str] = set()
    for name, question in form.questions.items():
        if not set(question.asked_after) <= seen:
            return False
        seen.update(f"{name}_{answer}" for answer in question.answers)
    return True


def _questions(form: _TreeForm, ordered: list[str]) -> tuple[Question, ...]:
    start = 0
    questions = []
    for name in ordered:
        answers = form.questions[name].answers
        questions.append(Question(name, answers, form.questions[name].asked_after, start))
        start += len(answers)
    return tuple(questions)

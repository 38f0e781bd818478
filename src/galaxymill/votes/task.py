"""What a labelled set says of a galaxy: votes on a tree, one of some classes, or a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from galaxymill.errors import UserError
from galaxymill.votes.tree import Question, Tree, parse_tree

Kind = Literal["votes", "class", "number"]


@dataclass(frozen=True)
class Task:
    """What is known of labelled galaxies, and predicted of others.

    Attributes
    ----------
    kind : str
        ``votes``: counts of volunteers' answers to a decision tree. ``class``: one question
        whose answers are the classes; each galaxy counts as one vote. ``number``: a quantity.
    tree : Tree or None
        None for a number.
    number : str
        Name of the quantity; empty for votes and classes.
    """

    kind: Kind
    tree: Tree | None = None
    number: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Label columns: one count per answer, or the number."""
        return self.questions.columns if self.kind != "number" else (self.number,)

    @property
    def questions(self) -> Tree:
        """The tree of votes or classes.

        Raises
        ------
        UserError
            For a number, which answers no question.
        """
        if self.tree is None:
            raise UserError(f"{self.number} is a number: it answers no question of a tree")
        return self.tree

    def to_dict(self) -> dict[str, Any]:
        """Plain form, as `parse_task` reads it."""
        tree = self.tree.to_dict() if self.tree else None
        return {"kind": self.kind, "tree": tree, "number": self.number}


def parse_task(plain: Any, place: str) -> Task:
    """Build a task from its plain form; ``place`` names it in errors."""
    tree = parse_tree(plain["tree"], f"{place}: tree") if plain["tree"] else None
    if plain["kind"] not in ("votes", "class", "number") or (tree is None) != (
        plain["kind"] == "number"
    ):
        raise UserError(f"{place}: kind {plain['kind']!r} does not go with its tree")
    return Task(plain["kind"], tree, str(plain["number"]))


def join_tasks(tasks: Sequence[Task], place: str) -> Task:
    """Put the trees of several labelled sets side by side in one.

    Raises
    ------
    UserError
        When one of several is no vote tree, or two different trees share a question's name.
    """
    first, *others = tasks
    if all(task == first for task in others):
        return first
    if any(task.kind != "votes" for task in tasks):
        raise UserError(f"{place}: only votes can be learned jointly, not classes or numbers")
    trees: list[Tree] = []
    for task in tasks:
        if task.questions not in trees:
            trees.append(task.questions)
    names = [question.name for tree in trees for question in tree.questions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"{place}: {', '.join(twice)}: question of two different trees; rename one, as in "
            "bar-gz2 and bar-dr5"
        )
    questions: list[Question] = []
    start = 0
    for tree in trees:
        for question in tree.questions:
            questions.append(Question(question.name, question.answers, question.asked_after, start))
            start += len(question.answers)
    return Task("votes", Tree("+".join(tree.name for tree in trees), tuple(questions)))

"""Which task of a Zooniverse workflow is which question of the tree: the user's YAML file.

::

    workflows:
      - workflow: 10581            # its workflow_id; left out: any
        versions: [16, "20.11"]    # first and last, both included; left out: any
        tasks:
          T0:
            question: smooth-or-featured-dr5
            answers: {Smooth: smooth, Features or Disk: featured-or-disk, Artifact: artifact}
          T1:
            question: disk-edge-on-dr5
            answers: {0: "yes", 1: "no"}     # by index, as the workflow lists them

A classification is read by the first entry that its workflow and version fit; one that fits none is
left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from galaxymill.errors import UserError
from galaxymill.settings import Strict, explain
from galaxymill.trees.tree import Tree
from galaxymill.yaml_file import Text, TextOrIndex, read_yaml

MAX_LABEL_LENGTH = 2000

Version = tuple[float, float]
Task = Mapping[str | int, int]
"""Index among the tree's columns, by an answer's normalised label or its index."""

_IMAGE = re.compile(r"!\[[^][]{0,500}\]\([^()]{0,500}\)")
_ALL: tuple[Version, Version] = ((0, 0), (float("inf"), float("inf")))


def normalised(label: str) -> str:
    """Give an answer's label without Markdown images, emphasis, case and needless spaces."""
    text = _IMAGE.sub(" ", label[:MAX_LABEL_LENGTH])
    return " ".join(text.replace("*", " ").split()).casefold()


def parse_version(text: str | int, minor: float = 0) -> Version:
    """Split ``"16.10"`` in numbers, or raise a ValueError; ``minor`` is for a major one alone."""
    match = re.fullmatch(r"(\d{1,9})(?:\.(\d{1,9}))?", str(text).strip())
    if match is None:
        raise ValueError(f"{str(text)[:40]!r} is no version such as '16.10'")
    return int(match[1]), int(match[2]) if match[2] else minor


class _TaskForm(Strict):
    question: Text
    answers: dict[TextOrIndex, Text] = Field(min_length=1)


class _WorkflowForm(Strict):
    workflow: int | None = None
    versions: tuple[TextOrIndex, TextOrIndex] | None = None
    tasks: dict[Text, _TaskForm] = Field(min_length=1)


class _Form(Strict):
    workflows: list[_WorkflowForm] = Field(min_length=1)


@dataclass(frozen=True)
class Workflow:
    """One entry of the file: an identifier (empty for any), and versions, both included."""

    workflow: str
    first: Version
    last: Version
    tasks: Mapping[str, Task]

    def fits(self, workflow: str, version: Version) -> bool:
        """Tell whether a classification is of this workflow, in these versions."""
        return self.workflow in ("", workflow) and self.first <= version <= self.last


def load_tasks(path: Path, tree: Tree) -> tuple[Workflow, ...]:
    """Read and check the file of tasks.

    A UserError says when it has another form, or names a question or answer that the tree has not.
    """
    try:
        form = _Form.model_validate(read_yaml(path, "a list of tasks"))
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, _Form)}") from error
    return tuple(_workflow(path, entry, tree) for entry in form.workflows)


def _workflow(path: Path, form: _WorkflowForm, tree: Tree) -> Workflow:
    try:
        first, last = _ALL
        if form.versions is not None:
            first = parse_version(form.versions[0])
            last = parse_version(form.versions[1], float("inf"))
    except ValueError as error:
        raise UserError(f"{path}: versions: {error}") from error
    tasks = {name: _task(path, name, task, tree) for name, task in form.tasks.items()}
    workflow = "" if form.workflow is None else str(form.workflow)
    return Workflow(workflow, first, last, tasks)


def _task(path: Path, name: str, form: _TaskForm, tree: Tree) -> Task:
    try:
        question = tree.question(form.question)
    except UserError as error:
        raise UserError(f"{path}: tasks.{name}: {error}") from error
    columns: dict[str | int, int] = {}
    for label, answer in form.answers.items():
        if answer not in question.answers:
            raise UserError(
                f"{path}: tasks.{name}.answers: {question.name} has no answer {answer!r}; allowed: "
                f"{', '.join(question.answers)}"
            )
        key = normalised(label) if isinstance(label, str) else label
        columns[key] = question.start + question.answers.index(answer)
    return columns

"""Stage ``volunteers``: what each volunteer is like, and what a careful crowd would say."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.labels.table import Votes, read_votes
from galaxymill.splits import LEARNED_FROM
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks.classes.task import ClassTask
from galaxymill.tasks.votes.task import TreeTask
from galaxymill.trees.tree import Question
from galaxymill.volunteers.answers import GivenAnswers, read_answers
from galaxymill.volunteers.classes import dawid_skene
from galaxymill.volunteers.question import Answered, fit_individuals

Values = npt.NDArray[Any]
Columns = dict[str, Values]
logger = logging.getLogger("galaxymill")


def fit_volunteers(answers: Path, votes: Path, out: Path) -> None:
    """Learn volunteers and galaxies from individual answers.

    Parameters
    ----------
    answers, votes : Path
        ``answers.parquet`` and ``votes.parquet`` of one labelled set.
    out : Path
        ``individual.parquet``: per galaxy, in the order of the votes, effective votes as labels,
        fractions and their standard deviations. Beside it ``volunteers.parquet``: a row for each
        volunteer and answer. Volunteers are not learned from galaxies of the test split: nothing
        that a network learns from depends on an answer that it is judged by.

    Raises
    ------
    UserError
        When both are not of the same labels, or there is nothing to learn from.
    """
    labels = read_votes(votes)
    inputs = {"answers": read_record(answers, "labels").digest, "votes": labels.record.digest}
    task = labels.task
    if not isinstance(task, TreeTask):
        raise UserError(f"{votes}: labels of {task.kind} have no answers of volunteers")
    origin = Origin("volunteers", {"task": task.to_dict()}, inputs)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        given = read_answers(answers, labels, task.tree)
        galaxies, people = _fit(given, labels, task)
        with atomic_tree(out.parent, out.name) as folder:
            write_product(folder / "volunteers.parquet", people, origin, people.schema)
            write_product(folder / out.name, galaxies, origin, galaxies.schema)
    logger.info(
        "volunteers: %d galaxies, %d volunteers, %d answers",
        *(len(labels.object_ids), len(given.volunteers), len(given.galaxy)),
    )


def _fit(given: GivenAnswers, labels: Votes, task: TreeTask) -> tuple[pa.Table, pa.Table]:
    learn = np.isin(labels.splits, LEARNED_FROM)
    if not learn[given.galaxy].any():
        raise UserError("no answer is on a galaxy to learn from: all are of the test split")
    galaxies: Columns = {}
    people: list[pa.Table] = []
    for question in task.tree.questions:
        chosen = (given.column >= question.start) & (given.column < question.slice.stop)
        who, volunteer = np.unique(given.volunteer[chosen], return_inverse=True)
        answered = Answered(
            torch.from_numpy(given.galaxy[chosen].astype(np.int64)),
            torch.from_numpy(volunteer),
            torch.from_numpy(given.column[chosen].astype(np.int64) - question.start),
            len(question.answers),
            torch.from_numpy(learn),
            len(who),
        )
        of_galaxies, of_people = (_class if isinstance(task, ClassTask) else _votes)(answered)
        nobody = labels.values[:, question.slice].sum(axis=1) == 0
        galaxies |= _galaxy_columns(question, of_galaxies, nobody)
        names = [given.volunteers[one] for one in who]
        of_people |= {"component": _components(answered, question.name)}
        people.append(_people(question, names, answered, of_people))
    ids = {"object_id": labels.object_ids}
    positions = np.isfinite(labels.positions).any()
    if positions:
        ids |= {
            "ra": pa.array(labels.positions[:, 0], from_pandas=True),
            "dec": pa.array(labels.positions[:, 1], from_pandas=True),
        }
    schema = products.individual(task.tree, with_positions=bool(positions))
    columns: dict[str, Any] = {**ids, **galaxies, "split": labels.splits.tolist()}
    arrays = [
        pa.array(columns[one.name], from_pandas=True).cast(one.type, safe=False) for one in schema
    ]
    return pa.table(arrays, schema=schema), pa.concat_tables(people)


def _votes(answered: Answered) -> tuple[Columns, Columns]:
    """Fractions, and volunteers beside a typical one."""
    found = fit_individuals(answered)
    galaxies = {"votes": found.votes, "fraction": found.fractions, "std": found.deviations}
    skills = {"skill": found.skill, "skill_error": found.skill_error}
    careless = found.careless
    people = {"bias": found.bias, "bias_error": found.bias_error, **skills, "careless": careless}
    people["careless_error"] = (careless * (1 - careless)).clamp_min(0).sqrt()
    return _plain(galaxies), _plain(people)


def _class(answered: Answered) -> tuple[Columns, Columns]:
    """Probabilities of classes, by Dawid & Skene; who is careless is not asked."""
    found = dawid_skene(answered)
    deviations = (found.classes * (1 - found.classes)).clamp_min(0).sqrt()
    galaxies = {"votes": found.classes, "fraction": found.classes, "std": deviations}
    (bias, bias_error), (skill, skill_error) = found.bias(), found.skill()
    people = {"bias": bias, "bias_error": bias_error, "skill": skill, "skill_error": skill_error}
    nothing = torch.full_like(skill, torch.nan)
    return _plain(galaxies), _plain(people | {"careless": nothing, "careless_error": nothing})


def _plain(tensors: Mapping[str, torch.Tensor]) -> Columns:
    return {name: values.numpy() for name, values in tensors.items()}


def _galaxy_columns(question: Question, found: Columns, nobody: Values) -> Columns:
    """Columns of one question; where nobody was asked, no votes, and nothing is known."""
    columns: Columns = {f"{question.name}_effective-votes": _known(found["votes"].sum(1), nobody)}
    for place, column in enumerate(question.columns):
        columns[column] = np.where(nobody, 0, found["votes"][:, place])
        columns[f"{column}_fraction"] = _known(found["fraction"][:, place], nobody)
        columns[f"{column}_std"] = _known(found["std"][:, place], nobody)
    return columns


def _known(values: Values, nobody: Values) -> Values:
    return np.where(nobody, np.nan, values)


def _people(question: Question, names: list[str], answered: Answered, found: Columns) -> pa.Table:
    """Give a row for each volunteer and answer."""
    k, n = len(question.answers), len(names)
    times = np.bincount(answered.volunteer, minlength=n)
    cells = answered.volunteer.numpy() * k + answered.answer.numpy()
    columns: dict[str, Any] = {
        "volunteer": np.repeat(names, k),
        "question": np.full(n * k, question.name),
        "answer": np.tile(question.answers, n),
        "n": np.repeat(times, k),
        "given": np.bincount(cells, minlength=n * k),
    }
    for name, values in found.items():
        columns[name] = values.ravel() if values.ndim == 2 else np.repeat(values, k)
    arrays = [
        pa.array(columns[one.name], from_pandas=True).cast(one.type, safe=False)
        for one in products.VOLUNTEERS
    ]
    return pa.table(arrays, schema=products.VOLUNTEERS)


def _components(answered: Answered, question: str) -> Values:
    """Number the groups of volunteers that have no galaxy in common, the largest first.

    Biases of two groups cannot be compared: each is measured against its own.
    """
    n, people = len(answered.learn), answered.volunteers
    edges = (answered.galaxy.numpy(), n + answered.volunteer.numpy())
    graph = coo_array(
        (np.ones(len(edges[0]), dtype=np.int8), edges), shape=(n + people, n + people)
    )
    _, numbers = connected_components(graph, directed=False)
    found, component = np.unique(numbers[n:], return_inverse=True)
    sizes = np.bincount(component)
    order = np.argsort(np.argsort(-sizes, kind="stable"))
    if len(found) > 1:
        logger.warning(
            "volunteers: %s: %d groups of volunteers have no galaxy in common (%s, …): biases are "
            "comparable within each only; see the column component",
            *(question, len(found), ", ".join(map(str, np.sort(sizes)[::-1][:5]))),
        )
    return np.asarray(order[component])

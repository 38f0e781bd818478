"""A simulated crowd: volunteers who differ, and what they answer, as a Zooniverse export.

Each has an activity, a bias for every answer, a skill and perhaps no care at all; some learn, some
copy one another, some come once. `galaxymill.simulation.volunteers` says what the whole would see;
here it is who looks.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from galaxymill.trees.tree import Question, Tree

Values = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

WORKFLOW, VERSION = 4242, "7.3"
_COLUMNS = (
    "classification_id",
    "user_name",
    "user_id",
    "user_ip",
    "workflow_id",
    "workflow_version",
    "created_at",
    "metadata",
    "annotations",
    "subject_data",
    "subject_ids",
)
_FIRST_ANSWER = np.datetime64("2026-01-01T00:00:00")


@dataclass(frozen=True)
class CrowdSettings:
    """What the volunteers are like.

    Attributes
    ----------
    volunteers : int
        Those who come more than once.
    careless : float
        Share of them who answer without looking, each by a habit of their own.
    biased : float
        Share of them with a strong taste: on each question an answer that they prefer by 1.5 to 3
        in log odds, the others' bias scatters by ``bias``.
    bias, skill : float
        Standard deviations of a volunteer's bias for an answer, and of the logarithm of the skill.
    inequality : float
        Exponent of the Pareto distribution of activity; the smaller, the more do a few do.
    by_question : bool
        Whether skill is another one on each question; else it is the volunteer's.
    learning : float
        Classifications after which a newcomer, who starts at 0.4 of the skill, has learned most.
    copiers : int
        Volunteers who all answer alike: what one of them saw.
    once : float
        Share of the classifications that are of people who come once, as unskilled as newcomers.
    """

    volunteers: int = 600
    careless: float = 0.07
    biased: float = 0.18
    bias: float = 1.2
    skill: float = 0.5
    inequality: float = 1.0
    by_question: bool = False
    learning: float = 0.0
    copiers: int = 0
    once: float = 0.0


@dataclass(frozen=True)
class Crowd:
    """Volunteers; ``bias`` (n, n_answers), ``skill`` (n, n_questions), the others (n,)."""

    settings: CrowdSettings
    activity: Values
    bias: Values
    skill: Values
    careless: npt.NDArray[np.bool_]
    habit: Values
    """Of the careless: log odds of the answers, whatever the galaxy; (n, n_answers)."""


@dataclass(frozen=True)
class Answers:
    """Classifications (n,) in the order of time, and each one's answers: −1 where not asked."""

    galaxy: Integers
    volunteer: Integers
    answers: Integers
    """Indices among the answers of each question, shape (n, n_questions)."""


def recruit(settings: CrowdSettings, tree: Tree, rng: np.random.Generator) -> Crowd:
    """Draw volunteers; those who come once are drawn by `classify`."""
    n, questions = settings.volunteers, len(tree.questions)
    # Log odds of two answers are a difference: they scatter as said.
    bias = rng.normal(0, settings.bias / np.sqrt(2), (n, len(tree.columns)))
    strong = np.flatnonzero(rng.random(n) < settings.biased)
    for question in tree.questions:
        preferred = question.start + rng.integers(len(question.answers), size=len(strong))
        bias[strong, preferred] += rng.uniform(1.5, 3, len(strong))
    skill = np.exp(rng.normal(0, settings.skill, (n, questions)))
    if not settings.by_question:
        skill = np.repeat(skill[:, :1], questions, axis=1)
    return Crowd(
        settings,
        rng.pareto(settings.inequality, n) + 1,
        bias,
        skill,
        rng.random(n) < settings.careless,
        rng.normal(0, 1, bias.shape),
    )


def classify(
    crowd: Crowd, fractions: Values, tree: Tree, votes: int, rng: np.random.Generator
) -> Answers:
    """Let volunteers look at galaxies, and answer what the tree asks them.

    Parameters
    ----------
    crowd : Crowd
    fractions : ndarray, shape (n, n_answers)
        What a volunteer of skill 1 without bias would answer, with which probability.
    tree : Tree
    votes : int
        Volunteers who look at each galaxy, all different.
    """
    volunteer = _choose(crowd, len(fractions), votes, rng)
    galaxy = np.repeat(np.arange(len(fractions)), votes)
    order = rng.permutation(len(galaxy))
    galaxy, volunteer = galaxy[order], volunteer.ravel()[order]
    who = volunteer % crowd.settings.volunteers
    once = volunteer >= crowd.settings.volunteers
    experience = np.where(once, 0, _times_before(volunteer))
    answers = np.full((len(galaxy), len(tree.questions)), -1)
    given = np.zeros((len(galaxy), len(tree.columns)), dtype=bool)
    for place, question in enumerate(tree.questions):
        parents = list(tree.parents(question))
        asked = given[:, parents].any(axis=1) if parents else np.ones(len(galaxy), dtype=bool)
        skill = crowd.skill[who, place]
        if crowd.settings.learning:
            skill = skill * (1 - 0.6 * np.exp(-experience / crowd.settings.learning))
        log_odds = _log_odds(crowd, fractions, question, galaxy, who, skill)
        chosen = _draw(log_odds, rng)
        clique = (who < crowd.settings.copiers) & ~once
        if clique.any():
            seen = _draw(np.log(fractions[:, question.slice]), rng)
            chosen[clique] = seen[galaxy[clique]]
        answers[asked, place] = chosen[asked]
        given[np.flatnonzero(asked), question.start + chosen[asked]] = True
    return Answers(galaxy, volunteer, answers)


def _choose(crowd: Crowd, n: int, votes: int, rng: np.random.Generator) -> Integers:
    """Different volunteers for each galaxy, by their activity: shape (n, votes)."""
    chosen = np.empty((n, votes), dtype=np.int64)
    for row in range(n):
        # The first to arrive, at rates of their activity.
        arrival = rng.exponential(size=len(crowd.activity)) / crowd.activity
        chosen[row] = np.argpartition(arrival, votes)[:votes]
    strangers = rng.random(chosen.shape) < crowd.settings.once
    count = int(strangers.sum())
    # Each is someone like a volunteer, drawn evenly, with a number of their own.
    like = rng.integers(crowd.settings.volunteers, size=count)
    chosen[strangers] = (1 + np.arange(count)) * crowd.settings.volunteers + like
    return chosen


def _times_before(volunteer: Integers) -> Integers:
    """How often each one has classified before."""
    order = np.argsort(volunteer, kind="stable")
    ranks = np.arange(len(order))
    starts = np.concatenate([[True], np.diff(volunteer[order]) != 0])
    ranks -= np.maximum.accumulate(np.where(starts, ranks, 0))
    before = np.empty_like(ranks)
    before[order] = ranks
    return before


def _log_odds(
    crowd: Crowd,
    fractions: Values,
    question: Question,
    galaxy: Integers,
    who: Integers,
    skill: Values,
) -> Values:
    columns = question.slice
    seen = skill[:, None] * np.log(fractions[galaxy, columns]) + crowd.bias[who, columns]
    return np.where(crowd.careless[who, None], crowd.habit[who, columns], seen)


def _draw(log_odds: Values, rng: np.random.Generator) -> Integers:
    """Draw an answer by its log odds (n, n_answers): the Gumbel trick."""
    return np.asarray(np.argmax(log_odds + rng.gumbel(size=log_odds.shape), axis=1))


def user(volunteer: int) -> dict[str, str]:
    """Name, number and address of a volunteer in an export: every tenth is not logged in."""
    if volunteer % 10 == 9:
        address = f"{volunteer:x}c0ffee"
        return {"user_name": f"not-logged-in-{address}", "user_id": "", "user_ip": address}
    return {"user_name": f"Stella Gazer {volunteer}", "user_id": str(volunteer), "user_ip": "0a1b"}


def write_export(
    folder: Path, object_ids: Sequence[str], answers: Answers, tree: Tree
) -> tuple[Path, Path]:
    """Write what Zooniverse would: a classification export, and the file of its tasks.

    Gives the paths of ``export.csv`` and ``tasks.yaml``.
    """
    tasks = {
        f"T{place}": {
            "question": question.name,
            "answers": {f"**{answer}** it is": answer for answer in question.answers},
        }
        for place, question in enumerate(tree.questions)
    }
    workflow = {"workflow": WORKFLOW, "versions": [7, 8], "tasks": tasks}
    plain = yaml.safe_dump({"workflows": [workflow]}, sort_keys=False)
    (folder / "tasks.yaml").write_text(plain, encoding="utf-8")
    path = folder / "export.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(_rows(object_ids, answers, tree))
    return path, folder / "tasks.yaml"


def _rows(object_ids: Sequence[str], answers: Answers, tree: Tree) -> Iterable[dict[str, Any]]:
    labels = [[f"**{answer}** it is" for answer in q.answers] for q in tree.questions]
    given = zip(
        answers.galaxy.tolist(), answers.volunteer.tolist(), answers.answers.tolist(), strict=True
    )
    for number, (galaxy, volunteer, chosen) in enumerate(given):
        annotations = [
            {"task": f"T{place}", "task_label": "?", "value": labels[place][answer]}
            for place, answer in enumerate(chosen)
            if answer >= 0
        ]
        subject = {"retired": {"id": galaxy}, "#name": object_ids[galaxy]}
        when = str(_FIRST_ANSWER + np.timedelta64(number, "s")).replace("T", " ")
        yield {
            "classification_id": number + 1,
            **user(volunteer),
            "workflow_id": WORKFLOW,
            "workflow_version": VERSION,
            "created_at": f"{when} UTC",
            "metadata": json.dumps({"session": "a", "subject_dimensions": []}),
            "annotations": json.dumps(annotations),
            "subject_data": json.dumps({str(10_000 + galaxy): subject}),
            "subject_ids": 10_000 + galaxy,
        }

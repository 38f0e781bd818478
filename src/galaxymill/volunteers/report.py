"""A page on the volunteers of a labelled set: how many, how active, how alike."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from sklearn.mixture import GaussianMixture

from galaxymill.reporting.plots import COLOURS, own_style, panels, plain_axes, short_names
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.statistics.bootstrap import number
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.trees.tree import Question
from galaxymill.volunteers.read import Fitted, read_fitted

PAGE = "report.html"
REGULAR = 20
"""Answers to a question that make somebody known well enough to look at tastes."""
_FEWEST = 30
_APART, _BETTER, _MINORITY = 2.0, 10.0, 0.1
"""Two groups: their distance in units of their widths (Ashman+94), the gain of the Bayesian
information criterion, and the share of the smaller one."""

Numbers = npt.NDArray[Any]
logger = logging.getLogger("galaxymill")


def report_volunteers(individual: Path, out: Path) -> None:
    """Write a page on volunteers, with its tables and plots beside it.

    Parameters
    ----------
    individual : Path
        ``individual.parquet``; ``volunteers.parquet``, ``votes.parquet`` and ``answers.parquet``
        lie beside it.
    out : Path
        ``report.html``.
    """
    fitted = read_fitted(individual)
    with exclusive(out), own_style(), atomic_tree(out.parent, out.name) as folder:
        report = _report(fitted, individual.parent.name)
        report.write(folder, "metrics.json")
        if out.name != PAGE:
            (folder / PAGE).rename(folder / out.name)
    logger.info("volunteers: %s", report.headline)


def _report(fitted: Fitted, name: str) -> Report:
    times = np.bincount(fitted.given.volunteer, minlength=len(fitted.given.volunteers))
    times = np.sort(times[times > 0])[::-1]
    activity = {
        "volunteers": len(times),
        "answers": int(times.sum()),
        "galaxies": len(fitted.votes.object_ids),
        "one_answer": int((times == 1).sum()),
        "share_of_the_most_active_tenth": number(_share(times)),
        "answers_of_the_median": number(np.median(times) if len(times) else 0),
    }
    rows = [_of_question(fitted, question) for question in fitted.tree.questions]
    splits = [row for question in fitted.tree.questions for row in _splits(fitted, question)]
    metrics: dict[str, Any] = {**activity, "questions": rows, "splits": splits}
    metrics |= {"origin": fitted.record.origin, "digest": sha256_json(metrics)}
    headline = (
        f"{activity['volunteers']} volunteers gave {activity['answers']} answers on "
        f"{activity['galaxies']} galaxies"
    )
    sections = [
        _activity(activity, times),
        Section("Questions", _QUESTIONS, [Table("questions", _CAPTION, rows, _COLUMNS)]),
        Section("Skill and taste", _SKILL, plots=[Plot("skill", _SKILLS, _draw_skill(fitted))]),
        _two_groups(splits),
        Section("What it changes", _CHANGES, plots=[Plot("changes", _DOTS, _draw_change(fitted))]),
    ]
    footer = f"Volunteers are named by a keyed hash only. Content digest {metrics['digest'][:16]}."
    return Report(f"Volunteers of {name}", headline, sections, metrics, footer)


def _share(times: Numbers) -> float:
    """Share of all answers that the most active tenth has given."""
    return float(times[: max(len(times) // 10, 1)].sum() / max(times.sum(), 1))


def _activity(activity: dict[str, Any], times: Numbers) -> Section:
    text = (
        f"Half of the volunteers have given at most {activity['answers_of_the_median']:g} answers, "
        f"{activity['one_answer']} have given one. The most active tenth has given "
        f"{activity['share_of_the_most_active_tenth']:.0%} of all. People who were not logged in "
        "count as volunteers, as far as the export tells them apart."
    )
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.add_subplot()
    edges = np.unique(np.logspace(0, np.log10(max(times.max(initial=1), 2) + 1), 30).round())
    axes.hist(times, bins=edges.tolist(), color=COLOURS["model"])
    axes.set(xscale="log", xlabel="answers of a volunteer", ylabel="volunteers")
    plain_axes(axes)
    return Section("Activity", [text], plots=[Plot("activity", "How active they are.", figure)])


def _of_question(fitted: Fitted, question: Question) -> dict[str, Any]:
    """Sum up one question."""
    counts = fitted.votes.values[:, question.slice]
    total = counts.sum(axis=1)
    pairs = (total * (total - 1)).sum()
    change = fitted.corrected(question) - fitted.raw(question)
    people = _people(fitted, question)
    return {
        "question": question.name,
        "volunteers": len(people),
        "answers": int(total.sum()),
        "agreement": number((counts * (counts - 1)).sum() / pairs) if pairs else None,
        "careless": number(people["careless"].mean()) if len(people) else None,
        "skill_10": number(people["skill"].quantile(0.1)) if len(people) else None,
        "skill_90": number(people["skill"].quantile(0.9)) if len(people) else None,
        "effective": number(_effective(fitted, question) / max(total.sum(), 1)),
        "change": number(np.sqrt(np.nanmean(change**2))) if total.any() else None,
        "groups": int(people["component"].nunique()),
    }


def _effective(fitted: Fitted, question: Question) -> float:
    return float(fitted.galaxies[f"{question.name}_effective-votes"].sum())


def _people(fitted: Fitted, question: Question) -> pd.DataFrame:
    """One row a volunteer: that of the first answer."""
    people = fitted.people
    return people[(people.question == question.name) & (people.answer == question.answers[0])]


def _splits(fitted: Fitted, question: Question) -> list[dict[str, Any]]:
    """Answers on which the regulars are two groups with tastes of their own."""
    found = []
    people = fitted.people
    for answer in question.answers[: 1 if len(question.answers) == 2 else None]:
        chosen = (people.question == question.name) & (people.answer == answer)
        bias = people[chosen & (people.n >= REGULAR) & ~(people.careless > 0.5)].bias.to_numpy()
        if len(bias) < _FEWEST:
            continue
        values = bias[:, None].astype(np.float64)
        one, two = (GaussianMixture(k, random_state=1, n_init=3).fit(values) for k in (1, 2))
        (low, high), widths = np.sort(two.means_.ravel()), np.sqrt(two.covariances_.ravel())
        apart = np.sqrt(2) * (high - low) / np.sqrt((widths**2).sum())
        gain, share = one.bic(values) - two.bic(values), float(two.weights_.min())
        if apart > _APART and gain > _BETTER and share > _MINORITY:
            found.append(
                {"question": question.name, "answer": answer, "share_of_the_smaller": share}
                | {"bias_of_one": float(low), "bias_of_the_other": float(high), "n": len(bias)}
            )
    return found


def _two_groups(splits: list[dict[str, Any]]) -> Section:
    if not splits:
        return Section("Two groups", ["On no question do the regulars fall into two groups."])
    text = (
        "On these answers the regulars fall into two groups of different taste. Neither is wrong: "
        "the fractions are those of the larger one, and the question may mean two things."
    )
    columns = {
        "question": "{question}",
        "answer": "{answer}",
        "smaller group": "{share_of_the_smaller:.0%}",
        "their biases": "{bias_of_one:.1f} and {bias_of_the_other:.1f}",
        "regulars": "{n}",
    }
    return Section("Two groups", [text], [Table("splits", "Biases in log odds.", splits, columns)])


def _draw_skill(fitted: Fitted) -> Figure:
    questions = fitted.tree.questions
    names = short_names([question.name for question in questions])
    figure, axes = panels(len(questions), 4, 2.3, 1.9)
    for question, one in zip(questions, axes, strict=True):
        people = _people(fitted, question)
        known = people[people.n >= REGULAR]
        shown = known if len(known) else people
        one.hist(shown.skill, bins=np.linspace(0, 3, 25).tolist(), color=COLOURS["model"])
        one.set_title(names[question.name], fontsize=8)
        plain_axes(one)
    return figure


def _draw_change(fitted: Fitted) -> Figure:
    questions = fitted.tree.questions
    names = short_names([question.name for question in questions])
    figure, axes = panels(len(questions), 4, 2.3, 2.3)
    for question, one in zip(questions, axes, strict=True):
        raw, corrected = fitted.raw(question)[:, 0], fitted.corrected(question)[:, 0]
        shown = np.flatnonzero(np.isfinite(raw))[:: max(len(raw) // 3000, 1)]
        one.plot([0, 1], [0, 1], color=COLOURS["constant"], lw=1)
        one.plot(raw[shown], corrected[shown], ".", ms=2, color=COLOURS["model"])
        one.set_title(f"{names[question.name]}: {question.answers[0]}", fontsize=7)
        one.set(xlim=(0, 1), ylim=(0, 1))
        plain_axes(one)
    return figure


_QUESTIONS = [
    "Agreement is the share of pairs of volunteers who gave the same answer on the same galaxy. "
    "The careless answer whatever they see; a taste of one's own is no carelessness. Effective "
    "votes are what an answer is worth, beside one of a typical careful volunteer. Groups of "
    "volunteers without a common galaxy cannot be compared with each other."
]
_CAPTION = "Skill: the tenth and the ninetieth per cent; 1 is a typical volunteer's."
_COLUMNS = {
    "question": "{question}",
    "volunteers": "{volunteers}",
    "answers": "{answers}",
    "agreement": "{agreement:.2f}",
    "careless": "{careless:.1%}",
    "skill": "{skill_10:.2f} to {skill_90:.2f}",
    "effective votes an answer": "{effective:.2f}",
    "change of fractions (RMS)": "{change:.3f}",
    "groups": "{groups}",
}
_SKILL = ["Skill says how much answers depend on the galaxy; of classes, how many are right."]
_SKILLS = f"Skill of volunteers with at least {REGULAR} answers (of all, if there is none)."
_CHANGES = [
    "Fractions as counted (across) and as typical careful volunteers would give them (up). The "
    "second also know what galaxies are like on the whole: with few votes they are drawn towards "
    "that."
]
_DOTS = "Each dot is a galaxy; a question's first answer."

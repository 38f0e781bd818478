"""Sections of the page of all rounds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill.images.pixels import ImageSource
from galaxymill.labels.table import Votes
from galaxymill.reporting.gallery import draw_gallery
from galaxymill.reporting.plots import plain_axes
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.rounds.population import estimate_mean
from galaxymill.splits import uniform
from galaxymill.tasks.task import Floats
from galaxymill.tasks.votes.scores import MIN_VOTES
from galaxymill.tasks.votes.task import VoteTask

_EACH, _MOST = 6, 24
"""Galaxies that are shown of each stratum, and of those where people and model disagree."""


@dataclass(frozen=True)
class PastRound:
    """One round: subjects, the choice, and once the answers have come back, verdict and votes.

    ``before`` and ``after`` are the labels without and with what came back.
    """

    subjects: list[dict[str, Any]]
    choice: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    before: Votes
    after: Votes

    @cached_property
    def answered(self) -> dict[str, Floats]:
        """Votes on galaxies that had none before."""
        known = set(self.before.object_ids)
        pairs = zip(self.after.object_ids, self.after.values, strict=True)
        return {name: votes for name, votes in pairs if name not in known}

    @cached_property
    def asked(self) -> set[str]:
        """The galaxies that were asked about."""
        return {row["object_id"] for row in self.subjects}


def describe_round(number: int, one: PastRound, absent: set[str]) -> dict[str, Any]:
    """Give the numbers of one round; ``absent`` are galaxies that the survey has no longer."""
    verdict = one.verdict
    return {
        "round": number,
        "pool": one.choice["pool"],
        "asked": len(one.asked),
        **{f"asked_{stratum}": n for stratum, n in one.choice["subjects"].items()},
        "came_back": len(one.asked & one.answered.keys()),
        "answers": float(sum(votes.sum() for votes in one.answered.values())),
        "not_asked": len(one.answered.keys() - one.asked),
        "left_the_survey": len(absent & (one.asked | one.answered.keys())),
        "confidently_smooth": one.choice["confidently_smooth"],
        "promoted": None if verdict is None else verdict["promoted"],
        "verdict": "being asked" if verdict is None else _verdict(verdict),
    }


def _verdict(verdict: Mapping[str, Any]) -> str:
    said = "promoted" if verdict["promoted"] else "the champion stays"
    why = verdict["overruled"]
    return f"{said}, overruled: {why}" if why else said


def section_of_rounds(rows: Sequence[Mapping[str, Any]], rounds: Sequence[PastRound]) -> Section:
    """Show what was asked, what came back, and the verdicts."""
    columns = {
        "round": "{round}",
        "may be asked": "{pool:,}",
        "asked": "{asked:,}",
        "came back": "{came_back:,}",
        "answers": "{answers:,.0f}",
        "not asked for": "{not_asked:,}",
        "left the survey": "{left_the_survey:,}",
        "verdict": "{verdict}",
    }
    caption = (
        "By round. Answers are those to all questions. Not asked for: galaxies that came back "
        "though no round asked about them; they are learned from, but judge nobody."
    )
    text = [
        f"Round {number} was refused: {'; '.join(one.verdict['gate']['reasons'])}."
        for number, one in enumerate(rounds, 1)
        if one.verdict and not one.verdict["gate"]["promoted"]
    ]
    return Section("Rounds", text, [Table("rounds", caption, rows, columns)])


def section_of_errors(rounds: Sequence[PastRound]) -> Iterator[Section]:
    """Errors of the champion by what was spent; that before the first round is at 0."""
    judged = [one for one in rounds if one.verdict]
    if not judged:
        return
    spent, rows = 0.0, []
    for number, one in enumerate(judged, 1):
        assert one.verdict
        who = "challenger" if one.verdict["promoted"] else "champion"
        errors = {
            kind: {name: own[f"rmse_{kind}"] for name, own in one.verdict["questions"].items()}
            for kind in ("champion", who)
        }
        if number == 1:
            rows.append({"round": 0, "answers": 0.0, **_errors(errors["champion"])})
        spent += sum(float(votes.sum()) for votes in one.answered.values())
        rows.append({"round": number, "answers": spent, **_errors(errors[who])})
    names = [name for name in rows[0] if name not in ("round", "answers")]
    columns = {"round": "{round}", "answers": "{answers:,.0f}"}
    columns |= {name: f"{{{name}:.3f}}" for name in names}
    caption = (
        "RMSE of the champion's vote fractions after each round, by the test galaxies that had "
        "been drawn at random by then: their number grows from round to round."
    )
    table = Table("errors", caption, rows, columns, shown="folded" if len(names) > 6 else "open")
    plot = Plot("errors", "RMSE of the champion by answers spent.", _draw_errors(rows, names))
    yield Section("What the answers gained", [], [table], [plot])


def _errors(by_question: Mapping[str, float | None]) -> dict[str, float | None]:
    known = [value for value in by_question.values() if value is not None]
    return {"mean": float(np.mean(known)) if known else None, **by_question}


def _draw_errors(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.add_subplot()
    spent = [row["answers"] for row in rows]
    for name in names:
        values = [np.nan if row[name] is None else row[name] for row in rows]
        strong = {"color": "black", "lw": 2, "zorder": 3} if name == "mean" else {"lw": 1}
        axes.plot(spent, values, "o-", ms=3, label=name, **strong)
    axes.set(xlabel="answers of volunteers", ylabel="RMSE of vote fractions", ylim=(0, None))
    figure.legend(fontsize=7, frameon=False, loc="outside right upper")
    plain_axes(axes)
    return figure


def section_of_population(
    featured: str, task: VoteTask, rounds: Sequence[PastRound]
) -> Iterator[Section]:
    """What share of the pool is featured: estimated with selection probabilities, and without."""
    if not featured:
        return
    question = next(q for q in task.tree.questions if featured in task.columns[q.slice])
    place, rows = task.columns.index(featured), []
    for number, one in enumerate(rounds, 1):
        chances = {row["object_id"]: row["selection_probability"] for row in one.subjects}
        given = [
            (votes[place] / votes[question.slice].sum(), chances[name])
            for name, votes in one.answered.items()
            if name in chances and votes[question.slice].sum() >= MIN_VOTES
        ]
        if not given:
            continue
        values, probabilities = np.array(given).T
        mean, error = estimate_mean(values, probabilities)
        rows.append(
            {
                "round": number,
                "galaxies": len(values),
                "asked": float(values.mean()),
                "survey": mean,
                "error": error,
            }
        )
    if not rows:
        return
    columns = {
        "round": "{round}",
        "galaxies": "{galaxies:,}",
        "of those asked about": "{asked:.3f}",
        "of all that might be asked": "{survey:.3f} ± {error:.3f}",
    }
    caption = (
        f"Mean fraction of {featured}: galaxies chosen by rules are not like the others, so that "
        "only the estimate with their selection probabilities is one of the survey."
    )
    yield Section("What the survey is like", [], [Table("population", caption, rows, columns)])


def section_of_asked(rounds: Sequence[PastRound], source: ImageSource) -> Section:
    """Show what is being asked, and why."""
    now = rounds[-1]
    rows = [
        {"round": number, "stratum": stratum, "galaxies": n}
        for number, one in enumerate(rounds, 1)
        for stratum, n in sorted(Counter(row["stratum"] for row in one.subjects).items())
    ]
    columns = {"round": "{round}", "chosen by": "{stratum}", "galaxies": "{galaxies:,}"}
    chosen: list[tuple[str, list[str]]] = []
    for stratum in sorted({row["stratum"] for row in now.subjects}):
        names = [row["object_id"] for row in now.subjects if row["stratum"] == stratum]
        names = sorted(names, key=lambda name: uniform(f"gallery:{name}"))[:_EACH]
        chosen += [(name, [stratum]) for name in names]
    caption = "Galaxies of the round that is being asked, a row or less for each reason."
    plots = _gallery("asked", caption, chosen, source, "chosen by which rule, or at random")
    table = Table("strata", "Why galaxies were asked about.", rows, columns)
    return Section("What is asked, and why", [], [table], plots)


def section_of_disagreement(
    task: VoteTask,
    rounds: Sequence[PastRound],
    predicted: Mapping[str, Floats],
    source: ImageSource,
) -> Iterator[Section]:
    """Galaxies that came back on which the champion still differs most from the volunteers."""
    found = []
    for number, one in enumerate(rounds, 1):
        for name in sorted(one.answered.keys() & predicted.keys()):
            worst = _worst(task, one.answered[name], predicted[name])
            if worst:
                found.append({"object_id": name, "round": number, **worst})
    if not found:
        return
    found = sorted(found, key=lambda row: (-row["deviations"], row["object_id"]))[:100]
    columns = {
        "object_id": "{object_id}",
        "round": "{round}",
        "answer": "{answer}",
        "volunteers": "{volunteers:.2f}",
        "model": "{model:.2f}",
        "deviations": "{deviations:.1f}",
    }
    caption = (
        "Where volunteers and champion still disagree: fractions of the answer that differs most, "
        "in standard deviations of what so few votes scatter by themselves."
    )
    table = Table("disagreement", caption, found, columns, shown="folded")
    shown = [
        (row["object_id"], [(row["answer"], row["model"], row["volunteers"])])
        for row in found[:_MOST]
    ]
    legend = "bar: the champion; tick: the volunteers"
    plots = _gallery("disagreement", "The first of them.", shown, source, legend)
    yield Section("Where volunteers and model disagree", [], [table], plots)


def _worst(task: VoteTask, votes: Floats, fractions: Floats) -> dict[str, Any] | None:
    """The answer whose fraction differs most, in deviations of the votes if the model is right."""
    best: dict[str, Any] | None = None
    for question in task.tree.questions:
        total = votes[question.slice].sum()
        if total < MIN_VOTES:
            continue
        model = np.clip(fractions[question.slice], 1e-3, 1 - 1e-3)
        seen = votes[question.slice] / total
        apart = np.abs(seen - model) / np.sqrt(model * (1 - model) / total)
        place = int(np.argmax(apart))
        if best is None or apart[place] > best["deviations"]:
            best = {
                "answer": task.columns[question.start + place],
                "volunteers": float(seen[place]),
                "model": float(fractions[question.start + place]),
                "deviations": float(apart[place]),
            }
    return best


def _gallery(
    name: str,
    caption: str,
    galaxies: Sequence[tuple[str, Sequence[Any]]],
    source: ImageSource,
    legend: str,
) -> list[Plot]:
    if not galaxies:
        return []
    groups = source.find([key for key, _ in galaxies], unfit=0)
    pictures = {key: image for group in groups for key, image in group.read()}
    shown = [(key, pictures.get(key), lines) for key, lines in galaxies]
    return [Plot(name, caption, draw_gallery(shown, legend), vector=False)]

"""Stage ``judge``: champion and challenger by the galaxies that were drawn at random for a test."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.evaluation.measure import measure_images
from galaxymill.evaluation.probe import ProbePredictor, load_probe
from galaxymill.evaluation.sample import Sample, choose
from galaxymill.images.pixels import ImageSource
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import MODEL_FILE, is_probe
from galaxymill.reporting.plots import COLOURS, FAINT, INK, clip, own_style, plain_axes
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.rounds.champion import take_model
from galaxymill.rounds.choose import RANDOM
from galaxymill.rounds.gate import Verdict, compare
from galaxymill.rounds.settings import JudgeSettings
from galaxymill.statistics.baselines import predict_baselines
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import read_columns
from galaxymill.tasks.votes.scores import Comparison
from galaxymill.tasks.votes.task import VoteTask

logger = logging.getLogger("galaxymill")

VERDICT = "verdict.json"


@dataclass(frozen=True)
class Overruled:
    """A person's word against the gate's, and why."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class JudgeRequest:
    """Who is judged, and by whom.

    Attributes
    ----------
    number : int
        Of the round.
    subjects : tuple of Path
        ``subjects.parquet`` of all rounds so far.
    votes : Path
        Labels with the answers of this round.
    images : tuple of Path
        Where the labelled galaxies' images are.
    champion, challenger : Path
        ``model.yaml`` of each.
    predict : PredictSettings
        How both predict.
    features : Path, optional
        Of probes: ``features.csv``.
    overruled : Overruled, optional
    """

    number: int
    subjects: tuple[Path, ...]
    votes: Path
    images: tuple[Path, ...]
    champion: Path
    challenger: Path
    settings: JudgeSettings
    predict: PredictSettings
    features: Path | None = None
    overruled: Overruled | None = None


def judge_round(request: JudgeRequest, out: Path) -> None:
    """Judge a challenger; ``out`` is ``model.yaml`` of who is champion from now on, written last.

    Its weights lie beside it, with the verdict as JSON and a page.

    Raises
    ------
    UserError
        When the models answer other questions, or no galaxy was drawn at random for a test.
    """
    with exclusive(out):
        verdict, origin = _judge(request)
        promoted = request.overruled.promote if request.overruled else verdict.promoted
        chosen = request.challenger if promoted else request.champion
        with own_style(), atomic_tree(out.parent, MODEL_FILE) as folder:
            report = _report(request, verdict, promoted, origin)
            report.write(folder, VERDICT)
            take_model(chosen, folder)
    logger.info("judge: %s", report.headline)


def _judge(request: JudgeRequest) -> tuple[Verdict, Origin]:
    both = [_open(path, request) for path in (request.champion, request.challenger)]
    cards = [one.card for one in both]
    task = cards[1].task
    if cards[0].task != task or not isinstance(task, VoteTask):
        raise UserError(
            f"{request.champion} and {request.challenger} answer other questions, or none of "
            "volunteers; both must be of the labels of the round"
        )
    sample = _tested(request, task, cards[1].origin["inputs"])
    source = ImageSource.open(list(request.images))
    inputs = {
        "champion": cards[0].digest,
        "challenger": cards[1].digest,
        "images": source.digest,
        **sample.digests,
        **{f"round_{n}": read_record(one).digest for n, one in enumerate(request.subjects, 1)},
    }
    parameters = request.settings.product_settings() | {"posterior": request.predict.posterior()}
    origin = Origin("judge", parameters | {"round": request.number}, inputs)
    drawn = [_predict(one, sample, source, request) for one in both]
    ids = sorted(set(drawn[0]) & set(drawn[1]))
    if not ids:
        raise UserError(f"{request.votes}: none of the galaxies to judge by has a fit image")
    votes = np.array([sample.test[one] for one in ids], np.int64)
    learned = np.array(list(sample.train.values()), np.int64).reshape(-1, votes.shape[1])
    constant = predict_baselines(task.tree, learned, learned[:0], {}, len(ids))
    champion, challenger = (
        Comparison(task.tree, ids, votes, np.stack([one[key] for key in ids]), constant)
        for one in drawn
    )
    return compare(champion, challenger, request.settings.margin), origin


def _open(model: Path, request: JudgeRequest) -> Predictor | ProbePredictor:
    if is_probe(model):
        return load_probe(model, request.features)
    return Predictor.load(model, request.predict)


def _tested(request: JudgeRequest, task: VoteTask, learned: Mapping[str, Any]) -> Sample:
    """Galaxies of the test split that were drawn at random, in any round so far."""
    sample = choose([request.votes], [], "test", task, learned)
    fair = set(_at_random(request.subjects))
    test = {name: votes for name, votes in sample.test.items() if name in fair}
    if not test:
        raise UserError(
            f"{request.votes}: no galaxy of the test split was drawn at random and has votes: "
            "there is nothing to judge by; draw more at random"
        )
    return replace(sample, test=test)


def _at_random(subjects: Sequence[Path]) -> Iterator[str]:
    for path in subjects:
        rows = read_columns(path, ["object_id", "stratum"])
        for name, stratum in zip(*(one.to_pylist() for one in rows.columns), strict=True):
            if stratum == RANDOM:
                yield name


def _predict(
    predictor: Predictor | ProbePredictor,
    sample: Sample,
    source: ImageSource,
    request: JudgeRequest,
) -> dict[str, Any]:
    """Samples of the galaxies to judge by."""
    if isinstance(predictor, ProbePredictor):
        sample = predictor.find(sample, [request.votes])
    unfit = flags.unfit_bits(predictor.card.settings.unfit)
    groups = source.find(set(sample.test), unfit)
    return measure_images(replace(sample, train={}), groups, predictor, None).samples


def _report(request: JudgeRequest, verdict: Verdict, promoted: bool, origin: Origin) -> Report:
    who = "The challenger is the new champion" if promoted else "The champion stays"
    why = "; ".join(verdict.reasons) or "the challenger is no worse on any question"
    text = [f"The gate: {'promoted' if verdict.promoted else 'refused'}, as {why}."]
    if request.overruled:
        text.append(f"Overruled by a person: {request.overruled.reason}")
    evidence = verdict.evidence
    text.append(
        f"Judged by {evidence['galaxies']} galaxies of the test split, which were drawn at random "
        "in this round or before. Differences of negative log likelihood are of challenger less "
        "champion, in nats a question: negative ones are for the challenger. Over all: "
        f"{evidence['nll_difference']:.4f}, at most {evidence['nll_difference_upper']:.4f} (95 % "
        f"bound), allowed {evidence['nll_difference_allowed']:.4f}."
    )
    rows = [{"question": name, **one} for name, one in evidence["questions"].items()]
    columns = {
        "question": "{question}",
        "galaxies": "{n}",
        "difference": "{nll_difference:.4f}",
        "at least": "{nll_difference_lower:.4f}",
        "RMSE of the challenger": "{rmse_challenger:.3f}",
        "of the champion": "{rmse_champion:.3f}",
    }
    table = Table("questions", "By question; at least: lower bound.", rows, columns)
    caption = (
        "Left: the difference on each question with its bounds; right of the line the challenger "
        "is worse. Right: how many votes the intervals hold, and how many they should."
    )
    plot = Plot("verdict", caption, _draw(evidence))
    metrics: dict[str, Any] = {
        "round": request.number,
        "promoted": promoted,
        "gate": {"promoted": verdict.promoted, "reasons": list(verdict.reasons)},
        "overruled": request.overruled.reason if request.overruled else None,
        **evidence,
    }
    metrics |= {"origin": origin.to_dict(), "digest": sha256_json(metrics)}
    return Report(
        f"Round {request.number}: the verdict",
        f"{who}: {why}" if not request.overruled else f"{who}: {request.overruled.reason}",
        [Section("Verdict", text, [table], [plot])],
        metrics,
        f"Digests: champion {origin.inputs['champion'][:16]}, challenger "
        f"{origin.inputs['challenger'][:16]}.",
    )


def _draw(evidence: Mapping[str, Any]) -> Figure:
    known = {
        name: [one[f"nll_difference{end}"] for end in ("_lower", "", "_upper")]
        for name, one in evidence["questions"].items()
        if one["nll_difference"] is not None
    }
    figure = Figure(figsize=(9, 0.25 * len(known) + 2.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    for place, (low, middle, high) in enumerate(known.values()):
        left.plot([low, high], [place, place], color=COLOURS["model"])
        left.plot(middle, place, "o", color=COLOURS["model"], ms=4)
    left.axvline(0, color=INK, lw=1)
    left.set_yticks(range(len(known)), [clip(name) for name in known])
    left.invert_yaxis()
    left.set_xlabel("challenger less champion, nats")
    right.plot([0, 1], [0, 1], color=INK, lw=1, ls="--")
    for name, colour in (("champion", FAINT), ("challenger", COLOURS["model"])):
        held = evidence["coverage"][name]
        values = [np.nan if value is None else value for value in held.values()]
        right.plot([float(at) for at in held], values, "o-", ms=4, color=colour, label=name)
    right.set(xlabel="probability of the interval", ylabel="votes inside", xlim=(0.4, 1))
    right.set_ylim(0.4, 1)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        plain_axes(axes)
    return figure

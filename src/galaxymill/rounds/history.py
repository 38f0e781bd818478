"""Stage ``history``: a page of all rounds: what was asked and why, what came back, what it gained.

It reads what each round left on record, the labels after each, and what the champion predicts.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError
from galaxymill.images.pixels import ImageSource
from galaxymill.labels.table import read_votes
from galaxymill.progress import progress
from galaxymill.reporting.plots import own_style
from galaxymill.reporting.report import Report
from galaxymill.rounds.champion import Champion, read_champion
from galaxymill.rounds.choose import CHOICE
from galaxymill.rounds.judge import VERDICT
from galaxymill.rounds.sections import (
    PastRound,
    describe_round,
    section_of_asked,
    section_of_disagreement,
    section_of_errors,
    section_of_population,
    section_of_rounds,
)
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin, content_digest, read_record
from galaxymill.storage.parquet import read_columns
from galaxymill.tasks.task import Floats
from galaxymill.tasks.votes.posterior import mean_fractions

PAGE = "report.html"
logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class HistoryRequest:
    """What is on record.

    Attributes
    ----------
    subjects : tuple of Path
        ``subjects.parquet`` of each round, that which is being asked last; what else a round left
        lies beside it.
    votes : tuple of Path
        ``votes.parquet``: before the first round, then after each that came back.
    partitions : Path
        ``partitions.csv`` of the survey.
    predictions : Path
        Folder with ``{part}.parquet`` of the champion's predictions.
    model : Path
        ``model.yaml`` of the champion.
    images : Path
        ``images.csv`` of the survey.
    featured : str
        Answer whose share of the survey is estimated; none when empty.
    """

    subjects: tuple[Path, ...]
    votes: tuple[Path, ...]
    partitions: Path
    predictions: Path
    model: Path
    images: Path
    featured: str = ""


def report_rounds(request: HistoryRequest, out: Path) -> None:
    """Write the page, with its numbers, plots and tables beside it.

    Raises
    ------
    UserError
        When a round left no choice or verdict on record, or predictions are of another model.
    """
    champion = read_champion(
        request.model, request.partitions, request.predictions, request.featured
    )
    origin = Origin("history", {"featured": request.featured}, _inputs(request, champion))
    rounds = _read_rounds(request)
    with exclusive(out), own_style(), atomic_tree(out.parent, out.name) as folder:
        report = _report(request, champion, rounds, origin)
        report.write(folder, "metrics.json")
    logger.info("rounds: %s", report.headline)


def _inputs(request: HistoryRequest, champion: Champion) -> dict[str, Any]:
    judged = [one.with_name(VERDICT) for one in request.subjects[: len(request.votes) - 1]]
    return {
        **champion.inputs,
        **{f"round_{n}": read_record(one).digest for n, one in enumerate(request.subjects, 1)},
        **{f"votes_{n}": read_record(one, "labels").digest for n, one in enumerate(request.votes)},
        **{f"verdict_{n}": content_digest(one) for n, one in enumerate(judged, 1)},
    }


def _read_rounds(request: HistoryRequest) -> list[PastRound]:
    votes = [read_votes(path) for path in request.votes]
    found = []
    for place, path in enumerate(request.subjects):
        came_back = place + 1 < len(votes)
        found.append(
            PastRound(
                read_columns(path, ["object_id", "stratum", "selection_probability"]).to_pylist(),
                _read_json(path.with_name(CHOICE)),
                _read_json(path.with_name(VERDICT)) if came_back else None,
                votes[place],
                votes[place + 1 if came_back else place],
            )
        )
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is not what a round leaves on record ({error}); restore it from a copy"
        ) from None
    return found


def _report(
    request: HistoryRequest, champion: Champion, rounds: Sequence[PastRound], origin: Origin
) -> Report:
    task = champion.task
    every = {name for one in rounds for name in (*one.answered, *one.asked)}
    predicted, absent = _predictions(champion, every)
    rows = [describe_round(number, one, absent) for number, one in enumerate(rounds, 1)]
    now = rounds[-1].choice
    if now["finished"]:
        headline = "Finished: no rule finds a galaxy that is worth asking about."
    else:
        headline = f"Round {len(rounds)} is being asked: {len(rounds[-1].asked):,} galaxies."
    if now["confidently_smooth"] is not None and now["pool"]:
        share = now["confidently_smooth"] / now["pool"]
        headline += f" Of the {now['pool']:,} not asked before, {share:.0%} are confidently smooth."
    source = ImageSource.open([request.images])
    sections = [
        section_of_rounds(rows, rounds),
        *section_of_errors(rounds),
        *section_of_population(request.featured, task, rounds),
        section_of_asked(rounds, source),
        *section_of_disagreement(task, rounds, predicted, source),
    ]
    metrics = {"rounds": rows, "finished": now["finished"], "origin": origin.to_dict()}
    footer = "metrics.json holds the numbers of this page, the CSV files its tables."
    return Report("Rounds of asking volunteers", headline, sections, metrics, footer)


def _predictions(champion: Champion, wanted: set[str]) -> tuple[dict[str, Floats], set[str]]:
    """Predicted vote fractions of some galaxies; and those of them that the survey lacks."""
    keys = pa.array(sorted(wanted), pa.string())
    predicted: dict[str, Floats] = {}
    there: set[str] = set()
    task = champion.task
    with progress("rounds", len(champion.files)) as advance:
        for path in champion.files:
            rows = read_columns(path, ["object_id", task.sample_column])
            rows = rows.filter(pc.is_in(rows["object_id"], value_set=keys))
            there |= set(rows["object_id"].to_pylist())
            rows = rows.drop_null().combine_chunks()
            flat = rows[task.sample_column].combine_chunks().flatten().to_numpy()
            samples = flat.reshape(len(rows), -1, len(task.columns)).astype(np.float64)
            fractions = mean_fractions(samples, task.tree)
            predicted |= zip(rows["object_id"].to_pylist(), fractions, strict=True)
            advance(1)
    return predicted, wanted - there

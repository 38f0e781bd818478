"""What an explorer says of its catalogue first, and which columns belong to a question."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from galaxymill.errors import UserError
from galaxymill.explorer.settings import ExplorerSettings
from galaxymill.explorer.slices import asked_name
from galaxymill.models.store import ModelCard
from galaxymill.probes.store import ProbeCard, read_any_card
from galaxymill.release.settings import ReleaseSettings


def about(
    release: dict[str, Any],
    models: Sequence[Path],
    metrics: Sequence[Path],
    settings: ExplorerSettings,
) -> dict[str, Any]:
    """Describe a release: its title, models, and how good they are.

    ``release`` is ``provenance/release.json``, ``metrics`` are files ``metrics.json``.
    """
    chosen = release["origin"]["parameters"]
    said = ReleaseSettings.model_validate({k: v for k, v in chosen.items() if k != "name"})
    cards = {path.parent.name: read_any_card(path) for path in models}
    measured = [_read_metrics(path) for path in metrics]
    return {
        "title": said.title or release["name"],
        "release": release["name"],
        "version": said.version,
        "description": said.description or "",
        "license": said.license,
        "cut": said.friendly_cut,
        "galaxymill": release["galaxymill_version"],
        "models": [_sentence(name, card) for name, card in cards.items()],
        "quality": [text for one in measured for text in _errors(one)],
        "figures": [
            _paragraphs(card.task.release_text().figures(one))
            for card in cards.values()
            for one in measured
            if one.get("origin", {}).get("inputs", {}).get("model") == card.digest
        ],
        "limits": [text for card in cards.values() for text in card.task.release_text().limits],
        "viewer": settings.viewer,
    }


def _sentence(name: str, card: ModelCard | ProbeCard) -> str:
    galaxies = card.counts.get("train", 0)
    what = card.task.release_text().summary
    what = what[0].upper() + what[1:]
    return f"{what}: by model {name}, which learned from {galaxies:,} galaxies."


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; run evaluate again") from error


def _errors(metrics: dict[str, Any]) -> Iterator[str]:
    """Sum up an evaluation of votes in a sentence."""
    mean = metrics.get("mean_of_questions") or {}
    own = mean.get("rmse")
    constant = mean.get("baselines", {}).get("constant", {}).get("rmse")
    if own is not None:
        guess = "" if constant is None else f", that of a constant guess {constant:.3f}"
        yield (
            f"The error (RMSE) of a fraction is {own:.3f} on {metrics.get('n_test', 0):,} galaxies "
            f"that the model has not learned from{guess}."
        )


def _paragraphs(markdown: str) -> dict[str, Any]:
    """Take the text and the one table out of a piece of Markdown."""
    lines = markdown.splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    rows = [[cell.strip() for cell in row] for row in cells]
    return {
        "text": " ".join(line for line in lines if line and not line.startswith("|")),
        "table": [row for number, row in enumerate(rows) if number != 1],
    }


def questions(models: Sequence[Path], columns: Sequence[str]) -> list[dict[str, Any]]:
    """List each question with its answers' columns, by their place among ``columns``, or -1."""
    place = {name: number for number, name in enumerate(columns)}
    panels = [panel for path in models for panel in read_any_card(path).task.panels()]
    found = []
    for panel in panels:
        answers = [
            {"name": one.name, "column": place[one.column], **_interval(one.column, place)}
            for one in panel.answers
            if one.column in place
        ]
        if answers:
            asked = place.get(asked_name(panel.title), -1)
            known = {"title": panel.title, "asked": asked, "proportion": panel.asked}
            found.append({**known, "answers": answers})
    return found


def _interval(column: str, place: dict[str, int]) -> dict[str, int]:
    stem = column.rsplit("_", 1)[0]
    return {end: place.get(f"{stem}_90pc-{end}", -1) for end in ("lower", "upper")}

"""The README of a release, from the Jinja template `README.md.j2`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galaxymill import flags
from galaxymill.images.domains import alike
from galaxymill.models.settings import TrainSettings
from galaxymill.release.audit import Census
from galaxymill.release.columns import Column
from galaxymill.release.predictions import Prediction
from galaxymill.release.settings import ReleaseSettings
from galaxymill.reporting.templates import read_templates
from galaxymill.storage.origin import Origin
from galaxymill.tasks.released import ColumnGroup


@dataclass(frozen=True)
class Facts:
    """Galaxies of a release, tiles of HATS, and whether there are positions (else no HATS)."""

    name: str
    galaxies: int
    tiles: int
    census: Census
    has_positions: bool = True


def write_readme(
    path: Path,
    facts: Facts,
    predictions: Sequence[Prediction],
    origin: Origin,
    columns: Sequence[Column],
    settings: ReleaseSettings,
) -> None:
    """Write ``README.md``; the settings have a date."""
    # Markdown, not HTML: what stands in names is not escaped.
    templates = read_templates("galaxymill.release.documents", autoescape=False)
    templates.filters["commas"] = "{:,}".format
    groups: dict[ColumnGroup, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(column)
    tasks = [one.task for one in predictions]
    text = templates.get_template("README.md.j2").render(
        facts=facts,
        predictions=predictions,
        origin=origin,
        settings=settings,
        flags=flags.FLAGS,
        groups=groups,
        asked=any(panel.asked for task in tasks for panel in task.panels()),
        unfit=_unfit(facts.census.unfit),
        elsewhere=[
            (one.name, _differences(one, origin))
            for one in predictions
            if not any(alike(theirs, origin.domain) for theirs in one.card.domains)
        ],
        models=[
            (one.name, _model(one), one.task.release_text().figures(one.metrics))
            for one in predictions
        ],
        limits=dict.fromkeys(limit for task in tasks for limit in task.release_text().limits),
    )
    path.write_text(text, encoding="utf-8")


def _unfit(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Count galaxies without predictions: once where all predictions have the same."""
    if len(set(counts.values())) == 1:
        return [("", next(iter(counts.values())))]
    return [(f" of `{name}`", n) for name, n in counts.items()]


def _differences(prediction: Prediction, origin: Origin) -> list[tuple[str, object, object]]:
    """List how the images that a model learned from differ from the survey's."""
    theirs, ours = prediction.card.domains[0], origin.domain
    return [
        (key, theirs.get(key, "unknown"), ours.get(key, "unknown"))
        for key in sorted({**theirs, **ours})
        if theirs.get(key) != ours.get(key)
    ]


def _model(prediction: Prediction) -> dict[str, str]:
    """Describe the model of a prediction."""
    card, settings = prediction.card, prediction.settings
    train = card.settings
    posterior = f"{settings.draws(train)} samples, one of each member"
    if isinstance(train, TrainSettings):
        posterior = (
            f"{settings.draws(train)} samples ({settings.samples} of Monte-Carlo dropout, "
            f"networks: {train.networks}, views of each image: {settings.view_count(train)})"
        )
        what = {"encoder": train.encoder}
    else:
        what = {"probe": f"on the features of space {train.features}"}
    learned = [", ".join(f"{key} {d[key]}" for key in sorted(d)) for d in card.domains]
    return {
        **what,
        **prediction.task.release_text().model,
        "learned from": "; ".join(learned),
        "labelled galaxies": ", ".join(f"{n} {split}" for split, n in card.counts.items()),
        "posterior": posterior,
        "content digest": f"`{card.digest}`",
    }

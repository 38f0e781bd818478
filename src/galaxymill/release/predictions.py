"""The predictions of a release: which model made them, and how well it does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import ModelCard
from galaxymill.probes.store import ProbeCard, read_any_card
from galaxymill.release.sources import Part, role_of
from galaxymill.tasks.task import Task


@dataclass(frozen=True)
class Prediction:
    """One prediction of every galaxy.

    Attributes
    ----------
    model, card
        ``model.yaml`` of the model that predicted, and its content.
    metrics
        Its ``metrics.json``, evaluated with these settings; empty when there is none.
    draws
        Posterior samples a galaxy that are kept; 0: none are.
    sample_column
        What the column of samples is called in the release.
    """

    name: str
    model: Path
    card: ModelCard | ProbeCard
    settings: PredictSettings
    metrics: Mapping[str, Any]
    metrics_file: Path | None
    draws: int
    sample_column: str

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.card.task

    @property
    def role(self) -> str:
        """Role of its files, see `role_of`."""
        return role_of(self.name)

    @property
    def schema(self) -> pa.Schema:
        """Schema that each of its files must have."""
        return products.predictions(self.task, self.draws)

    @property
    def unfit_bits(self) -> int:
        """Bits of galaxies that it says nothing of; a probe, of those without features too."""
        more = ("no_features",) if isinstance(self.card, ProbeCard) else ()
        return flags.unfit_bits([*self.settings.unfit, *more])

    def unfit(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Tell which rows of the release were not predicted."""
        bits = self.unfit_bits
        return np.asarray(rows["flags"].to_numpy() & bits, np.bool_)


def read_predictions(
    names: Sequence[str], parts: Sequence[Part], models: Sequence[Path], metrics: Sequence[Path]
) -> list[Prediction]:
    """Find the model (``model.yaml``) and the evaluation (``metrics.json``) of each prediction.

    Raises
    ------
    UserError
        When a prediction was made by several models or with several settings, or by none of
        these models; when a model or an evaluation is of no prediction.
    """
    cards = {path: read_any_card(path) for path in models}
    sources = [_Source.of(name, parts) for name in names]
    for path, card in cards.items():
        if card.digest not in {one.model for one in sources}:
            raise UserError(
                f"{sources[0].file} was predicted by model {sources[0].model}, but {path} is "
                f"{card.digest}; run predict again, or name the model that predicted"
            )
    evaluations: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in metrics:
        found = _read_metrics(path)
        own = [one.name for one in sources if _is_of(found, one)]
        if not own:
            raise UserError(
                f"{path}: evaluates a model, or samples and views, that no prediction of this "
                "release has; run evaluate again with those of the prediction"
            )
        evaluations = dict.fromkeys(own, (path, found)) | evaluations
    files = [_model_file(one, cards) for one in sources]
    columns = [cards[path].task.sample_column for path in files]
    result = []
    for one, path, column in zip(sources, files, columns, strict=True):
        card = cards[path]
        file, figures = evaluations.get(one.name, (None, {}))
        if file is not None:
            _refuse_strange(file, figures, card.task)
        draws = _draws(one.file, card.task)
        name = column if columns.count(column) == 1 else f"{one.name}_{column}"
        result.append(Prediction(one.name, path, card, one.settings, figures, file, draws, name))
    return result


@dataclass(frozen=True)
class _Source:
    """The model and settings of a prediction, by the footers of its files."""

    name: str
    file: Path
    model: str
    settings: PredictSettings

    @classmethod
    def of(cls, name: str, parts: Sequence[Part]) -> "_Source":
        """Read the first file's footer; refuse when another says something else."""
        role = role_of(name)
        first = parts[0]
        model, parameters = _made_by(first, role)
        for part in parts:
            other, chosen = _made_by(part, role)
            if other != model:
                raise UserError(
                    f"{part.files[role]} and {first.files[role]} were predicted by different "
                    f"models: {other} and {model}; run predict again with one model"
                )
            if chosen != parameters:
                raise UserError(
                    f"{part.files[role]} and {first.files[role]} were predicted with different "
                    f"settings: {chosen} and {parameters}; run predict again with the same"
                )
        settings = PredictSettings.model_validate(parameters)
        return cls(name, first.files[role], model, settings)


def _made_by(part: Part, role: str) -> tuple[str, dict[str, Any]]:
    origin = part.records[role].origin
    return str(origin["inputs"].get("model")), dict(origin["parameters"])


def _model_file(source: _Source, cards: Mapping[Path, ModelCard | ProbeCard]) -> Path:
    for path, card in cards.items():
        if card.digest == source.model:
            return path
    models = ", ".join(f"{path} is {card.digest}" for path, card in cards.items())
    raise UserError(
        f"{source.file} was predicted by model {source.model}, but "
        f"{models or 'no model is given'}; run predict again, or name the model that predicted"
    )


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        for key in ("inputs", "parameters"):
            dict(metrics.get("origin", {}).get(key, {}))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; run evaluate again") from error
    return metrics


def _refuse_strange(path: Path, metrics: Mapping[str, Any], task: Task) -> None:
    """Refuse figures that the README cannot quote, before hours go into the tables."""
    try:
        task.release_text().figures(metrics)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not the figures of {task.kind}; run evaluate again") from error


def _is_of(metrics: Mapping[str, Any], source: _Source) -> bool:
    """Tell whether an evaluation is of the model of a prediction, as it predicts."""
    origin = metrics.get("origin", {})
    chosen = origin.get("parameters", {}).get("posterior")
    is_same = origin.get("inputs", {}).get("model") == source.model
    return bool(is_same and chosen == source.settings.posterior())


def _draws(file: Path, task: Task) -> int:
    """Count the posterior samples a galaxy that a file keeps; 0 when it keeps none."""
    predicted = pq.read_schema(file)
    name = task.sample_column
    kept = predicted.field(name).type if name in predicted.names else None
    if not isinstance(kept, pa.FixedSizeListType):
        return 0
    return int(kept.list_size) // task.sample_width()[0]


def mask_unasked(
    rows: pa.Table, predictions: Sequence[Prediction], schema: pa.Schema, cut: float
) -> pa.Table:
    """Make the friendly table, of that schema: null where fewer volunteers would be asked.

    A ``cut`` of half of them is that of the Galaxy Zoo DESI catalogue (Walmsley et al. 2023, MNRAS
    526, 4768).
    """
    values = dict(zip(rows.column_names, rows.columns, strict=True))
    for panel in (panel for one in predictions for panel in one.task.panels()):
        if not panel.asked:
            continue
        proportion = rows[panel.asked]
        asked = pc.greater_equal(proportion, pa.scalar(cut, proportion.type))
        for answer in panel.answers:
            column = rows[answer.column]
            values[answer.column] = pc.if_else(asked, column, pa.scalar(None, column.type))
    return pa.table([values[name] for name in schema.names], schema=schema)

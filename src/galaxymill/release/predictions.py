"""The predictions of a release: whose they are, and how well their model does."""

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
from galaxymill.models.store import ModelCard, read_card
from galaxymill.release.sources import Part, role_of
from galaxymill.tasks.task import Task


@dataclass(frozen=True)
class Prediction:
    """One prediction of every galaxy.

    Attributes
    ----------
    name : str
        In the config; the name of its folder.
    model : Path
        ``model.yaml`` of the model that predicted.
    card : ModelCard
        What it says.
    settings : PredictSettings
        How it was predicted.
    metrics : mapping
        ``metrics.json`` of the model, evaluated with these settings; empty when there is none.
    metrics_file : Path or None
    draws : int
        Posterior samples a galaxy that are kept; 0: none are.
    sample_column : str
        What the column of samples is called in the release.
    """

    name: str
    model: Path
    card: ModelCard
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
        """Role of its files."""
        return role_of(self.name)

    @property
    def schema(self) -> pa.Schema:
        """Schema that each of its files must have."""
        return products.predictions(self.task, self.draws)

    def unfit(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Tell which rows of the release were not predicted."""
        bits = flags.unfit_bits(self.settings.unfit)
        return np.asarray(rows["flags"].to_numpy() & bits, np.bool_)


def read_predictions(
    names: Sequence[str], parts: Sequence[Part], models: Sequence[Path], metrics: Sequence[Path]
) -> list[Prediction]:
    """Find the model and the evaluation of each prediction, by what the files say.

    Parameters
    ----------
    models : sequence of Path
        ``model.yaml`` of each model that predicted.
    metrics : sequence of Path
        ``metrics.json`` of evaluations.

    Raises
    ------
    UserError
        When a prediction was made by several models or with several settings, or by none of
        those given; when a model or an evaluation is of no prediction.
    """
    cards = {path: read_card(path) for path in models}
    given = [_Given.of(name, parts) for name in names]
    for path, card in cards.items():
        if card.digest not in {one.model for one in given}:
            raise UserError(
                f"{given[0].file} was predicted by model {given[0].model}, but {path} is "
                f"{card.digest}; run predict again, or name the model that predicted"
            )
    evaluations: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in metrics:
        found = _read_metrics(path)
        own = [one.name for one in given if _is_of(found, one)]
        if not own:
            raise UserError(
                f"{path}: evaluates a model, or samples and views, that no prediction of this "
                "release has; run evaluate again with those of the prediction"
            )
        evaluations = dict.fromkeys(own, (path, found)) | evaluations
    files = [_model_file(one, cards) for one in given]
    columns = [cards[path].task.sample_column for path in files]
    result = []
    for one, path, column in zip(given, files, columns, strict=True):
        card = cards[path]
        file, figures = evaluations.get(one.name, (None, {}))
        if file is not None:
            _refuse_strange(file, figures, card.task)
        draws = _draws(one.file, card.task)
        name = column if columns.count(column) == 1 else f"{one.name}_{column}"
        result.append(Prediction(one.name, path, card, one.settings, figures, file, draws, name))
    return result


@dataclass(frozen=True)
class _Given:
    """What the files of a prediction say of themselves."""

    name: str
    file: Path
    model: str
    settings: PredictSettings

    @classmethod
    def of(cls, name: str, parts: Sequence[Part]) -> "_Given":
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


def _model_file(given: _Given, cards: Mapping[Path, ModelCard]) -> Path:
    for path, card in cards.items():
        if card.digest == given.model:
            return path
    known = ", ".join(f"{path} is {card.digest}" for path, card in cards.items())
    raise UserError(
        f"{given.file} was predicted by model {given.model}, but {known or 'no model is given'}; "
        "run predict again, or name the model that predicted"
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
    """Refuse figures that a README cannot quote, before hours go into the tables."""
    try:
        task.release_text().figures(metrics)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not the figures of {task.kind}; run evaluate again") from error


def _is_of(metrics: Mapping[str, Any], given: _Given) -> bool:
    """Tell whether an evaluation is of the model of a prediction, as it predicts."""
    origin = metrics.get("origin", {})
    chosen = origin.get("parameters", {}).get("posterior")
    is_same = origin.get("inputs", {}).get("model") == given.model
    return bool(is_same and chosen == given.settings.posterior())


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
    """Make the friendly table: null where fewer volunteers would be asked the question.

    Half of them is the cut of the Galaxy Zoo DESI catalogue (Walmsley et al. 2023, MNRAS 526,
    4768).

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the friendly table.
    cut : float
        Least proportion of the volunteers.
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

"""The report of a model that predicts a number."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill.reporting.plots import COLOURS, FAINT, LABELS, draw_bars, panels, plain_axes
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.reporting.tables import flatten, spell
from galaxymill.reporting.words import relative
from galaxymill.statistics.baselines import NAMES, predict_number
from galaxymill.statistics.covariates import Errors
from galaxymill.tasks.numbers.scores import NumberComparison, summarise_numbers
from galaxymill.tasks.report import (
    EvaluationData,
    Metrics,
    ReportContent,
    calibration_parts,
    dependence,
    scores_by_prediction,
)


def report_numbers(data: EvaluationData, name: str) -> ReportContent:
    """Compare predicted numbers of the quantity ``name`` with the labels."""
    comparison = _compare(data, name)
    metrics = summarise_numbers(comparison)
    overall = metrics["overall"]
    sections = [
        _errors(comparison, overall),
        _calibration(name, overall),
        _dependence(data, comparison),
        _galleries(data, comparison),
    ]
    return ReportContent(metrics, _headline(name, overall), sections)


def _compare(data: EvaluationData, name: str) -> NumberComparison:
    learned, constant = data.fitted_labels[:, 0], data.train_labels[:, 0].mean()
    predicted = {
        "model": data.samples[..., 0].mean(axis=1),
        "constant": np.full(len(data.object_ids), constant),
        **{kind: predict_number(learned, *pair) for kind, pair in data.features.items()},
    }
    return NumberComparison(name, data.labels[:, 0], data.samples, predicted)


def _headline(name: str, overall: Metrics) -> str:
    against = ", ".join(
        f"{relative(overall['rmse'], other['rmse'])} the {NAMES[kind]}"
        for kind, other in overall["baselines"].items()
    )
    return spell(
        "On {n} galaxies the model's RMSE of {name} is {rmse:.3g} (95 % interval {rmse_low:.3g} to "
        "{rmse_high:.3g}): {against}. Its bias is {bias:.3g}, its scatter without outliers "
        "{scatter:.3g}.",
        {**flatten(overall), "name": name, "against": against},
    )


def _errors(comparison: NumberComparison, overall: Metrics) -> Section:
    columns = {
        "prediction": "{prediction}",
        "RMSE": "{rmse:.4g}",
        "95 % interval": "{rmse_low:.3g} to {rmse_high:.3g}",
        "model minus this": "{difference_low:.3g} to {difference_high:.3g}",
        "MAE": "{mae:.4g}",
        "bias": "{bias:.3g}",
        "scatter": "{scatter:.4g}",
    }
    caption = (
        f"Errors of {comparison.name}, with 95 % bootstrap intervals over galaxies; “model minus "
        "this” is the paired difference in RMSE. Bias: mean of predicted − true. Scatter: 1.4826 "
        "times the median absolute deviation of the residuals."
    )
    rows = scores_by_prediction(overall)
    values = {row["prediction"]: [row["rmse"]] for row in rows}
    label = f"RMSE of {comparison.name} (smaller is better)"
    bars = draw_bars(values, [""], label, [overall["rmse_interval"]], spec=".3g")
    return Section(
        comparison.name,
        [],
        [Table("metrics", caption, rows, columns, LABELS, "model")],
        [
            Plot("errors", "RMSE of the model and its baselines.", bars),
            Plot("predictions", "Predicted and true values, and residuals.", _scatter(comparison)),
        ],
    )


def _scatter(comparison: NumberComparison) -> Figure:
    truth, predicted = comparison.truth, comparison.predicted["model"]
    figure, (left, right) = panels(2, 2, 4.2, 3.9)
    alpha = float(np.clip(100 / len(truth), 0.08, 0.7))
    style: dict[str, Any] = {"s": 12, "color": COLOURS["model"], "alpha": alpha, "linewidths": 0}
    span = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    left.plot(span, span, color=FAINT, lw=1, ls="--")
    left.errorbar(
        truth, predicted, comparison.spread, fmt="none", ecolor="#a8cbe8", alpha=alpha, lw=0.7
    )
    left.scatter(truth, predicted, rasterized=True, **style)
    left.set(xlabel=f"true {comparison.name}", ylabel=f"predicted {comparison.name}")
    right.axhline(0, color=FAINT, lw=1, ls="--")
    right.scatter(truth, predicted - truth, rasterized=True, **style)
    right.set(xlabel=f"true {comparison.name}", ylabel="predicted − true")
    for axes in (left, right):
        plain_axes(axes)
    return figure


def _calibration(name: str, overall: Metrics) -> Section:
    captions = (
        "Share of true values inside the central intervals of the predictive distribution, a "
        "mixture of the model's Gaussians.",
        "Left: where each true value lies in its predicted distribution. Right: how many values "
        "the predictive intervals hold.",
    )
    sentence, table, plot = calibration_parts(
        "calibration", overall, {}, "true values", captions, whole=name
    )
    return Section("Calibration", [sentence], [table], [plot])


def _dependence(data: EvaluationData, comparison: NumberComparison) -> Section:
    name, predicted = comparison.name, comparison.predicted
    model, constant = ((predicted[kind] - comparison.truth) ** 2 for kind in ("model", "constant"))
    return dependence(data, [Errors(name, model, constant)], {}, {name: name}, f"RMSE of {name}")


def _galleries(data: EvaluationData, comparison: NumberComparison) -> Section:
    truth, predicted, spread = comparison.truth, comparison.predicted["model"], comparison.spread

    def lines(row: int) -> list[str]:
        return [
            f"true {truth[row]:.4g}",
            f"model {predicted[row]:.4g} ± {spread[row]:.2g}",
        ]

    note = (
        "Best and worst by the absolute error; most uncertain by the standard deviation of the "
        "predicted distribution."
    )
    return data.galleries(np.abs(predicted - truth), spread, lines, note, comparison.name)

"""The report of a model that predicts a number."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill.reporting.gallery import Line
from galaxymill.reporting.plots import (
    COLOURS,
    FAINT,
    draw_bars,
    draw_calibration,
    panels,
    plain_axes,
)
from galaxymill.reporting.report import (
    Plot,
    Section,
    Table,
    bounds,
    decimal,
    ends,
    relative,
    show,
    show_interval,
)
from galaxymill.statistics.baselines import NAMES, predict_number
from galaxymill.statistics.calibration import calibration_sentence
from galaxymill.statistics.covariates import Errors
from galaxymill.tasks.material import Findings, Material, dependence, galleries
from galaxymill.tasks.numbers.scores import NumberComparison, summarise_numbers
from galaxymill.tasks.votes.tables import calibration_table

Metrics = Mapping[str, Any]


def report_numbers(material: Material, name: str) -> Findings:
    """Compare predicted numbers with the labels.

    Parameters
    ----------
    material : Material
    name : str
        Of the quantity.

    Returns
    -------
    Findings
    """
    comparison = _compare(material, name)
    metrics = summarise_numbers(comparison)
    overall = metrics["overall"]
    sections = [
        _errors(comparison, overall),
        _calibration(comparison, overall),
        _dependence(material, comparison),
        _galleries(material, comparison),
    ]
    return Findings(metrics, _headline(comparison.name, overall), sections)


def _compare(material: Material, name: str) -> NumberComparison:
    n = len(material.object_ids)
    learned = material.fitted_labels[:, 0]
    predicted = {
        "model": material.samples[..., 0].mean(axis=1),
        "constant": np.full(n, material.train_labels[:, 0].mean()),
    }
    for baseline, (train, test) in material.features.items():
        predicted[baseline] = predict_number(learned, train, test)
    return NumberComparison(
        name,
        material.object_ids,
        material.labels[:, 0],
        material.samples,
        predicted,
    )


def _headline(name: str, overall: Metrics) -> str:
    against = ", ".join(
        f"{relative(overall['rmse'], other['rmse'])} the {NAMES[kind]}"
        for kind, other in overall["baselines"].items()
    )
    rmse, bias, scatter = (show(overall[key], ".3g") for key in ("rmse", "bias", "scatter"))
    return (
        f"On {overall['n']} galaxies the model's RMSE of {name} is {rmse} (95 % interval "
        f"{show_interval(overall['rmse_interval'], '.3g')}): {against}. Its bias is {bias}, its "
        f"scatter without outliers {scatter}."
    )


def _errors(comparison: NumberComparison, overall: Metrics) -> Section:
    everyone = {"model": overall, **overall["baselines"]}
    rows = []
    for name, scores in everyone.items():
        rows.append(
            {
                "prediction": name,
                **{key: scores[key] for key in ("rmse", "mae", "bias", "scatter")},
                **ends("rmse", scores["rmse_interval"]),
                **ends("bias", scores["bias_interval"]),
                **ends("difference", scores.get("difference_interval")),
                "nll": scores.get("nll"),
            }
        )
    columns = {
        "prediction": lambda row: {"model": "model", **NAMES}[row["prediction"]],
        "RMSE": decimal("rmse", ".4g"),
        "95 % interval": bounds("rmse", ".3g"),
        "model minus this": bounds("difference", ".3g"),
        "MAE": decimal("mae", ".4g"),
        "bias": decimal("bias", ".3g"),
        "scatter": decimal("scatter", ".4g"),
    }
    caption = (
        f"Errors of {comparison.name}, with 95 % bootstrap intervals over galaxies; “model minus "
        "this” is the paired difference in RMSE. Bias: mean of predicted − true. Scatter: 1.4826 "
        "times the median absolute deviation of the residuals."
    )
    values = {kind: [scores["rmse"]] for kind, scores in everyone.items()}
    label = f"RMSE of {comparison.name} (smaller is better)"
    bars = draw_bars(values, [""], label, [overall["rmse_interval"]], spec=".3g")
    return Section(
        comparison.name,
        [],
        [Table("metrics", caption, rows, columns, lambda row: row["prediction"] == "model")],
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


def _calibration(comparison: NumberComparison, overall: Metrics) -> Section:
    caption = (
        "Share of true values inside the central intervals of the predictive distribution, a "
        "mixture of the model's Gaussians."
    )
    drawn = (
        "Are the uncertainties honest? Where each true value lies in its predicted distribution, "
        "and how many the predictive intervals hold."
    )
    return Section(
        "Calibration",
        [calibration_sentence(overall, {}, "true values")],
        [calibration_table("calibration", caption, {comparison.name: overall}, "")],
        [Plot("calibration", drawn, draw_calibration(overall, {}, "true values"))],
    )


def _dependence(material: Material, comparison: NumberComparison) -> Section:
    model, constant = (
        (comparison.predicted[kind] - comparison.truth) ** 2 for kind in ("model", "constant")
    )
    name = comparison.name
    return dependence(
        material, [Errors(name, model, constant)], {}, {name: name}, f"RMSE of {name}"
    )


def _galleries(material: Material, comparison: NumberComparison) -> Section:
    places = {key: row for row, key in enumerate(comparison.object_ids)}
    predicted, spread = comparison.predicted["model"], comparison.spread

    def lines(key: str) -> list[Line | str]:
        row = places[key]
        return [
            f"true {comparison.truth[row]:.4g}",
            f"model {predicted[row]:.4g} ± {spread[row]:.2g}",
        ]

    note = (
        "Best and worst by the absolute error; most uncertain by the standard deviation of the "
        "predicted distribution."
    )
    errors = np.abs(predicted - comparison.truth)
    return galleries(material, errors, spread, lines, note, comparison.name)

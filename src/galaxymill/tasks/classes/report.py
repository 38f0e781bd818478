"""The report of a model that names one of some classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill.reporting.gallery import Line
from galaxymill.reporting.plots import (
    COLOURS,
    FAINT,
    clip,
    draw_bars,
    draw_confusion,
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
    percent,
    show_percent,
    text,
)
from galaxymill.statistics.baselines import NAMES, class_frequencies, predict_logistic
from galaxymill.statistics.calibration import reliability
from galaxymill.statistics.classification import most_likely
from galaxymill.statistics.covariates import Errors
from galaxymill.tasks.classes.scores import ClassComparison, summarise_classes
from galaxymill.tasks.material import Findings, Material, argmax, dependence, galleries
from galaxymill.tasks.votes.posterior import entropy
from galaxymill.trees.tree import Question

MAX_CURVES = 10

Metrics = Mapping[str, Any]


def report_classes(material: Material, question: Question) -> Findings:
    """Compare predicted classes with the labels.

    Parameters
    ----------
    material : Material
    question : Question
        Its answers are the classes.

    Returns
    -------
    Findings
    """
    comparison = _compare(material, question)
    metrics = summarise_classes(comparison)
    for name, learned in zip(comparison.classes, _learned(material), strict=True):
        metrics["classes"][name]["n_train"] = learned
    sections = [
        _accuracy(comparison, metrics),
        _calibration(comparison, metrics),
        _dependence(material, comparison, question.name),
        _galleries(material, comparison),
    ]
    return Findings(metrics, _headline(metrics["overall"]), sections)


def _learned(material: Material) -> list[int | None]:
    """How many training galaxies each class has; None where no training galaxies were given."""
    if material.train_labels is material.labels:
        return [None] * material.labels.shape[1]
    return [int(count) for count in material.train_labels.sum(axis=0)]


def _compare(material: Material, question: Question) -> ClassComparison:
    k, n = len(question.answers), len(material.object_ids)
    frequencies = class_frequencies(argmax(material.train_labels), k)
    predicted = {
        "model": material.samples.mean(axis=1),
        "constant": np.tile(frequencies, (n, 1)),
    }
    learned = argmax(material.fitted_labels)
    for name, (train, test) in material.features.items():
        predicted[name] = predict_logistic(learned, k, train, test)
    truth = argmax(material.labels)
    return ClassComparison(
        question.answers, material.object_ids, truth, material.samples, predicted
    )


def _headline(overall: Metrics) -> str:
    constant = overall["baselines"]["constant"]
    return (
        f"On {overall['n']} galaxies the model names the right class of "
        f"{show_percent(overall['accuracy'])} (95 % interval "
        f"{show_percent(overall['accuracy_interval'][0])} to "
        f"{show_percent(overall['accuracy_interval'][1])}); always naming the most frequent one, "
        f"{overall['majority']['answer']}, would be right for "
        f"{show_percent(overall['majority']['accuracy'])}. Its log loss is "
        f"{overall['log_loss']:.3f}, that of the training frequencies {constant['log_loss']:.3f}."
    )


def _metrics_table(overall: Metrics) -> Table:
    averages = [f"{s}_{kind}" for kind in ("macro", "weighted") for s in ("precision", "recall")]
    averages += ["f1_macro", "f1_weighted"]
    rows: list[dict[str, Any]] = []
    majority = overall["majority"]
    everyone = {"model": overall, **overall["baselines"], "majority": majority}
    for name, scores in everyone.items():
        row: dict[str, Any] = {"prediction": name, "accuracy": scores["accuracy"]}
        row |= ends("accuracy", scores.get("accuracy_interval"))
        for key in ("log_loss", "brier"):
            row |= {key: scores.get(key), **ends(key, scores.get(f"{key}_interval"))}
            row |= ends(f"{key}_difference", scores.get(f"{key}_difference_interval"))
        rows.append(row | {key: scores.get(key) for key in averages})
    columns = {
        "prediction": lambda row: {"model": "model", **NAMES}.get(
            row["prediction"], f"majority: {majority['answer']}"
        ),
        "accuracy": percent("accuracy"),
        "log loss": decimal("log_loss"),
        "model minus this": bounds("log_loss_difference"),
        "Brier": decimal("brier"),
        "precision": decimal("precision_macro"),
        "recall": decimal("recall_macro"),
        "F1": decimal("f1_macro"),
        "weighted F1": decimal("f1_weighted"),
    }
    caption = (
        "The model beside its baselines. Log loss in nats and Brier score: smaller is better; "
        "“model minus this” is the 95 % bootstrap interval of the paired difference in log loss. "
        "Precision, recall and F1: means over classes, and weighted by how frequent they are."
    )
    return Table("metrics", caption, rows, columns, lambda row: row["prediction"] == "model")


def _accuracy(comparison: ClassComparison, metrics: Metrics) -> Section:
    overall = metrics["overall"]
    everyone = {"model": overall, **overall["baselines"]}
    classes = [{"class": name, **scores} for name, scores in metrics["classes"].items()]
    by_class = {
        "class": text("class"),
        "learned from": decimal("n_train", ".0f"),
        "galaxies": decimal("support", ".0f"),
        **{name: decimal(name.lower()) for name in ("precision", "recall")},
        "F1": decimal("f1"),
        "ROC AUC": decimal("roc_auc"),
    }
    untested = [row["class"] for row in classes if not row["support"]]
    told = f"No galaxy here is of class {', '.join(untested)}: how well it is found is not known."
    matrix = {f"all {overall['n']} galaxies": (comparison.classes, overall["confusion"])}
    values = {kind: [each["log_loss"], each["brier"]] for kind, each in everyone.items()}
    errors = [overall["log_loss_interval"], overall["brier_interval"]]
    bars = draw_bars(values, ["log loss", "Brier score"], "smaller is better", errors)
    return Section(
        "Classes",
        [told] if untested else [],
        [
            _metrics_table(overall),
            Table(
                "classes",
                "Scores by class, and how many galaxies it was learned from and is judged by; ROC "
                "AUC of one against the rest.",
                classes,
                by_class,
            ),
        ],
        [
            Plot("errors", "Proper scores of the model and its baselines.", bars),
            Plot(
                "confusion",
                "Confusion matrix: galaxies by label (down) and the model's class (across).",
                draw_confusion(matrix, "label"),
            ),
            Plot(
                "predictions",
                "Receiver operating curves, each class against the rest.",
                _draw_roc(comparison, metrics),
            ),
        ],
    )


def _draw_roc(comparison: ClassComparison, metrics: Metrics) -> Figure:
    from sklearn.metrics import roc_curve

    figure, (axes,) = panels(1, 1, 4.8, 4.2)
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
    defined = [
        (index, name)
        for index, name in enumerate(comparison.classes)
        if metrics["classes"][name]["roc_auc"] is not None
    ]
    for index, name in defined[:MAX_CURVES]:
        scores = comparison.predicted["model"][:, index]
        false, true, _ = roc_curve(comparison.truth == index, scores)
        label = f"{clip(name)}: {metrics['classes'][name]['roc_auc']:.3f}"
        axes.plot(false, true, lw=1.5, label=label)
    if defined:
        title = {"title": "area under the curve", "title_fontsize": 8}
        axes.legend(fontsize=7.5, frameon=False, loc="lower right", **title)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    plain_axes(axes)
    return figure


def _calibration(comparison: ClassComparison, metrics: Metrics) -> Section:
    probabilities = comparison.predicted["model"]
    curves = {
        "all classes": (probabilities.ravel(), np.eye(probabilities.shape[1])[comparison.truth]),
        "most likely class": (
            probabilities.max(axis=1),
            (most_likely(probabilities) == comparison.truth).astype(np.float64),
        ),
    }
    rows = []
    figure, axes_list = panels(2, 2, 3.6, 3.5)
    for axes, (name, (predicted, hits)) in zip(axes_list, curves.items(), strict=True):
        x, y, errors = reliability(predicted, hits.ravel())
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
        axes.errorbar(x, y, errors, fmt="o-", color=COLOURS["model"], ms=4, lw=1.6)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=name)
        axes.title.set_fontsize(9)
        plain_axes(axes)
        for predicted_mean, share, error in zip(x, y, errors, strict=True):
            row = {"curve": name, "predicted": predicted_mean, "observed": share, "error": error}
            rows.append({key: round(v, 6) if key != "curve" else v for key, v in row.items()})
    figure.supxlabel("predicted probability", fontsize=9)
    figure.supylabel("share that is so", fontsize=9)
    error = metrics["overall"]["calibration_error"]
    accuracy = metrics["overall"]["accuracy"]
    confidence = float(probabilities.max(axis=1).mean())
    change = confidence - accuracy
    word = "over-confident" if change > 0.05 else "under-confident" if change < -0.05 else "fair"
    sentence = (
        f"The model's mean probability of the class it names is {show_percent(confidence)}, and it "
        f"is right for {show_percent(accuracy)}: {word}. The mean gap between confidence and "
        f"accuracy (expected calibration error, Guo+17) is {show_percent(error)}."
    )
    caption = (
        "Reliability: how often what was given a probability is so, with standard errors; on the "
        "diagonal, probabilities mean what they say."
    )
    table = Table("calibration", "Reliability curves.", rows, shown="file")
    return Section("Calibration", [sentence], [table], [Plot("calibration", caption, figure)])


def _dependence(material: Material, comparison: ClassComparison, name: str) -> Section:
    wrong = {
        kind: (most_likely(comparison.predicted[kind]) != comparison.truth).astype(np.float64)
        for kind in ("model", "constant")
    }
    errors = [Errors(name, wrong["model"], wrong["constant"], is_square=False)]
    return dependence(material, errors, {}, {name: name}, "share of wrong classes")


def _galleries(material: Material, comparison: ClassComparison) -> Section:
    probabilities, truth = comparison.predicted["model"], comparison.truth
    places = {key: row for row, key in enumerate(comparison.object_ids)}

    def lines(key: str) -> list[Line | str]:
        row = places[key]
        named = int(probabilities[row].argmax())
        found: list[Line | str] = [
            (
                f"label: {comparison.classes[truth[row]]}",
                float(probabilities[row, truth[row]]),
                None,
            )
        ]
        if named != truth[row]:
            model = float(probabilities[row, named])
            found.append((f"model: {comparison.classes[named]}", model, None))
        return found

    note = (
        "Best and worst by the probability of the labelled class; most uncertain by the entropy of "
        "the predicted classes."
    )
    errors = 1 - probabilities[np.arange(len(truth)), truth]
    legend = (
        "bar and number: probability of the labelled class, and of the model's where it differs"
    )
    return galleries(material, errors, entropy(probabilities), lines, note, legend)

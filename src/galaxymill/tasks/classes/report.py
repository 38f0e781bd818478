"""The report of a model that names one of some classes."""

import numpy as np
from matplotlib.figure import Figure

from galaxymill.reporting.gallery import Line
from galaxymill.reporting.plots import (
    COLOURS,
    FAINT,
    LABELS,
    clip,
    draw_bars,
    draw_confusion,
    panels,
    plain_axes,
)
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.reporting.tables import flatten, spell
from galaxymill.statistics.baselines import class_frequencies, predict_logistic
from galaxymill.statistics.calibration import reliability
from galaxymill.statistics.classification import most_likely
from galaxymill.statistics.covariates import Errors
from galaxymill.tasks.classes.scores import ClassComparison, summarise_classes
from galaxymill.tasks.report import (
    EvaluationData,
    Metrics,
    ReportContent,
    dependence,
    scores_by_prediction,
)
from galaxymill.tasks.votes.posterior import entropy
from galaxymill.trees.tree import Question

MAX_CURVES = 10


def report_classes(data: EvaluationData, question: Question) -> ReportContent:
    """Compare predicted classes, the answers to the question, with the labels."""
    comparison = _compare(data, question)
    metrics = summarise_classes(comparison)
    is_known = data.train_labels is not data.labels
    for scores, count in zip(
        metrics["classes"].values(), data.train_labels.sum(axis=0), strict=True
    ):
        scores["n_train"] = int(count) if is_known else None
    sections = [
        _accuracy(comparison, metrics),
        _calibration(comparison, metrics["overall"]),
        _dependence(data, comparison, question.name),
        _galleries(data, comparison),
    ]
    return ReportContent(metrics, _headline(metrics["overall"]), sections)


def _compare(data: EvaluationData, question: Question) -> ClassComparison:
    k, learned = len(question.answers), most_likely(data.fitted_labels)
    frequencies = class_frequencies(most_likely(data.train_labels), k)
    predicted = {
        "model": data.samples.mean(axis=1),
        "constant": np.tile(frequencies, (len(data.object_ids), 1)),
        **{kind: predict_logistic(learned, k, *pair) for kind, pair in data.features.items()},
    }
    return ClassComparison(question.answers, most_likely(data.labels), predicted)


def _headline(overall: Metrics) -> str:
    return spell(
        "On {n} galaxies the model names the right class of {accuracy:.1%} (95 % interval "
        "{accuracy_low:.1%} to {accuracy_high:.1%}); always naming the most frequent one, "
        "{majority_answer}, would be right for {majority_accuracy:.1%}. Its log loss is "
        "{log_loss:.3f}, that of the training frequencies {constant_log_loss:.3f}.",
        flatten(overall),
    )


def _metrics_table(overall: Metrics) -> Table:
    majority = overall["majority"]
    rows = [*scores_by_prediction(overall), {"prediction": "majority", **flatten(majority)}]
    columns = {
        "prediction": "{prediction}",
        "accuracy": "{accuracy:.1%}",
        "log loss": "{log_loss:.3f}",
        "model minus this": "{log_loss_difference_low:.3f} to {log_loss_difference_high:.3f}",
        "Brier": "{brier:.3f}",
        "precision": "{precision_macro:.3f}",
        "recall": "{recall_macro:.3f}",
        "F1": "{f1_macro:.3f}",
        "weighted F1": "{f1_weighted:.3f}",
    }
    caption = (
        "The model beside its baselines. Log loss in nats and Brier score: smaller is better; "
        "“model minus this” is the 95 % bootstrap interval of the paired difference in log loss. "
        "Precision, recall and F1: means over classes, and weighted by how frequent they are."
    )
    names = {**LABELS, "majority": f"majority: {majority['answer']}"}
    return Table("metrics", caption, rows, columns, names, "model")


def _classes_table(metrics: Metrics) -> Table:
    rows = [{"class": name, **scores} for name, scores in metrics["classes"].items()]
    columns = {
        "class": "{class}",
        "learned from": "{n_train:.0f}",
        "galaxies": "{support:.0f}",
        "precision": "{precision:.3f}",
        "recall": "{recall:.3f}",
        "F1": "{f1:.3f}",
        "ROC AUC": "{roc_auc:.3f}",
    }
    caption = (
        "Scores by class, and how many galaxies it was learned from and is judged by; ROC AUC of "
        "one against the rest."
    )
    return Table("classes", caption, rows, columns)


def _accuracy(comparison: ClassComparison, metrics: Metrics) -> Section:
    overall = metrics["overall"]
    untested = [name for name, scores in metrics["classes"].items() if not scores["support"]]
    note = f"No galaxy here is of class {', '.join(untested)}: how well it is found is not known."
    matrix = {f"all {overall['n']} galaxies": (comparison.classes, overall["confusion"])}
    values = {
        row["prediction"]: [row["log_loss"], row["brier"]] for row in scores_by_prediction(overall)
    }
    errors = [overall["log_loss_interval"], overall["brier_interval"]]
    bars = draw_bars(values, ["log loss", "Brier score"], "smaller is better", errors)
    confused = "Confusion matrix: galaxies by label (down) and the model's class (across)."
    curves = "Receiver operating curves, each class against the rest."
    return Section(
        "Classes",
        [note] if untested else [],
        [_metrics_table(overall), _classes_table(metrics)],
        [
            Plot("errors", "Log loss and Brier score of the model and its baselines.", bars),
            Plot("confusion", confused, draw_confusion(matrix, "label")),
            Plot("predictions", curves, _draw_roc(comparison, metrics["classes"])),
        ],
    )


def _draw_roc(comparison: ClassComparison, classes: Metrics) -> Figure:
    from sklearn.metrics import roc_curve

    figure, (axes,) = panels(1, 1, 4.8, 4.2)
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
    areas = [(index, name, classes[name]["roc_auc"]) for index, name in enumerate(classes)]
    defined = [each for each in areas if each[2] is not None]
    for index, name, area in defined[:MAX_CURVES]:
        scores = comparison.predicted["model"][:, index]
        false, true, _ = roc_curve(comparison.truth == index, scores)
        axes.plot(false, true, lw=1.5, label=f"{clip(name)}: {area:.3f}")
    if defined:
        title = {"title": "area under the curve", "title_fontsize": 8}
        axes.legend(fontsize=7.5, frameon=False, loc="lower right", **title)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    plain_axes(axes)
    return figure


def _calibration(comparison: ClassComparison, overall: Metrics) -> Section:
    probabilities = comparison.predicted["model"]
    confidence, right = probabilities.max(axis=1), most_likely(probabilities) == comparison.truth
    curves = {
        "all classes": (probabilities.ravel(), np.eye(probabilities.shape[1])[comparison.truth]),
        "most likely class": (confidence, right.astype(np.float64)),
    }
    rows = []
    figure, axes_list = panels(2, 2, 3.6, 3.5)
    for axes, (name, (predicted, hits)) in zip(axes_list, curves.items(), strict=True):
        x, y, errors = np.round(reliability(predicted, hits.ravel()), 6)
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
        axes.errorbar(x, y, errors, fmt="o-", color=COLOURS["model"], ms=4, lw=1.6)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=name)
        axes.title.set_fontsize(9)
        plain_axes(axes)
        keys = ("curve", "predicted", "observed", "error")
        rows += [dict(zip(keys, (name, *point), strict=True)) for point in np.c_[x, y, errors]]
    figure.supxlabel("predicted probability", fontsize=9)
    figure.supylabel("share of galaxies that are of the class", fontsize=9)
    change = float(confidence.mean()) - overall["accuracy"]
    word = "over-confident" if change > 0.05 else "under-confident" if change < -0.05 else "fair"
    sentence = spell(
        "The model's mean probability of the class it names is {confidence:.1%}, and it is right "
        "for {accuracy:.1%}: {word}. The mean gap between confidence and accuracy (expected "
        "calibration error, Guo+17) is {calibration_error:.1%}.",
        {**flatten(overall), "confidence": float(confidence.mean()), "word": word},
    )
    caption = (
        "Reliability: of the galaxies that were given a probability of a class, the share that are "
        "of that class, with standard errors; on the diagonal where the two are equal."
    )
    table = Table("calibration", "Reliability curves.", rows, shown="file")
    return Section("Calibration", [sentence], [table], [Plot("calibration", caption, figure)])


def _dependence(data: EvaluationData, comparison: ClassComparison, name: str) -> Section:
    model, constant = (
        (most_likely(comparison.predicted[kind]) != comparison.truth).astype(np.float64)
        for kind in ("model", "constant")
    )
    errors = [Errors(name, model, constant, is_square=False)]
    return dependence(data, errors, {}, {name: name}, "share of wrong classes")


def _galleries(data: EvaluationData, comparison: ClassComparison) -> Section:
    probabilities, truth, classes = (
        comparison.predicted["model"],
        comparison.truth,
        comparison.classes,
    )
    named = most_likely(probabilities)

    def lines(row: int) -> list[Line]:
        chosen = {"label": truth[row], "model": named[row]}
        if chosen["label"] == chosen["model"]:
            del chosen["model"]
        return [
            (f"{who}: {classes[one]}", float(probabilities[row, one]), None)
            for who, one in chosen.items()
        ]

    note = (
        "Best and worst by the probability of the labelled class; most uncertain by the entropy of "
        "the predicted classes."
    )
    errors = 1 - probabilities[np.arange(len(truth)), truth]
    legend = (
        "bar and number: probability of the labelled class, and of the model's where it differs"
    )
    return data.galleries(errors, entropy(probabilities), lines, note, legend)

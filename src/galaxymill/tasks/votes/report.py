"""The report of a model of volunteers' votes."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from galaxymill.reporting.plots import clip, draw_bars, draw_confusion, short_names
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.reporting.tables import Row, flatten, spell
from galaxymill.reporting.words import relative
from galaxymill.statistics.baselines import NAMES, predict_baselines
from galaxymill.statistics.bootstrap import Values
from galaxymill.statistics.covariates import Errors
from galaxymill.tasks.report import (
    ALL,
    EvaluationData,
    Metrics,
    ReportContent,
    calibration_parts,
    dependence,
)
from galaxymill.tasks.votes import plots
from galaxymill.tasks.votes.posterior import mutual_information, proportion_asked
from galaxymill.tasks.votes.scores import (
    ASKED,
    CONFIDENT_FRACTION,
    CONFIDENT_VOTES,
    MIN_VOTES,
    Comparison,
    galaxy_errors,
    summarise,
)
from galaxymill.tasks.votes.truth import compare_with_truth
from galaxymill.trees.tree import Tree

_SHORT = {"dirichlet": "Dirichlet", "ridge": "hand features", "ridge_encoder": "frozen encoder"}


def report_votes(data: EvaluationData, tree: Tree) -> ReportContent:
    """Compare predicted votes with the volunteers'."""
    baselines = predict_baselines(
        tree,
        data.train_labels.astype(np.int64),
        data.fitted_labels.astype(np.int64),
        data.features,
        len(data.object_ids),
    )
    votes = data.labels.astype(np.int64)
    comparison = Comparison(tree, data.object_ids, votes, data.samples, baselines)
    metrics = {"min_votes": MIN_VOTES, **summarise(comparison)}
    names = short_names([question.name for question in tree.questions])
    sections = [
        _fractions(comparison, metrics, names),
        _classification(tree, metrics, names),
        _calibration(metrics),
        _dependence(data, comparison, metrics, names),
    ]
    if data.truth is not None:
        metrics["truth"] = compare_with_truth(comparison, data.truth)
        sections.append(_truth(metrics["truth"]))
    sections.append(_galleries(data, comparison, names))
    return ReportContent(metrics, headline(metrics), sections)


def asked_questions(metrics: Metrics) -> dict[str, Metrics]:
    """Scores of the questions that have galaxies."""
    return {name: scores for name, scores in metrics["questions"].items() if scores["n"]}


def headline(metrics: Metrics) -> str:
    """Say in one sentence what the model reached on its first question."""
    first = next(iter(asked_questions(metrics).items()), None)
    if first is None:
        return "No test galaxy has enough votes on any question."
    name, scores = first
    against = ", ".join(
        f"{relative(scores['rmse'], other['rmse'])} the {NAMES[kind]}"
        for kind, other in scores["baselines"].items()
        if kind != "dirichlet"
    )
    return spell(
        "On {n} galaxies the model's RMSE on {name} is {rmse:.3f} (95 % interval {rmse_low:.3f} to "
        "{rmse_high:.3f}): {against}; the noise of the votes alone gives {noise_floor_rmse:.3f}.",
        {**flatten(scores), "name": name, "against": against},
    )


def _fractions(comparison: Comparison, metrics: Metrics, names: Mapping[str, str]) -> Section:
    asked = asked_questions(metrics)
    # In fractions the Dirichlet is hardly another constant; the table has it.
    drawn = [kind for kind in metrics["overall"]["baselines"] if kind != "dirichlet"]
    values = {"model": [scores["rmse"] for scores in asked.values()]} | {
        kind: [scores["baselines"][kind]["rmse"] for scores in asked.values()] for kind in drawn
    }
    bars = draw_bars(
        values,
        [f"{names[name]}  (n = {scores['n']})" for name, scores in asked.items()],
        "RMSE of vote fractions (smaller is better)",
        [scores["rmse_interval"] for scores in asked.values()],
        [scores["noise_floor_rmse"] for scores in asked.values()],
    )
    return Section(
        "Vote fractions",
        [_mean_sentence(metrics["mean_of_questions"]), likelihood_sentence(metrics)],
        [_questions_table(metrics), _answers_table(metrics)],
        [
            Plot("errors", _ERRORS, bars),
            Plot("predictions", _PREDICTIONS, plots.draw_scatter(comparison, metrics, names)),
        ],
    )


_ERRORS = (
    "Root-mean-square error of vote fractions, question by question, all answers together. Black "
    "lines: 95 % bootstrap intervals over galaxies. The red line is the error that a perfect "
    "prediction would have, as only so many volunteers voted."
)
_PREDICTIONS = (
    "Predicted and observed vote fractions; one point is one galaxy. The orange line is the mean "
    "observed fraction in bins of the predicted one: a reliability curve, on the diagonal when "
    "predictions are right on average. The points of a perfect prediction scatter, too, by the "
    "noise of the votes (“floor” in each panel)."
)


def _mean_sentence(scores: Metrics) -> str:
    if scores["rmse"] is None:
        return "No question has galaxies with enough votes."
    return spell(
        "The mean RMSE over questions ({n_questions} of them) is {rmse:.3f} ({rmse_low:.3f} to "
        "{rmse_high:.3f}), that of the constant prediction {constant_rmse:.3f}; the difference is "
        "{constant_difference:.3f} ({constant_difference_low:.3f} to "
        "{constant_difference_high:.3f}).",
        flatten(scores),
    )


def likelihood_sentence(metrics: Metrics) -> str:
    """Name the questions on which the constant Dirichlet is as likely as the model; plain text."""
    asked = asked_questions(metrics)
    weak = [name for name, scores in asked.items() if scores["nll"] >= scores["nll_constant"]]
    if not asked:
        return "No likelihood could be computed."
    if not weak:
        return "By likelihood the model beats the constant Dirichlet on every question."
    return f"By likelihood the model does no better than a constant on: {', '.join(weak)}."


def _classification(tree: Tree, metrics: Metrics, names: Mapping[str, str]) -> Section:
    matrices = {}
    for question in tree.questions:
        found = metrics["questions"][question.name]["classification"]["asked"]
        if found["n"]:
            title = f"{clip(names[question.name])}\nn = {found['n']}"
            matrices[title] = question.answers, found["confusion"]
    drawn = (
        "Confusion matrices of the galaxies that were asked: number of galaxies by the "
        "volunteers' answer (down) and the model's (across); the shade is the share of the row."
    )
    confusion = Plot("confusion", drawn, draw_confusion(matrices, "volunteers' answer"))
    return Section("Classification", [], [_classification_table(metrics)], [confusion])


def _calibration(metrics: Metrics) -> Section:
    captions = (
        "Share of observed counts inside the central intervals of the posterior predictive "
        "distribution: a mixture over the model's samples of beta-binomials, at each galaxy's own "
        "number of votes (randomised probability integral transform, Czado+09).",
        "Left: where each observed count lies in its predicted distribution. Right: how many "
        "counts the predictive intervals hold. Above, all questions together (with the 95 % "
        "bootstrap interval); below, question by question.",
    )
    sentence, table, plot = calibration_parts(
        "calibration", metrics["overall"], asked_questions(metrics), "observed counts", captions
    )
    return Section("Calibration", [sentence], [table], [plot])


def _dependence(
    data: EvaluationData, comparison: Comparison, metrics: Metrics, names: Mapping[str, str]
) -> Section:
    errors, votes = [], {}
    for name in asked_questions(metrics):
        part = comparison.tree.question(name).slice
        model, constant = (
            ((comparison.predicted[kind] - comparison.observed)[:, part] ** 2).mean(axis=1)
            for kind in ("model", "constant")
        )
        errors.append(Errors(name, model, constant, comparison.variance[:, part].mean(axis=1)))
        votes[name] = comparison.votes[:, part].sum(axis=1).astype(np.float64)
    return dependence(data, errors, votes, names, "RMSE of vote fractions")


def _truth(truth: Metrics) -> Section:
    asked, overall = asked_questions(truth), truth["overall"]
    captions = (
        "Share of true fractions inside the intervals that a catalogue gives (Beta).",
        "Intervals of the latent fraction against the truth of the simulated sky.",
    )
    sentence, table, plot = calibration_parts(
        "truth_calibration", overall, asked, "true fractions", captions, "Beta"
    )
    errors = _truth_table({**asked, ALL: overall})
    plot = Plot("truth", plot.caption, plot.figure)
    return Section("Against simulated truth", [sentence], [errors, table], [plot])


def _uncertainty(comparison: Comparison) -> Values:
    """Entropy of one vote, over the questions in proportion to who would be asked; (n,)."""
    asked = proportion_asked(comparison.concentrations, comparison.tree)
    total, weights = np.zeros((2, len(comparison.object_ids)))
    for question in comparison.tree.questions:
        entropy, _ = mutual_information(comparison.concentrations, question)
        total += asked[question.name] * entropy
        weights += asked[question.name]
    return np.asarray(total / weights)


def _galleries(data: EvaluationData, comparison: Comparison, names: Mapping[str, str]) -> Section:
    lines = partial(plots.gallery_lines, comparison, names)
    note = (
        "Best and worst by the mean over a galaxy's questions of half the summed absolute error "
        "of fractions; most uncertain by the entropy, in nats, of one predicted vote, each "
        "question weighted by the share of volunteers who would be asked it. Under each galaxy "
        "stands the answer that most volunteers chose, of the first question and of two that "
        "follow."
    )
    first = names[comparison.tree.questions[0].name]
    legend = (
        f"first line: {first} · bar: model's vote fraction · tick: volunteers' · "
        "numbers: model | volunteers"
    )
    errors, uncertainty = galaxy_errors(comparison), _uncertainty(comparison)
    return data.galleries(errors, uncertainty, lines, note, legend)


def _error_columns(rows: Sequence[Row]) -> dict[str, str]:
    kinds = [kind for kind in NAMES if rows and f"{kind}_rmse" in rows[0]]
    return {
        "galaxies": "{n}",
        "RMSE": "{rmse:.3f}",
        "95 % interval": "{rmse_low:.3f} to {rmse_high:.3f}",
        **{_SHORT.get(kind, kind): f"{{{kind}_rmse:.3f}}" for kind in kinds},
        "minus constant": "{constant_difference_low:.3f} to {constant_difference_high:.3f}",
        "vote noise": "{noise_floor_rmse:.3f}",
        "MAE": "{mae:.3f}",
    }


def _questions_table(metrics: Metrics) -> Table:
    """Lay out errors and likelihoods, a row a question."""
    rows = [
        {"question": name, **flatten(scores, "classification", "answers", "coverage")}
        for name, scores in {**metrics["questions"], ALL: metrics["overall"]}.items()
    ]
    columns = {
        "question": "{question}",
        **_error_columns(rows),
        "NLL": "{nll:.3f}",
        "constant's NLL": "{nll_constant:.3f}",
    }
    caption = (
        "RMSE of vote fractions by question, with its 95 % bootstrap interval over galaxies, and "
        "that of the baselines: one constant for all; the mean of one Dirichlet–multinomial for "
        "all; linear fits to hand-made features and to the frozen encoder. “Minus constant” is the "
        "interval of the paired difference to the constant. NLL: negative log likelihood of a "
        "galaxy's votes, in nats, by the model and by the one Dirichlet–multinomial."
    )
    return Table("metrics", caption, rows, columns, short_names(metrics["questions"]), ALL)


def _answers_table(metrics: Metrics) -> Table:
    """Lay out errors, a row an answer."""
    rows = [
        {"question": name, "answer": answer, **flatten(scores)}
        for name, question in metrics["questions"].items()
        for answer, scores in question["answers"].items()
    ]
    columns = {"answer": "{question}: {answer}", **_error_columns(rows)}
    names = short_names(metrics["questions"])
    return Table("answers", "The same by answer.", rows, columns, names, shown="folded")


def _classification_table(metrics: Metrics) -> Table:
    """Lay out accuracy, precision, recall and F1, a row a question and sample."""
    rows = [
        {"question": name, "galaxies": sample, **flatten(scores, "answers")}
        for sample in ("asked", "confident")
        for name, question in metrics["questions"].items()
        if (scores := question["classification"][sample])["n"]
    ]
    columns = {
        "question": "{question}",
        "galaxies": "{galaxies}",
        "n": "{n}",
        "accuracy": "{accuracy:.1%}",
        "majority": "{majority_accuracy:.1%}",
        "precision": "{precision_macro:.3f}",
        "recall": "{recall_macro:.3f}",
        "F1": "{f1_macro:.3f}",
        "majority's F1": "{majority_f1_macro:.3f}",
        "weighted: precision": "{precision_weighted:.3f}",
        "recall ": "{recall_weighted:.3f}",
        "F1 ": "{f1_weighted:.3f}",
        "majority's F1 ": "{majority_f1_weighted:.3f}",
    }
    caption = (
        "The model's most likely answer against the volunteers' most frequent one. Asked: "
        f"galaxies of which more than {ASKED:.0%} of the volunteers came to the question, with at "
        f"least {MIN_VOTES} votes; confident: at least {CONFIDENT_VOTES} votes of which more than "
        f"{CONFIDENT_FRACTION:.0%} agree. Precision, recall and F1 are means over answers, then "
        "weighted by how frequent they are. Majority: always the most frequent answer."
    )
    return Table("classification", caption, rows, columns, short_names(metrics["questions"]))


def _truth_table(parts: Mapping[str, Metrics]) -> Table:
    """Lay out errors against simulated truth, a row a question."""
    rows = [{"question": name, **flatten(scores, "coverage")} for name, scores in parts.items()]
    columns = {
        "question": "{question}",
        "galaxies": "{n}",
        "RMSE of the model": "{rmse:.3f}",
        "95 % interval": "{rmse_low:.3f} to {rmse_high:.3f}",
        "RMSE of the votes": "{rmse_votes:.3f}",
    }
    caption = (
        "Errors against the fractions that the simulated volunteers were drawn from, without the "
        "noise of votes; beside them the error of the observed fractions themselves."
    )
    return Table("truth", caption, rows, columns, short_names(set(parts) - {ALL}), ALL)
